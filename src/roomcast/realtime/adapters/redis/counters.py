"""Counters of the adapter, for the metrics.

Layer: realtime.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from roomcast.backoff import should_log

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class RedisAdapterCounters:
    """Totals since the start, and the latest lag.

    Attributes:
        published: Messages that were written to Redis.
        received: Executed commands and requests from other servers.
        ignored: Messages for rooms and namespaces without a socket on this server, responses to other servers, and this
            server's own messages.
        answered: Responses to requests from other servers.
        dropped: Messages that were not sent or not understood, by reason: ``malformed``, ``unknown-request``,
            ``oversize`` (to be sent by this server), ``queue-full``, ``stale``, ``refused`` (by Redis), ``unpackable``,
            ``gap`` (entries of a stream were lost before they were read), ``busy`` (too many acknowledged broadcasts
            are pending: delivered, but the acknowledgements are not passed on).
        connects: How often both connections were opened and subscribed.
        losses: How often the connections were lost, by cause: ``closed``, ``deaf`` (a probe failed), ``moved`` (the
            server is no longer the master), ``oversize`` (a received message), ``protocol``, ``refused``.
        revoked: Subscriptions that a server of a Redis Cluster ended, since their slots belong to another one now. What
            was published until they were subscribed there is lost.
        lag_s: Seconds from publishing the latest probe to receiving it.
    """

    published: int = 0
    received: int = 0
    ignored: int = 0
    answered: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    connects: int = 0
    losses: Counter[str] = field(default_factory=Counter)
    revoked: int = 0
    lag_s: float = 0.0

    def drop(self, reason: str, detail: str = "") -> None:
        """Count a message that is not delivered."""
        self.dropped[reason] += 1
        count = self.dropped[reason]
        if should_log(count):
            logger.warning("cluster message dropped", extra={"reason": reason, "detail": detail, "count": count})
