"""A request as its client has sent it, in front of trusted proxies: address, scheme, host and path.

One rule for both transports: the addresses in ``X-Forwarded-For`` are read from the right, and the first one that is
not a trusted proxy is the client. Entries that a client has forged stand further left and are ignored.

Paths lose the base path below which a proxy serves the application, so that all code behind has paths without it. A
proxy may also have removed it: every path is accepted with and without it.

Layer: realtime.transports. Source: RFC 7239 §7.1 on forged values. (uvicorn's ``ProxyHeadersMiddleware`` does not see
websockets of a protocol class.)
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, Protocol

from roomcast.realtime.options import ANY_ORIGIN, is_base_path
from roomcast.realtime.requests.request import ClientView, Header

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_TLS_SCHEMES = {"https": True, "wss": True, "http": False, "ws": False}
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


class AddressSource(Protocol):
    """Finds the client of a request that came through another server.

    Attributes:
        forwarded: Whether its requests come from other nodes, which are not forwarded again.
    """

    @property
    def forwarded(self) -> bool:
        """See above."""

    def client(self, peer: str | None, secure: bool, headers: Sequence[Header]) -> ClientView:
        """What the client has sent.

        Raises:
            RequestRefused: the sender is not authorised.
        """


class TrustedProxies:
    """The proxies whose forwarded headers are used, and the path below which they serve the application.

    Args:
        proxies: Addresses, networks, or ``*`` for all.
        base_path: The path for requests without a valid ``X-Forwarded-Prefix`` of a trusted proxy.

    Raises:
        ValueError: an entry is neither an address nor a network.
    """

    forwarded = False

    def __init__(self, proxies: Sequence[str], base_path: str = "") -> None:
        self._base_path = base_path
        self._all = ANY_ORIGIN in proxies
        self._networks: list[IPv4Network | IPv6Network] = [ip_network(p) for p in proxies if p != ANY_ORIGIN]

    def __bool__(self) -> bool:
        """Whether a request may differ from what its client has sent."""
        return self._all or bool(self._networks) or bool(self._base_path)

    def trusts(self, host: str) -> bool:
        """Whether ``host`` is a trusted proxy."""
        if self._all or not self._networks:
            return self._all
        address = _parse(host)
        return address is not None and any(address in network for network in self._networks)

    def client(self, peer: str | None, secure: bool, headers: Sequence[Header]) -> ClientView:
        """What the client has sent to the first proxy. Values of headers that no proxy would send are ignored.

        Args:
            peer: The address of the TCP peer; None on a Unix socket, which counts as trusted if any proxy is.
            secure: Whether the connection of the peer uses TLS.
            headers: The request headers, names in lower case.
        """
        trusted = (self._all or bool(self._networks)) if peer is None else self.trusts(peer)
        if not trusted:
            return ClientView(peer, secure, base_path=self._base_path)
        lists: dict[bytes, list[str]] = defaultdict(list)
        for name, value in headers:
            if name.startswith(b"x-forwarded-"):
                # A proxy that does not replace a header appends to it.
                lists[name] += [item.strip() for item in value.decode("latin-1").split(",")]
        proto, host, prefix = (
            (lists[name] or [""])[-1] for name in (b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix")
        )
        return ClientView(
            self._address(peer, lists[b"x-forwarded-for"]),
            _TLS_SCHEMES.get(proto.lower(), secure),
            host if _HOST.fullmatch(host) else None,
            prefix.removesuffix("/") if prefix == "/" or is_base_path(prefix.removesuffix("/")) else self._base_path,
        )

    def _address(self, peer: str | None, forwarded: Sequence[str]) -> str | None:
        address = peer
        for part in reversed(forwarded):
            host = _host(part)
            if _parse(host) is None:
                break
            address = host
            if not self.trusts(host):
                break
        return address


class ProxyHeaders:
    """ASGI middleware that sets address, scheme, Host, path and ``root_path`` to those that the client has sent.

    ``path`` lacks ``root_path``, unlike in the ASGI specification: Starlette accepts both, and other code needs no
    second path.
    """

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the corrected scope."""
        if scope["type"] in {"http", "websocket"}:
            peer = scope["client"][0] if scope.get("client") else None
            was_secure = scope.get("scheme") in {"https", "wss"}
            view = self._proxies.client(peer, was_secure, scope["headers"])
            if view.address is not None and view.address != peer:
                scope["client"] = (view.address, 0)
            if view.secure != was_secure:
                plain, tls = ("ws", "wss") if scope["type"] == "websocket" else ("http", "https")
                scope["scheme"] = tls if view.secure else plain
            scope["headers"] = view.headers(scope["headers"])
            scope["root_path"] = view.base_path
            scope["path"] = view.path(scope["path"])
        await self._app(scope, receive, send)


def address_of(transport: asyncio.BaseTransport, end: str) -> tuple[str, int] | None:
    """Host and port of one end, ``peername`` or ``sockname``; None on a Unix socket.

    uvicorn's functions ask for the transport's ``socket``, which uvloop then keeps, together with both addresses.
    """
    address = transport.get_extra_info(end)
    return (str(address[0]), int(address[1])) if isinstance(address, tuple) else None


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
