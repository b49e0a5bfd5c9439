"""The worker: claims AI turns, answers them, and keeps their leases.

The queue is a database table; `Worker.wake` only shortens the wait. Each claim of a turn raises its generation, and
every write to the turn checks the generation. A worker therefore writes nothing once another worker has claimed its
turn.

Layer: worker. Source: docs/design.md, "AI turns".
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Final

from roomcast.backoff import Backoff, repeat_forever, should_log
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import Turn
from roomcast.chat.ports import Clock
from roomcast.worker.counters import WorkerCounters
from roomcast.worker.options import WorkerOptions
from roomcast.worker.turn_run import Interruption, TurnRun, TurnServices

logger = logging.getLogger(__name__)

#: A database may be away for so long without that turns change their worker.
_LONGEST_OUTAGE: Final = timedelta(hours=1)


class Worker:
    """Answers AI turns until it is cancelled.

    Args:
        services: What the worker uses.
        clock: Wall-clock time, for leases.
        options: Limits and times.

    Attributes:
        counters: What the worker has done.
    """

    def __init__(self, services: TurnServices, clock: Clock, options: WorkerOptions | None = None) -> None:
        self.counters = WorkerCounters()
        self._services = services
        self._store = services.store
        self._clock = clock
        self._options = options or WorkerOptions()
        self._backoff = Backoff(self._options.retry_s, self._options.sweep_s)
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(self._options.concurrency)
        # Loop time from which turns are taken over: after an outage of the database, other workers renew their leases.
        self._takes_over_from = 0.0
        # By the id of the turn.
        self._runs: dict[str, TurnRun] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # Wall-clock time of the last renewal.
        self._renewed_at = clock.now()
        # Loop time until which turns may finish; None: no shutdown.
        self._drains_until: float | None = None
        # Held during a claim.
        self._claiming = asyncio.Lock()

    def wake(self) -> None:
        """Query the queue now, because a turn was queued, or another one of its chat has ended."""
        self._wake.set()

    async def run(self) -> None:
        """Claim and answer turns until cancelled. Call `stop` before, or turns wait for the end of their leases."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_leases())
                counting = "counting the queued AI turns"
                group.create_task(repeat_forever(self._count_queue, self._options.count_s, counting, StoreUnavailable))
                await self._claim_turns()
        finally:
            for task in self._tasks:
                task.cancel()

    def drain(self, limit_s: float) -> None:
        """Claim no more turns, since the process stops. Those in progress have ``limit_s`` to finish."""
        if self._drains_until is None:
            self._drains_until = asyncio.get_running_loop().time() + limit_s
            self._wake.set()

    async def stop(self) -> None:
        """Wait for the turns in progress until the end of the drain, then hand them over or end them."""
        self.drain(0.0)
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.stop_s), self._claiming:
                pass  # a claim in progress may have got a turn, even one that this worker hands over
        if self._tasks and self._drains_until is not None:
            await asyncio.wait(self._tasks, timeout=max(self._drains_until - loop.time(), 0.0))
        for run in self._runs.values():
            run.interrupt(Interruption.SHUTDOWN)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._options.stop_s)
            if late:
                logger.warning("%d AI turns were not handed over; their leases end soon", len(late))
            for task in late:
                task.cancel()

    # --- The queue ---

    async def _claim_turns(self) -> None:
        while self._drains_until is None:
            await self._slots.acquire()
            self._wake.clear()
            async with self._claiming:
                if self._drains_until is not None:
                    break
                claimed_at = asyncio.get_running_loop().time()
                turn, wait_s = await self._claim_or_wait_s()
                if turn is not None:
                    self._start(turn, claimed_at)
                    continue
            self._slots.release()
            try:
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _claim_or_wait_s(self) -> tuple[Turn | None, float]:
        """Claim a turn, or return None and the seconds until the next query of the queue."""
        late_s = abs((self._clock.now() - self._renewed_at).total_seconds())
        if self._runs and late_s > self._options.lease_s / 2:
            # After a suspension or a step of the clock this worker must not take its own turns for those of a dead one.
            await self._renew(dict(self._runs))
        try:
            now, lease = self._clock.now(), timedelta(seconds=self._options.lease_s)
            grace_s = self._takes_over_from - asyncio.get_running_loop().time()
            # No lease ended before that time; a turn that waits has none.
            ended_before = now if grace_s <= 0 else now - _LONGEST_OUTAGE
            turn = await self._store.claim_turn(ended_before, now + lease)
            wait_s = max(await self._until_next_lease_end_s(), grace_s) if turn is None else 0.0
        except StoreUnavailable as error:
            wait_s = self._backoff.next_s()
            self._takes_over_from = asyncio.get_running_loop().time() + self._options.lease_s / 2
            if should_log(self._backoff.failures):
                logger.warning("cannot claim AI turns, retrying in %.1f s: %s", wait_s, error)
            return None, wait_s
        self._backoff.reset()
        return turn, wait_s

    async def _until_next_lease_end_s(self) -> float:
        """Seconds until the next lease ends and its turn can be claimed again; at most ``sweep_s``."""
        lease_end = await self._store.next_lease_end()
        if lease_end is None:
            return self._options.sweep_s
        left_s = (lease_end - self._clock.now()).total_seconds()
        return min(max(left_s + 0.001, 0.05), self._options.sweep_s)

    def _start(self, turn: Turn, claimed_at: float) -> None:
        turn_id = turn.claim.turn_id
        lease_until = claimed_at + self._options.lease_s
        run = TurnRun(turn, self._services, self._options, self.counters, lease_until=lease_until)
        if (earlier := self._runs.get(turn_id)) is not None:
            # This worker did not renew the lease in time, and has claimed its own turn again.
            earlier.interrupt(Interruption.LOST)
        self._runs[turn_id] = run
        task = asyncio.create_task(run.run(), name=f"turn {turn_id}")
        self._tasks.add(task)
        self.counters.active = len(self._tasks)

        def on_done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self.counters.active = len(self._tasks)
            if self._runs.get(turn_id) is run:
                del self._runs[turn_id]
            self._slots.release()

        task.add_done_callback(on_done)

    # --- Leases ---

    async def _keep_leases(self) -> None:
        """Renew the leases of all turns, abandon those that are lost, and stop those for which a stop is stored."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._options.heartbeat_s)
            if self._runs:
                await self._renew(dict(self._runs))
            now = loop.time()
            for run in list(self._runs.values()):
                run.tick(now)

    async def _count_queue(self) -> None:
        self.counters.waiting, self.counters.waits_since = await self._store.waiting(self._clock.now())

    async def _renew(self, runs: dict[str, TurnRun]) -> None:
        renewed_at, now = asyncio.get_running_loop().time(), self._clock.now()
        lease_until = now + timedelta(seconds=self._options.lease_s)
        try:
            renewal = await self._store.renew([run.turn.claim for run in runs.values()], lease_until)
        except StoreUnavailable as error:
            logger.warning("cannot renew the leases of %d AI turns: %s", len(runs), error)
            return
        self._renewed_at = now
        for turn_id, run in runs.items():
            if turn_id in renewal.lost:
                run.interrupt(Interruption.LOST)
                continue
            run.lease_until = renewed_at + self._options.lease_s
            if turn_id in renewal.stopping:
                run.interrupt(Interruption.STOP)
