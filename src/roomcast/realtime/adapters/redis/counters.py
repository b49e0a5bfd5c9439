"""What the adapter has seen, as plain numbers for whoever exports them.

Layer: realtime.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RedisAdapterCounters:
    """Totals since the start, and the newest lag.

    Attributes:
        published: Messages that were written to Redis.
        received: Messages of other servers that were obeyed.
        ignored: Messages for rooms and namespaces without a socket here, and our own.
        answered: Requests of other servers that were answered.
        dropped: Messages that were not sent or not understood, by reason: ``malformed``, ``unknown-request``,
            ``foreign-channel``, ``oversize`` (ours), ``queue-full``, ``stale``, ``refused`` (Redis said no),
            ``unpackable``, ``busy`` (too many acknowledged broadcasts at a time).
        connects: Times that the pair of connections was made and subscribed.
        losses: Times that it was lost, by cause: ``closed``, ``deaf``, ``oversize`` (a message that no server of ours
            sends), ``protocol``, ``refused``.
        lag_s: Latest time from publishing a probe to hearing it, on this process's own clock.
    """

    published: int = 0
    received: int = 0
    ignored: int = 0
    answered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    lag_s: float = 0.0

    def drop(self, reason: str, detail: str = "") -> None:
        """Count what is lost; logged at the 1st, 2nd, 4th, 8th … so that a flood cannot fill the logs."""
        self.dropped[reason] += 1
        count = self.dropped[reason]
        if count & (count - 1) == 0:
            logger.warning("dropped a message between servers: %s %s", reason, detail, extra={"count": count})
