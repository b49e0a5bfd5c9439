"""Options of the API. This module imports no web framework, so that a configuration can be checked without one.

Layer: api.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """Options of the API.

    Attributes:
        gateway_url: URL of the gateway for browsers; None: the host of the API, at ``gateway_port``.
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
