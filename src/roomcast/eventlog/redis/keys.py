"""Names of the keys and channels of the log.

Layer: eventlog.
"""

from __future__ import annotations

from typing import NamedTuple

from roomcast.redis_client import tagged


class ChatKeys(NamedTuple):
    """One chat's names.

    Attributes:
        meta: Hash ``{epoch, last, bytes}``.
        entries: List of records, oldest first, the newest being ``last``.
        channel: Where appended records are published.
    """

    meta: str
    entries: str
    channel: str


def chat_keys(prefix: str, chat_id: str) -> ChatKeys:
    """The names of a chat's keys and channel."""
    begin = tagged(prefix, chat_id)
    return ChatKeys(f"{begin}:meta", f"{begin}:log", f"{begin}:live")


def canary_channel(prefix: str, tag: str) -> str:
    """A channel that one process sends to itself on; ``tag`` decides the slot. No chat's channel ends like this."""
    return f"{prefix}:{{{tag}}}:canary"
