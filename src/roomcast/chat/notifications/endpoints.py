"""Which addresses of push services are accepted: users choose the URLs to which the server sends.

Layer: chat. Source: OWASP, "Server-Side Request Forgery Prevention"; RFC 8030, section 8, for ``https``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from roomcast.chat.errors import PushRefused
from roomcast.outgoing.addresses import Address, Network, is_in, is_public


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """Accepts ``https`` at public addresses.

    Attributes:
        networks: Further networks that are accepted, also without TLS.
    """

    networks: Sequence[Network] = ()

    def check(self, endpoint: str) -> None:
        """Check a URL before its host is resolved.

        Raises:
            PushRefused: it is not accepted.
        """
        try:
            url = urlsplit(endpoint)
            host, port = url.hostname, url.port
        except ValueError:
            raise PushRefused("the endpoint is no valid URL") from None
        if not host or url.username is not None or url.fragment or port == 0:
            raise PushRefused("the endpoint must be a URL with a host, without a user and a fragment")
        address = _address(host)
        if address is not None and not (is_in(address, self.networks) or is_public(address)):
            raise PushRefused("the endpoint must have a public address")
        if url.scheme != "https" and (address is None or not is_in(address, self.networks)):
            raise PushRefused("the endpoint must begin with https://")


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None
