"""Limits of the streams of turns.

Layer: eventlog.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How long streams are kept, and how many.

    Attributes:
        idle_ttl_s: Seconds after the last frame for which a stream is kept: longer than any pause within an answer.
        ended_ttl_s: Seconds after the end of a turn for which its stream is kept, for readers that are behind.
        max_frames: Frames of one stream; the writer must replace more by one.
        max_streams: Streams in the memory of one process (Redis has no such limit); the one with the oldest frame is
            dropped first.
    """

    idle_ttl_s: float = 900.0
    ended_ttl_s: float = 60.0
    max_frames: int = 4_096
    max_streams: int = 10_000
