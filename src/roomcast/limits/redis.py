"""Rate limits that several processes share through Redis.

A process decides by what it knows, so that no request waits for Redis. A key of which this process has charged a
noticeable part of the allowance is reported in the background, and the answer has what all processes have charged. A
user that stays well below its limits costs no command.

While Redis is away each process limits by itself.

Layer: limits.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Final

from roomcast.chat.policies.rates import LimitName, Rate
from roomcast.limits.memory import MAX_KEYS, Limit, MemoryRateLimiter, Use
from roomcast.redis_client import Commands, Outcome, RedisUnavailable, load_script

_SPEND: Final = load_script("roomcast.limits", "spend")
#: A key is reported when it has used this part of its allowance since the last report, and at least an amount of 1.
SHARE: Final = 1 / 64
#: Pause between two reports: one command for each reported key, whatever the number of its charges.
PAUSE_S: Final = 0.05
#: Pause after a failure.
RETRY_S: Final = 1.0
_BATCH: Final = 64
_MICROSECONDS: Final = 1_000_000


class RedisRateLimiter(MemoryRateLimiter):
    """A `chat.ports.RateLimiter` of several processes. The caller starts `run`.

    Args:
        rates: The limits that are on, the same in each process.
        commands: Runs the script; the caller closes it.
        prefix: Prefix of every key.
        clock: Monotonic seconds.
        max_keys: Maximum number of keys of each limit in this process.

    Attributes:
        reports: Number of reported keys by outcome: ``shared``, or ``lost`` because Redis did not answer.
        outcome: Whether Redis runs the script.
    """

    def __init__(
        self,
        rates: Mapping[LimitName, Rate],
        commands: Commands,
        *,
        prefix: str = "roomcast",
        clock: Callable[[], float] = time.monotonic,
        max_keys: int = MAX_KEYS,
    ) -> None:
        super().__init__(rates, clock=clock, max_keys=max_keys)
        self._commands = commands
        self._prefix = prefix
        self._due: dict[tuple[LimitName, str], Use] = {}
        self._wake = asyncio.Event()
        self.reports = Counter[str](shared=0, lost=0)
        self.outcome = Outcome("rate limits", "each process limits by itself")

    def _charged(self, limit: Limit, key: str, use: Use, cost_s: float) -> None:
        use.unshared_s += cost_s
        if limit.rate.shared and use.unshared_s >= max(limit.unit_s, limit.rate.period_s * SHARE):
            self._due[limit.name, key] = use
            self._wake.set()

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(PAUSE_S if await self.report() else RETRY_S)

    async def report(self) -> bool:
        """Report the keys that are due. Returns whether Redis answered; what is not reported then is never reported."""
        due, self._due = self._due, {}
        self._wake.clear()
        items = iter(due.items())
        while batch := list(islice(items, _BATCH)):
            error = await self._report(batch)
            if error is not None:
                self.outcome.fail(error)
                self.reports["lost"] += len(batch) + sum(1 for _ in items)
                return False
            self.reports["shared"] += len(batch)
        self.outcome.succeed()
        return True

    async def _report(self, batch: list[tuple[tuple[LimitName, str], Use]]) -> RedisUnavailable | None:
        calls = []
        for (name, key), use in batch:
            spent, use.unshared_s = use.unshared_s, 0.0
            period_s = self._limits[name].rate.period_s
            args = [round(spent * _MICROSECONDS), round(period_s * _MICROSECONDS)]
            calls.append(([f"{self._prefix}:limit:{name}:{key}"], args))
        if self._commands.clustered:  # each key has its own slot
            answers = await asyncio.gather(
                *(self._commands.run(_SPEND, *call) for call in calls), return_exceptions=True
            )
        else:
            answers = await self._commands.run_many(_SPEND, calls)
        error = None
        for (_, use), answer in zip(batch, answers, strict=True):
            if isinstance(answer, RedisUnavailable):
                error = answer
            elif isinstance(answer, BaseException):
                raise answer
            else:
                use.full_at = max(use.full_at, self._clock() + int(answer) / _MICROSECONDS)
        return error
