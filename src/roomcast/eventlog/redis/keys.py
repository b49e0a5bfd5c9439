"""Names of the keys and channels of the log.

The chat id stands encoded inside a hash tag, so that a chat's keys and its channel share a slot of a cluster, and no id
can reach into another name.

Layer: eventlog. Source: Redis Cluster specification, "Hash tags".
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

# Everything else is percent-encoded: braces would end the tag, spaces and controls would spoil logs.
_PLAIN = "-._~@:"


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
    tagged = f"{prefix}:{{{quote(chat_id, safe=_PLAIN, errors='surrogatepass')}}}"
    return ChatKeys(f"{tagged}:meta", f"{tagged}:log", f"{tagged}:live")


def canary_channel(prefix: str, tag: str) -> str:
    """A channel that one process sends to itself on; ``tag`` decides the slot. No chat's channel ends like this."""
    return f"{prefix}:{{{tag}}}:canary"
