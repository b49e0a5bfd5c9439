"""Totals of feeds and joins, exported as metrics by `roomcast.app.metrics`.

Layer: gateway.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from roomcast.contract.errors import ErrorCode
from roomcast.histogram import Histogram

#: The outcomes of joins.
JOINS: Final = (
    "recovered",
    "not-recovered",
    ErrorCode.FORBIDDEN.value,
    ErrorCode.LIMIT_REACHED.value,
    ErrorCode.UNAVAILABLE.value,
)


@dataclass(slots=True)
class GatewayCounters:
    """Totals since the start.

    Attributes:
        joins: Joins by outcome: ``recovered``, ``not-recovered``, or the error code.
        join_s: Durations of joins by outcome, from the request to the ack.
        replay_s: Durations of the reads for replays.
        delivery_s: Delays of events, from the ``time`` in the event to its emit. Two clocks: the commit's and this
            process's. Without the answers of AI turns, whose ``time`` is not that of their event.
        replayed: Events that joins replayed.
        delivered: Events emitted to rooms; an event counts once, whatever the number of sockets in the room.
        gaps: Gaps in feeds by outcome: ``bridged`` (filled from the log) or ``open`` (skipped with a resync).
        resyncs: Resyncs emitted to rooms.
    """

    joins: Counter[str] = field(default_factory=Counter)
    join_s: dict[str, Histogram] = field(default_factory=lambda: {outcome: Histogram() for outcome in JOINS})
    replay_s: Histogram = field(default_factory=Histogram)
    delivery_s: Histogram = field(default_factory=Histogram)
    replayed: int = 0
    delivered: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    resyncs: int = 0
