"""What the worker counts, for metrics.

Layer: worker.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class WorkerCounters:
    """Counts since the start of the process.

    Attributes:
        active: Turns that this worker is answering.
        waiting: Queued turns of all chats, for any worker; a few seconds old.
        first_chunks: Answers whose first chunk was published.
        first_chunk_s: Sum of the seconds from the claim of a turn to its first chunk.
        chunks: Published chunks, after merging.
        characters: Characters of text in the answers, as responders yield them.
        frames: Published frames.
        seeds: Streams that were written again, by cause: ``lost`` or ``compacted``.
        ends: Ended turns, by status or ``status reason``.
        failures: Failed calls of responders, by the kind of the failure.
        tokens: ``input`` and ``output`` tokens, as providers count.
    """

    active: int = 0
    waiting: int = 0
    first_chunks: int = 0
    first_chunk_s: float = 0.0
    chunks: int = 0
    characters: int = 0
    frames: int = 0
    seeds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
