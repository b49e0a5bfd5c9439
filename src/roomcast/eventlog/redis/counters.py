"""What the log has seen, as plain numbers for whoever exports them.

Layer: eventlog.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RedisLogCounters:
    """Totals since the start, and the newest lag.

    Attributes:
        appended: Entries given to appends and seeds that Redis took.
        gaps: Appends that were answered with a gap, an absent log included.
        replays: Reads that were answered in full.
        refused_replays: Reads that the log could not answer.
        cut: Entries that were too large to travel.
        frames: Messages of the live feed that were delivered.
        signals: Signals that were delivered.
        dropped: Messages and records that were not ours, by reason.
        connects: Connections of the live feed that were opened.
        losses: Those that were lost, by cause: ``closed``, ``deaf``, ``oversize``, ``protocol``.
        lag_s: Latest time from publishing a canary to hearing it, on this process's own clock.
    """

    appended: int = 0
    gaps: int = 0
    replays: int = 0
    refused_replays: int = 0
    cut: int = 0
    frames: int = 0
    signals: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    lag_s: float = 0.0

    def drop(self, reason: str) -> None:
        """Count what is not ours; logged at the 1st, 2nd, 4th, 8th … so that a flood cannot fill the logs."""
        self.dropped[reason] += 1
        count = self.dropped[reason]
        if count & (count - 1) == 0:
            logger.warning("dropped what is not ours from Redis", extra={"reason": reason, "count": count})
