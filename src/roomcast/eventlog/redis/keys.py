"""Names of the log's keys and channels.

Layer: eventlog.
"""

from __future__ import annotations

from typing import NamedTuple

from roomcast.redis_client import tagged


class ChatKeys(NamedTuple):
    """The names of one chat's keys and channel.

    Attributes:
        meta: Hash ``{epoch, last, bytes}``.
        entries: List of records, oldest first; the newest has the seq ``last``.
        channel: Channel for appended records and signals.
    """

    meta: str
    entries: str
    channel: str


def chat_keys(prefix: str, chat_id: str) -> ChatKeys:
    """Build the names of a chat."""
    begin = tagged(prefix, chat_id)
    return ChatKeys(f"{begin}:meta", f"{begin}:log", f"{begin}:live")


def stream_key(prefix: str, chat_id: str, turn_id: str) -> str:
    """The list of a turn's frames. It has the hash tag of the chat, whose channel the same scripts publish to."""
    return f"{tagged(prefix, chat_id)}:turn:{turn_id}"


def canary_channel(prefix: str, tag: str) -> str:
    """The channel for the probes of one process; ``tag`` determines its slot. It is never the channel of a chat."""
    return f"{prefix}:{{{tag}}}:canary"
