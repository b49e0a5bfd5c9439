"""Where a process listens, what it calls itself, and which pages and hosts follow from that.

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
#: As they stand in a Host header, without the port.
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - recognised, not bound
_HTTP_PORT: Final = 80
#: Nobody's: an address for documentation (RFC 5737), and the port of "discard".
_ELSEWHERE: Final = ("198.51.100.1", 9)


@dataclass(frozen=True, slots=True)
class Listening:
    """What listening on a host means.

    Attributes:
        bind: Every address that is bound, each on the same port.
        names: Names by which people reach it, best first, as they stand in a URL.
        loopback: Only this machine reaches it.
    """

    bind: tuple[str, ...]
    names: tuple[str, ...]
    loopback: bool

    def urls(self, port: int) -> tuple[str, ...]:
        """Its addresses: also the origins of the pages that are served there."""
        suffix = "" if port == _HTTP_PORT else f":{port}"
        return tuple(f"http://{name}{suffix}" for name in self.names)


def listening(host: str) -> Listening:
    """What listening on ``host`` means.

    The default, 127.0.0.1, and ``localhost`` are one thing: browsers may take ``localhost`` for ::1, whatever the
    machine's own list of hosts says.
    """
    if host in {LOOPBACK_HOST, "localhost"}:
        bind = (LOOPBACK_HOST, "::1") if _has_ipv6_loopback() else (LOOPBACK_HOST,)
        return Listening(bind, ("localhost", LOOPBACK_HOST), loopback=True)
    if host in WILDCARDS:
        names = ("localhost", LOOPBACK_HOST, *_own_addresses())
        # ``::`` too means every address: alone it would leave out IPv4, whose addresses are named here.
        return Listening(("" if host in {"*", "::"} else host,), tuple(dict.fromkeys(names)), loopback=False)
    try:
        address = ip_address(host)
    except ValueError:
        return Listening((host,), (host.lower(),), loopback=False)
    return Listening((host,), (_in_url(str(address)),), loopback=address.is_loopback)


def websocket_sources(urls: Sequence[str]) -> tuple[str, ...]:
    """The origins of URLs as a content security policy needs them: for requests and for websockets."""
    sources: list[str] = []
    for url in urls:
        parts = urlsplit(url)
        sources += [f"{parts.scheme}://{parts.netloc}", f"{parts.scheme.replace('http', 'ws')}://{parts.netloc}"]
    return tuple(dict.fromkeys(sources))


def on_port(origins: Sequence[str], port: int) -> tuple[str, ...]:
    """The same hosts, on another port. The origin ``*`` is every host."""
    found: list[str] = []
    for origin in origins:
        parts = urlsplit(f"http://{ANY_ORIGIN}" if origin == ANY_ORIGIN else origin)
        found.append(f"{parts.scheme}://{_in_url(parts.hostname or '')}:{port}")
    return tuple(dict.fromkeys(found))


def _has_ipv6_loopback() -> bool:
    if not socket.has_ipv6:
        return False
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def _own_addresses() -> list[str]:
    """IPv4 addresses under which other machines may know this one, the most likely first."""
    outgoing = outgoing_address()
    addresses = [*([] if outgoing is None else [outgoing]), *_addresses_of_own_name()]
    return [address for address in addresses if not ip_address(address).is_loopback]


def outgoing_address() -> str | None:
    """The IPv4 address of this machine that faces the outside; None: it has no way there."""
    # Debian lets a machine's own name mean 127.0.1.1; its route to the outside tells the address.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Connecting a datagram socket picks the route and sends nothing.
            probe.connect(_ELSEWHERE)
        except OSError:
            return None  # a machine without a network
        return str(probe.getsockname()[0])


def _addresses_of_own_name() -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except OSError:
        return []  # a machine that does not know its own name
    return [str(entry[4][0]) for entry in found]


def address_towards(host: str, port: int) -> str | None:
    """The address of this machine that faces a host, and so others in that network; None: there is no way there."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except OSError:
        return None
    for family, kind, protocol, _, place in found:
        with socket.socket(family, kind, protocol) as probe:
            try:
                # Connecting a datagram socket picks the route and sends nothing.
                probe.connect(place)
            except OSError:
                continue
            return str(probe.getsockname()[0])
    return None


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
