"""What the worker counts, for metrics.

Layer: worker.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.histogram import Histogram

#: Upper bounds in seconds: a model may think for a minute.
FIRST_CHUNK_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0)
#: The kinds of failures of responders. A responder of a team's own may use any: others count as ``other``.
FAILURES: Final = (
    *("400", "401", "403", "404", "408", "409", "413", "422", "429", "500", "502", "503", "504", "529"),
    *("chunk", "connect", "connection", "cut", "error-event", "exception", "malformed", "other", "timeout", "too-long"),
)
_UNREASONED: Final = (TurnStatus.COMPLETE.value, "handed over")
_REASONED: Final = (TurnStatus.STOPPED, TurnStatus.INCOMPLETE, TurnStatus.FAILED)
#: How turns end: ``complete``, ``handed over``, or a status and a reason.
ENDS: Final = (*_UNREASONED, *(f"{status} {reason}" for status in _REASONED for reason in TurnReason))


@dataclass(slots=True)
class WorkerCounters:
    """Counts since the start of the process.

    Attributes:
        active: Turns that this worker is answering.
        waiting: Queued turns of all chats, for any worker; a few seconds old.
        waits_since: Since when the oldest turn waits that any worker could claim; None if there is none.
        first_chunk_s: Durations from the claim of a turn to its first published chunk.
        chunks: Published chunks, after merging.
        characters: Characters of text in the answers, as responders yield them.
        frames: Published frames.
        seeds: Streams that were written again, by cause: ``lost``, ``compacted`` or ``reviewed``.
        ends: Ended turns, by status or ``status reason``.
        failures: Failed calls of responders, by the kind of the failure.
        tokens: ``input`` and ``output`` tokens, as providers count.
    """

    active: int = 0
    waiting: int = 0
    waits_since: datetime | None = None
    first_chunk_s: Histogram = field(default_factory=lambda: Histogram(FIRST_CHUNK_S))
    chunks: int = 0
    characters: int = 0
    frames: int = 0
    seeds: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def fail(self, kind: str) -> None:
        """Count a failure of a responder."""
        self.failures[kind if kind in FAILURES else "other"] += 1


@dataclass(slots=True)
class WebhookCounters:
    """Counts since the start of the process.

    Attributes:
        attempts: Attempts that ``delivered`` or ``failed``, and events that are ``dead``.
        durations: Durations of attempts.
    """

    attempts: Counter[str] = field(default_factory=Counter)
    durations: Histogram = field(default_factory=Histogram)
