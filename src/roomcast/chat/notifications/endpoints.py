"""Which addresses of push services are accepted: users choose the URLs to which the server sends.

Layer: chat. Source: OWASP, "Server-Side Request Forgery Prevention"; RFC 8030, section 8, for ``https``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from roomcast.chat.errors import PushRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: IPv6 addresses whose last 32 bits are an IPv4 address, which a gateway connects to.
_NAT64: Final = ip_network("64:ff9b::/96")


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
        if address is not None and not self.accepts(address):
            raise PushRefused("the endpoint must have a public address")
        if url.scheme != "https" and (address is None or not self._listed(address)):
            raise PushRefused("the endpoint must begin with https://")

    def accepts(self, address: Address) -> bool:
        """Whether the server sends to an address."""
        return self._listed(address) or all(part.is_global and not part.is_multicast for part in _embedded(address))

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self.networks)


def _address(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _embedded(address: Address) -> list[Address]:
    """An address, and the IPv4 address that it stands for."""
    found: list[Address] = [address]
    if isinstance(address, IPv6Address):
        if address in _NAT64:
            return [IPv4Address(int(address) & 0xFFFF_FFFF)]
        found.extend(inner for inner in (address.ipv4_mapped, address.sixtofour) if inner is not None)
    return found
