"""Limits of the log in Redis.

Layer: eventlog.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisLogOptions:
    """How much of each chat Redis keeps, and how large messages may be.

    Attributes:
        prefix: Prefix of every key and channel name; installations with different prefixes can share a Redis server.
        max_entries: Maximum number of entries of one chat; a client that missed more is served from the database.
        max_bytes: Maximum size of one chat's entries.
        idle_ttl_s: TTL of every key; each use renews it.
        max_entry_bytes: A larger entry is stored and published without its arguments; clients fetch it from the API.
        batch_bytes: Maximum size of the records of one script call, and so of one published message. Redis executes no
            other command while a script runs, and disconnects subscribers whose output buffer exceeds 32 MiB.
        batch_entries: Maximum number of entries of one script call. Lua's ``unpack`` fails beyond about 8,000 values.
        max_message_bytes: The log publishes no larger message; a subscriber that begins to receive a larger message
            disconnects.
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
        """Reject a prefix that would change the hash tag."""
        if not re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", self.prefix):
            raise ValueError(f"prefix is {self.prefix!r}: use 1 to 64 letters, digits or characters of ._:-")
