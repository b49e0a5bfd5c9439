"""The addresses that a process binds, the URLs that reach it, and the origins of its pages.

Layer: app.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from roomcast.realtime.options import ANY_ORIGIN

LOOPBACK_HOST: Final = "127.0.0.1"
#: Values of the Host header that name the loopback interface, without the port.
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - recognised, not bound
_HTTP_PORT: Final = 80
#: An address outside every local network, which RFC 5737 reserves for documentation, and the port of "discard".
_OUTSIDE: Final = ("198.51.100.1", 9)


@dataclass(frozen=True, slots=True)
class ListenHost:
    """The meaning of a ``--host`` option.

    Attributes:
        bind: Every address to bind, each on the same port.
        names: Host names and addresses that reach the process, in URL syntax, the preferred one first.
        loopback: Whether only this machine can connect.
    """

    bind: tuple[str, ...]
    names: tuple[str, ...]
    loopback: bool

    def urls(self, port: int) -> tuple[str, ...]:
        """The URLs of a port, which are also the origins of pages served there."""
        suffix = "" if port == _HTTP_PORT else f":{port}"
        return tuple(f"http://{name}{suffix}" for name in self.names)


def listen_host(host: str) -> ListenHost:
    """Resolve the value of ``--host``.

    ``127.0.0.1`` (the default) and ``localhost`` both bind IPv4 and IPv6: a browser may resolve ``localhost`` to ::1.
    """
    if host in {LOOPBACK_HOST, "localhost"}:
        bind = (LOOPBACK_HOST, "::1") if _has_ipv6_loopback() else (LOOPBACK_HOST,)
        return ListenHost(bind, ("localhost", LOOPBACK_HOST), loopback=True)
    if host in WILDCARDS:
        names = ("localhost", LOOPBACK_HOST, *_machine_addresses())
        # "" binds both families. "::" alone would exclude IPv4, whose addresses are listed in ``names``.
        return ListenHost(("" if host in {"*", "::"} else host,), tuple(dict.fromkeys(names)), loopback=False)
    try:
        address = ip_address(host)
    except ValueError:
        return ListenHost((host,), (host.lower(),), loopback=False)
    return ListenHost((host,), (_in_url(str(address)),), loopback=address.is_loopback)


def websocket_sources(urls: Sequence[str]) -> tuple[str, ...]:
    """The sources of a content security policy that allow HTTP and WebSocket connections to these URLs."""
    sources: list[str] = []
    for url in urls:
        parts = urlsplit(url)
        sources += [f"{parts.scheme}://{parts.netloc}", f"{parts.scheme.replace('http', 'ws')}://{parts.netloc}"]
    return tuple(dict.fromkeys(sources))


def on_port(origins: Sequence[str], port: int) -> tuple[str, ...]:
    """The origins with ``port`` in place of their own. The origin ``*`` becomes every host."""
    found: list[str] = []
    for origin in origins:
        parts = urlsplit(f"http://{ANY_ORIGIN}" if origin == ANY_ORIGIN else origin)
        found.append(f"{parts.scheme}://{_in_url(parts.hostname or '')}:{port}")
    return tuple(dict.fromkeys(found))


def outgoing_address() -> str | None:
    """The IPv4 address of this machine on its default route; None if there is no such route."""
    return _source_address(socket.AF_INET, socket.SOCK_DGRAM, 0, _OUTSIDE)


def address_facing(host: str, port: int) -> str | None:
    """The address of this machine on its route to a host; None if the name does not resolve or there is no route."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    for family, kind, protocol, _, target in found:
        address = _source_address(family, kind, protocol, target)
        if address is not None:
            return address
    return None


def _source_address(family: int, kind: int, protocol: int, target: tuple[object, ...]) -> str | None:
    with socket.socket(family, kind, protocol) as probe:
        try:
            # Connecting a datagram socket selects the route and sends nothing.
            probe.connect(target)
        except OSError:
            return None
        return str(probe.getsockname()[0])


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def _machine_addresses() -> list[str]:
    """IPv4 addresses at which other machines may reach this machine, the most likely first."""
    # Debian resolves a machine's own host name to 127.0.1.1; the default route gives the real address.
    outgoing = outgoing_address()
    addresses = [*([] if outgoing is None else [outgoing]), *_host_name_addresses()]
    return [address for address in addresses if not ip_address(address).is_loopback]


def _host_name_addresses() -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
