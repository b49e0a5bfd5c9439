"""Options of the API. This module imports no web framework, so that a configuration can be checked without one.

Layer: api.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Options of the API.

    Attributes:
        gateway_url: URL of the gateway for browsers, without a path at the base path of the API; None: the host of the
            API, at ``gateway_port``.
        gateway_port: Port of the gateway; None: the port of the API.
        allowed_hosts: Accepted values of the Host header, without a port, IPv6 in brackets; None: all. Required without
            authentication, as protection against DNS rebinding.
        allowed_origins: Further origins whose pages may call the API: CORS, and the gateway at these hosts in the
            content security policy of the page. ``*`` allows all.
    """

    gateway_url: str | None = None
    gateway_port: int | None = None
    allowed_hosts: tuple[str, ...] | None = None
    allowed_origins: tuple[str, ...] = ()

    def gateway_at(self, base_path: str) -> str | None:
        """The URL of the gateway for clients that find the API at this base path; None: see ``gateway_url``."""
        if self.gateway_url is None or urlsplit(self.gateway_url).path:
            return self.gateway_url
        return self.gateway_url + base_path
