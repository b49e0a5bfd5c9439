"""How much of Redis the log may use.

Layer: eventlog.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisLogOptions:
    """How much of the recent past Redis keeps, and what it may send us.

    Attributes:
        prefix: Begins every key and channel; several installations can share a Redis by different ones.
        max_entries: Entries of one chat: what a client can miss and still be replayed without a query.
        max_bytes: Bytes of one chat's entries.
        idle_ttl_s: Seconds without use after which a chat's log expires. Every key has this TTL.
        max_entry_bytes: A larger entry travels without its arguments, as one that readers cannot frame: they tell
            the clients to fetch it.
        batch_bytes: Bytes that one script call carries, and so one message of the live feed. Redis serves nobody else
            meanwhile, and cuts subscribers whose output buffer grows past 32 MiB.
        batch_entries: Entries that one script call carries. Lua's stack ends at about 8,000.
        max_message_bytes: A larger message on the live feed is not ours: the connection is cut before it is read.
    """

    prefix: str = "roomcast"
    max_entries: int = 1_000
    max_bytes: int = 1_048_576
    idle_ttl_s: float = 3_600.0
    max_entry_bytes: int = 524_288
    batch_bytes: int = 524_288
    batch_entries: int = 256
    max_message_bytes: int = 4_194_304

    def __post_init__(self) -> None:
        """Refuse a prefix that would move the hash tag."""
        if not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", self.prefix):
            raise ValueError("the Redis prefix has 1 to 64 letters, digits and ._:-")
