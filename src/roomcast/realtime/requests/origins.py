"""The rules for ``Origin`` and ``Host``, for both transports.

Browsers let any page open a websocket to any host, with cookies, and leave the check to the server (cross-site
websocket hijacking). Every handshake is checked before it is answered.

Layer: realtime.requests. Source: RFC 6454; Fetch, "CORS protocol".
"""

from __future__ import annotations

from roomcast.realtime.options import ANY_ORIGIN, DEFAULT_PORTS, ServerOptions, serialize_origin

Header = tuple[bytes, bytes]


class OriginPolicy:
    """Checks the ``Origin`` and ``Host`` of handshakes."""

    def __init__(self, options: ServerOptions) -> None:
        origins = options.cors_allowed_origins
        self._any = ANY_ORIGIN in origins
        self._allowed = frozenset(serialize_origin(origin) for origin in origins if origin != ANY_ORIGIN)
        self._ports = {
            scheme: ["" if port == default else f":{port}" for port in options.cors_same_host_ports]
            for scheme, default in DEFAULT_PORTS.items()
        }
        self._credentials = options.cors_credentials and not self._any
        hosts = options.allowed_hosts
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)

    def allows_host(self, host: str | None) -> bool:
        """Whether requests with this ``Host`` header are accepted (None: the header is missing)."""
        if self._hosts is None:
            return True
        if host is None:
            return False
        return _without_port(host.lower()) in self._hosts

    def allows_origin(self, origin: str | None, host: str | None, *, secure: bool) -> bool:
        """Whether a page of this origin may connect.

        Args:
            origin: The ``Origin`` header; None (clients other than browsers): accepted.
            host: The ``Host`` header.
            secure: Whether the client is known to use TLS.
        """
        if origin is None or self._any or origin in self._allowed:
            return True
        scheme, separator, authority = origin.partition("://")
        if not separator or host is None:
            return False
        own = [host.lower(), *(_without_port(host.lower()) + port for port in self._ports.get(scheme, ()))]
        if authority.lower() not in own:
            return False
        # A proxy may have terminated TLS, so an https page can arrive as a plain request; the reverse is cross-origin.
        return scheme == "https" or (scheme == "http" and not secure)

    def cors_headers(self, origin: str | None, host: str | None, *, secure: bool) -> list[Header]:
        """The CORS headers of a response; arguments as for `allows_origin`."""
        if origin is None:
            return []
        if self._any:
            return [(b"access-control-allow-origin", b"*")]
        headers = [(b"vary", b"Origin")]
        if self.allows_origin(origin, host, secure=secure):
            headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
            if self._credentials:
                headers.append((b"access-control-allow-credentials", b"true"))
        return headers


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]
