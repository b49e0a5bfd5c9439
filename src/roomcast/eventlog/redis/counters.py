"""Counters of the log, for the metrics.

Layer: eventlog.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from roomcast.backoff import should_log

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RedisLogCounters:
    """Totals since the start, and the latest lag.

    Attributes:
        appended: Entries that appends and seeds have stored.
        unstored: Entries that were only published, because Redis refused to store them.
        gaps: Appends that found a gap or no log.
        replays: Successful reads.
        refused_replays: Reads that the log could not serve.
        cut: Entries that were stored without their arguments, because they were too large.
        frames: Delivered messages that hold entries.
        signals: Delivered signals.
        dropped: Malformed messages and records, by reason.
        connects: Subscriber connections that were opened.
        losses: Subscriber connections that were lost, by cause: ``closed``, ``deaf`` (a probe failed), ``oversize``,
            ``protocol``.
        lag_s: Seconds from publishing the latest canary to receiving it.
    """

    appended: int = 0
    unstored: int = 0
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
        """Count a malformed message or record."""
        self.dropped[reason] += 1
        count = self.dropped[reason]
        if should_log(count):
            logger.warning("dropped malformed data from Redis", extra={"reason": reason, "count": count})
