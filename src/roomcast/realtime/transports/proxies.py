"""The client's address behind trusted proxies.

One rule for both transports: the addresses in ``X-Forwarded-For`` are read from the right, and the first one that is
not a trusted proxy is the client. Entries that a client has forged stand further left and are ignored.

Layer: realtime.transports. Source: RFC 7239 §7.1 on forged values. (uvicorn's ``ProxyHeadersMiddleware`` does not see
websockets of a protocol class.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Protocol

from roomcast.realtime.options import ANY_ORIGIN

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_TLS_SCHEMES = {"https": True, "wss": True, "http": False, "ws": False}


class AddressSource(Protocol):
    """Finds the client of a request that came through another server.

    Attributes:
        forwarded: Whether its requests come from other nodes, which are not forwarded again.
    """

    @property
    def forwarded(self) -> bool:
        """See above."""

    def client(self, peer: str | None, secure: bool, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, bool]:
        """The client's address, and whether the client uses TLS.

        Raises:
            RequestRefused: the sender is not authorised.
        """


class TrustedProxies:
    """The proxies whose forwarded headers are used.

    Args:
        proxies: Addresses, networks, or ``*`` for all.

    Raises:
        ValueError: an entry is neither an address nor a network.
    """

    forwarded = False

    def __init__(self, proxies: Sequence[str]) -> None:
        self._all = ANY_ORIGIN in proxies
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(p) for p in proxies if p != ANY_ORIGIN]

    def __bool__(self) -> bool:
        """Whether any proxy is trusted."""
        return self._all or bool(self._networks)

    def trusts(self, host: str) -> bool:
        """Whether ``host`` is a trusted proxy."""
        if self._all:
            return True
        address = _parse(host)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str | None, secure: bool, headers: Iterable[tuple[bytes, bytes]]) -> tuple[str | None, bool]:
        """The client's address, and whether the client uses TLS.

        Args:
            peer: The address of the TCP peer; None on a Unix socket, which counts as trusted if any proxy is.
            secure: Whether the connection of the peer uses TLS.
            headers: The request headers, names in lower case.
        """
        if not self or (peer is not None and not self.trusts(peer)):
            return peer, secure
        forwarded: list[str] = []
        for name, value in headers:
            if name == b"x-forwarded-for":
                forwarded += [part.strip() for part in value.decode("latin-1").split(",")]
            elif name == b"x-forwarded-proto":
                secure = _TLS_SCHEMES.get(value.decode("latin-1").strip().lower(), secure)
        address = peer
        for part in reversed(forwarded):
            host = _host(part)
            if _parse(host) is None:
                break
            address = host
            if not self.trusts(host):
                break
        return address, secure


class ProxyHeaders:
    """ASGI middleware that sets the client address and scheme of the scope from forwarded headers."""

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the corrected scope."""
        if scope["type"] in {"http", "websocket"}:
            peer = scope["client"][0] if scope.get("client") else None
            was_secure = scope.get("scheme") in {"https", "wss"}
            address, secure = self._proxies.client(peer, was_secure, scope["headers"])
            if address is not None and address != peer:
                scope["client"] = (address, 0)
            if secure != was_secure:
                plain, tls = ("ws", "wss") if scope["type"] == "websocket" else ("http", "https")
                scope["scheme"] = tls if secure else plain
        await self._app(scope, receive, send)


def _parse(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _host(part: str) -> str:
    """``1.2.3.4``, ``1.2.3.4:5``, ``::1`` or ``[::1]:5`` without its port."""
    if part.startswith("["):
        return part[1:].partition("]")[0]
    if part.count(":") == 1:
        return part.partition(":")[0]
    return part
