"""Totals of feeds and joins, exported as metrics by `roomcast.app.metrics`.

Layer: gateway.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class GatewayCounters:
    """Totals since the start.

    Attributes:
        joins: Joins by outcome: ``recovered``, ``not-recovered``, or the error code.
        replayed: Events that joins replayed.
        delivered: Events emitted to rooms; an event counts once, whatever the number of sockets in the room.
        gaps: Gaps in feeds by outcome: ``bridged`` (filled from the log) or ``open`` (skipped with a resync).
        resyncs: Resyncs emitted to rooms.
    """

    joins: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    delivered: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    resyncs: int = 0
