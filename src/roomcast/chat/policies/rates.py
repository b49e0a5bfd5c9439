"""How often a user, an address and a chat may do something: the limits, and their values.

A limit permits ``count`` at once, and after that ``count`` per period, evenly.

Layer: chat. Source: ITU-T I.371, "Generic cell rate algorithm".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final

_MINUTE_S: Final = 60.0
#: Refused events of one socket in a minute, after which it is disconnected: its client ignores ``retryAfter``.
MAX_REFUSALS: Final = 100


class LimitName(StrEnum):
    """The limits, as errors and metrics name them; the comment says of what each has its own allowance."""

    MESSAGES = "messages"  # user
    BYTES = "bytes"  # user
    CHAT_MESSAGES = "chat-messages"  # chat
    REQUESTS = "requests"  # user
    ADDRESS_REQUESTS = "address-requests"  # address
    UPLOADS = "uploads"  # user
    JOINS = "joins"  # user; without authentication address, also of the next two
    TYPING = "typing"
    EVENTS = "events"
    CONNECTIONS = "connections"  # user
    ADDRESS_CONNECTIONS = "address-connections"  # address
    REFUSALS = "refusals"  # socket


@dataclass(frozen=True, slots=True)
class Rate:
    """The value of a limit.

    Attributes:
        count: How much is permitted at once and per period; at least 1.
        period_s: The period.
        shared: Whether the processes count together.
    """

    count: int
    period_s: float = _MINUTE_S
    shared: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """The limits per minute; 0: no limit. Service tokens have none.

    Without authentication there are no users, and only the limits of addresses apply. Loopback addresses have none:
    there every program of this machine, or every client of a proxy that is not trusted, has the same one.

    Attributes:
        messages: Messages and new versions of messages, per user.
        bytes: Bytes of their text, per user.
        chat_messages: Messages and versions of all users in one chat.
        requests: Other REST requests, per user.
        address_requests: REST requests of any kind, per address.
        uploads: Uploaded files, per user.
        joins: ``join-chat``, per user.
        typing: ``typing``, per user.
        events: Other events of clients, per user.
        connections: New Socket.IO connections, per user.
        address_connections: The same, per address.
    """

    messages: int = 600
    bytes: int = 10_000_000
    chat_messages: int = 6_000
    requests: int = 6_000
    address_requests: int = 60_000
    uploads: int = 120
    joins: int = 6_000
    typing: int = 1_200
    events: int = 6_000
    connections: int = 600
    address_connections: int = 12_000

    @property
    def rates(self) -> Mapping[LimitName, Rate]:
        """The limits that are on."""
        counts = {LimitName(field.name.replace("_", "-")): getattr(self, field.name) for field in fields(self)}
        rates = {name: Rate(count) for name, count in counts.items() if count}
        return {**rates, LimitName.REFUSALS: Rate(MAX_REFUSALS, shared=False)}


@lru_cache(maxsize=4_096)
def address_key(address: str) -> str | None:
    """The key of a client's address; None: it has no limit. One client of IPv6 has a network of 64 bits."""
    try:
        found = ip_address(address)
    except ValueError:
        return None  # of a Unix socket
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if found.is_loopback:
        return None
    return found.exploded[:19] if isinstance(found, IPv6Address) else str(found)
