"""Rate limits in the memory of one process.

The state of a key is one time: when its allowance is full again. A charge moves it further into the future, and it may
be at most one period ahead (generic cell rate algorithm).

Layer: limits.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from math import ceil
from typing import Final

from roomcast.chat.errors import RateLimitReached
from roomcast.chat.policies.rates import LimitName, Rate
from roomcast.chat.ports import Charge

#: Keys of one limit, about 200 bytes each. Beyond it a process forgets the keys that were charged first.
MAX_KEYS: Final = 50_000
# An allowance is charged in many small steps, whose rounding errors add up.
_ROUNDING_S: Final = 1e-6


class Use:
    """The use of one key.

    Attributes:
        full_at: When the allowance is full again, in seconds of the limiter's clock.
        refusals: Number of refusals since the last charge.
        unshared_s: What was charged since the other processes learned of it, as a part of the period.
    """

    __slots__ = ("full_at", "refusals", "unshared_s")

    def __init__(self) -> None:
        self.full_at = 0.0
        self.refusals = 0
        self.unshared_s = 0.0


class Limit:
    """One limit and the use of its keys.

    Attributes:
        unit_s: The part of the period in which an amount of 1 is refilled.
        uses: By key. A key that is absent has its whole allowance.
    """

    __slots__ = ("name", "rate", "unit_s", "uses")

    def __init__(self, name: LimitName, rate: Rate) -> None:
        self.name = name
        self.rate = rate
        self.unit_s = rate.period_s / rate.count
        self.uses: OrderedDict[str, Use] = OrderedDict()

    def use(self, key: str, now: float, max_keys: int) -> Use:
        """The use of a key, which is added if it is absent."""
        uses = self.uses
        found = uses.get(key)
        if found is None:
            # Each new key removes up to two old ones that are full again, so that no run over all keys is needed.
            for _ in range(min(2, len(uses))):
                oldest, use = uses.popitem(last=False)
                if use.full_at > now and len(uses) + 1 < max_keys:
                    uses[oldest] = use
            found = uses[key] = Use()
        if found.full_at < now:
            found.full_at = now
            found.unshared_s = 0.0  # it is refilled: of no interest to other processes
        return found


class MemoryRateLimiter:
    """A `chat.ports.RateLimiter` of one process.

    Args:
        rates: The limits that are on.
        clock: Monotonic seconds.
        max_keys: Maximum number of keys of each limit.

    Attributes:
        refused: Number of refusals by limit.
    """

    def __init__(
        self,
        rates: Mapping[LimitName, Rate],
        *,
        clock: Callable[[], float] = time.monotonic,
        max_keys: int = MAX_KEYS,
    ) -> None:
        self._limits = {name: Limit(name, rate) for name, rate in rates.items()}
        self._clock = clock
        self._max_keys = max_keys
        self.refused = Counter[str](dict.fromkeys(map(str, rates), 0))

    @property
    def keys(self) -> Mapping[str, int]:
        """Number of remembered keys by limit."""
        return {str(name): len(limit.uses) for name, limit in self._limits.items()}

    def charge(self, *charges: Charge) -> None:
        """See the port."""
        now = self._clock()
        charged = []
        for name, key, amount in charges:
            limit = self._limits.get(name)
            if limit is None:
                continue
            use = limit.use(key, now, self._max_keys)
            cost_s = min(amount * limit.unit_s, limit.rate.period_s)
            wait_s = use.full_at + cost_s - now - limit.rate.period_s
            if wait_s > _ROUNDING_S:
                self.refused[name] += 1
                use.refusals += 1
                raise RateLimitReached(name, ceil(wait_s), use.refusals)
            charged.append((limit, key, use, cost_s))
        for limit, key, use, cost_s in charged:
            use.full_at += cost_s
            use.refusals = 0
            self._charged(limit, key, use, cost_s)

    def spend(self, limit: LimitName, key: str, amount: int) -> None:
        """See the port."""
        found = self._limits.get(limit)
        if found is None:
            return
        now = self._clock()
        use = found.use(key, now, self._max_keys)
        cost_s = min(amount * found.unit_s, now + 2 * found.rate.period_s - use.full_at)
        use.full_at += cost_s
        self._charged(found, key, use, cost_s)

    def wait_s(self, limit: LimitName, key: str) -> float:
        """See the port."""
        found = self._limits.get(limit)
        use = None if found is None else found.uses.get(key)
        if found is None or use is None:
            return 0.0
        wait_s = use.full_at + found.unit_s - self._clock() - found.rate.period_s
        return wait_s if wait_s > _ROUNDING_S else 0.0

    def refuse(self, limit: LimitName, wait_s: float) -> RateLimitReached:
        """Count a refusal that follows from `wait_s`, and return its error."""
        self.refused[limit] += 1
        return RateLimitReached(limit, ceil(wait_s))

    def _charged(self, limit: Limit, key: str, use: Use, cost_s: float) -> None:
        """Called after each charge of a key."""
