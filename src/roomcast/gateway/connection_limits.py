"""How many Socket.IO connections a user and an address open, per minute and at once.

Connections per minute are counted by the rate limiter, over all processes. Open connections are counted here, in this
process only: a cluster permits as many times the number as it has gateways.

Layer: gateway.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from roomcast.chat.errors import RateLimitReached
from roomcast.chat.policies.rates import LimitName
from roomcast.chat.ports import RateLimiter

#: When a refused client should try again: the time that its other connections need is unknown.
RETRY_AFTER_S: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConnectionLimits:
    """Open connections in one gateway process; 0: no limit.

    Attributes:
        per_user: Of one user: each tab and device has one.
        per_address: Of one address; loopback addresses have no limit.
    """

    per_user: int = 200
    per_address: int = 10_000


class ConnectionLimits:
    """Counts connections.

    Args:
        limiter: Counts connections per minute; None: without limits, those of open connections included.
        most: The limits of open connections.
    """

    def __init__(self, limiter: RateLimiter | None, most: OpenConnectionLimits) -> None:
        self._limiter = limiter
        self._most = {LimitName.CONNECTIONS: most.per_user, LimitName.ADDRESS_CONNECTIONS: most.per_address}
        self._open: Counter[tuple[LimitName, str]] = Counter()
        self._keys: dict[str, list[tuple[LimitName, str]]] = {}

    def add(self, sid: str, limit: LimitName, key: str) -> None:
        """Count a connection, until `remove`.

        Raises:
            RateLimitReached: the user or the address has opened too many.
        """
        if self._limiter is None:
            return
        self._limiter.charge((limit, key, 1))
        most = self._most[limit]
        if most and self._open[limit, key] >= most:
            raise RateLimitReached(f"open {limit.value}", RETRY_AFTER_S)
        self._open[limit, key] += 1
        self._keys.setdefault(sid, []).append((limit, key))

    def remove(self, sid: str) -> None:
        """Forget a connection that has ended or was refused."""
        for counted in self._keys.pop(sid, ()):
            self._open[counted] -= 1
            if not self._open[counted]:
                del self._open[counted]
