"""The addresses that a process binds, the URLs that reach it, and the origins of its pages.

Layer: app.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

LOOPBACK_HOST: Final = "127.0.0.1"
#: Values of the Host header that name the loopback interface, without the port.
LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
WILDCARDS: Final = frozenset({"", "0.0.0.0", "::", "*"})  # noqa: S104 - recognised, not bound
_HTTP_PORT: Final = 80
#: Addresses outside every local network, reserved for documentation (RFC 5737, RFC 3849), and the port of "discard".
_OUTSIDE: Final = {socket.AF_INET: ("198.51.100.1", 9), socket.AF_INET6: ("2001:db8::1", 9)}


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
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if host.lower() in {LOOPBACK_HOST, "localhost"}:
        bind = (LOOPBACK_HOST, "::1") if _has_ipv6_loopback() else (LOOPBACK_HOST,)
        return ListenHost(bind, ("localhost", LOOPBACK_HOST), loopback=True)
    if host in WILDCARDS:
        families = [socket.AF_INET]
        if host != "0.0.0.0" and _has_ipv6_loopback():  # noqa: S104 - compared, not bound
            families.append(socket.AF_INET6)
        loopback = (LOOPBACK_HOST, "::1")[: len(families)]
        names = ("localhost", *(_in_url(name) for name in (*loopback, *_machine_addresses(families))))
        # "" binds both families. "::" alone would exclude IPv4, whose addresses are listed in ``names``.
        return ListenHost(("" if host in {"*", "::"} else host,), tuple(dict.fromkeys(names)), loopback=False)
    try:
        address = ip_address(host)
    except ValueError:
        return ListenHost((host,), (host.lower(),), loopback=False)
    return ListenHost((host,), (_in_url(str(address)),), loopback=address.is_loopback)


def outgoing_address(family: socket.AddressFamily = socket.AF_INET) -> str | None:
    """The address of this machine on its default route; None if there is no such route."""
    return _source_address(family, socket.SOCK_DGRAM, 0, _OUTSIDE[family])


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


def _machine_addresses(families: Sequence[socket.AddressFamily]) -> list[str]:
    """Addresses at which other machines may reach this machine, the most likely first."""
    # Debian resolves a machine's own host name to 127.0.1.1; the default route gives the real address.
    found = [*map(outgoing_address, families), *(name for family in families for name in _host_name_addresses(family))]
    addresses = [ip_address(name) for name in found if name is not None]
    # Browsers accept no zone, without which a link-local address reaches nothing.
    return [str(address) for address in addresses if not (address.is_loopback or address.is_link_local)]


def _host_name_addresses(family: socket.AddressFamily) -> list[str]:
    try:
        found = socket.getaddrinfo(socket.gethostname(), None, family=family, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address
