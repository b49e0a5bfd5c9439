"""What feeds and joins have seen, as plain numbers for whoever exports them.

Layer: gateway.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class GatewayCounters:
    """Totals since the start.

    Attributes:
        joins: Joins by outcome: ``recovered``, ``not-recovered``, or the code of the refusal.
        replayed: Events that joins replayed.
        delivered: Events that rooms were given, once for each chat.
        gaps: Holes in a live feed that were bridged, or not.
        resyncs: Times that a room was told to fetch for itself.
    """

    joins: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    delivered: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    resyncs: int = 0
