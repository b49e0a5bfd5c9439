"""Which addresses outgoing requests may have whose receivers others choose: those of the public Internet.

Layer: outgoing (standard library only). Source: OWASP, "Server-Side Request Forgery Prevention".
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Services of cloud providers for their machines, at addresses that are public otherwise.
_OF_PROVIDERS: Final = frozenset({ip_address("168.63.129.16")})
#: The last 32 bits are an IPv4 address: RFC 6052, RFC 8215; RFC 4291 §2.5.5.1; RFC 2765.
_WITH_IPV4: Final = tuple(map(IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))


def is_public(address: Address) -> bool:
    """Whether an address, and the IPv4 address that an IPv6 address may contain, is one of the public Internet."""
    inner = _inner(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, IPv6Address) and address.is_site_local:
        return False
    return address.is_global and not address.is_multicast and address not in _OF_PROVIDERS


def is_in(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address, which may be an IPv4 address in the form of IPv6, is in one of the networks."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return any((mapped or address) in network for network in networks)


def _inner(address: Address) -> IPv4Address | None:
    if not isinstance(address, IPv6Address):
        return None
    if any(address in network for network in _WITH_IPV4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
