"""Limits of the streams of turns.

Layer: eventlog.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How long streams are kept, and how much of them.

    Attributes:
        idle_ttl_s: Seconds after the last frame for which a stream is kept: longer than any pause within an answer.
        ended_ttl_s: Seconds after the end of a turn for which its stream is kept, for readers that are behind.
        max_bytes: Bytes of one stream: many times the size of the longest answer. The writer must replace more frames
            by one.
        memory_bytes: Bytes of all streams in the memory of one process (Redis has its own limit). Those of ended turns
            are dropped first, then the one whose last frame is the oldest.
    """

    idle_ttl_s: float = 900.0
    ended_ttl_s: float = 60.0
    max_bytes: int = 4_194_304
    memory_bytes: int = 268_435_456
