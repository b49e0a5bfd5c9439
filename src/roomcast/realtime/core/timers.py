"""One timer for all deadlines: pings, pongs, connects, upgrades, request heads.

Deadlines are rounded up to a common resolution and kept in buckets; the loop holds a single timer, for the earliest
bucket. Ten thousand connections cost as many set entries, not as many heap entries and handles, and connections that
were opened together are pinged together.

Layer: realtime.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from heapq import heappop, heappush

logger = logging.getLogger(__name__)

_IDLE = -1


class Deadline:
    """Something that happens at a time unless it is cancelled or moved. Belongs to one `TimerWheel`."""

    __slots__ = ("_bucket", "_callback", "_wheel")

    def __init__(self, wheel: TimerWheel, callback: Callable[[], None]) -> None:
        self._wheel = wheel
        self._callback = callback
        self._bucket = _IDLE

    @property
    def armed(self) -> bool:
        """Whether it will happen."""
        return self._bucket != _IDLE

    def arm(self, delay_s: float) -> None:
        """Let it happen in ``delay_s`` seconds, up to one resolution later; moves it if it was armed."""
        self._wheel.move(self, delay_s)

    def cancel(self) -> None:
        """Let it not happen. Harmless if it is not armed."""
        self._wheel.remove(self)


class TimerWheel:
    """Keeps deadlines in buckets of ``resolution_s`` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, resolution_s: float) -> None:
        self._loop = loop
        self._resolution_s = resolution_s
        self._buckets: dict[int, set[Deadline]] = {}
        # Every key of _buckets once; a key whose bucket was emptied stays until its time.
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_bucket = _IDLE
        self._fired = _IDLE

    def deadline(self, callback: Callable[[], None]) -> Deadline:
        """A deadline that calls ``callback``, not armed yet. An exception in it is logged and stops nobody else's."""
        return Deadline(self, callback)

    def move(self, deadline: Deadline, delay_s: float) -> None:
        """Arm ``deadline``; see `Deadline.arm`."""
        # Never a bucket that is being emptied: a callback that arms itself again would keep the loop for ever.
        bucket = max(math.ceil((self._loop.time() + delay_s) / self._resolution_s), self._fired + 1)
        if bucket == deadline._bucket:  # noqa: SLF001 - the two classes are one thing
            return
        self.remove(deadline)
        deadline._bucket = bucket  # noqa: SLF001 - likewise
        waiting = self._buckets.get(bucket)
        if waiting is None:
            waiting = self._buckets[bucket] = set()
            heappush(self._order, bucket)
            if self._timer is None or bucket < self._timer_bucket:
                self._set_timer()
        waiting.add(deadline)

    def remove(self, deadline: Deadline) -> None:
        """Disarm ``deadline``; see `Deadline.cancel`."""
        if deadline._bucket != _IDLE:  # noqa: SLF001 - likewise
            self._buckets[deadline._bucket].discard(deadline)  # noqa: SLF001 - likewise
            deadline._bucket = _IDLE  # noqa: SLF001 - likewise

    def stop(self) -> None:
        """Forget every deadline and the loop's timer."""
        for waiting in self._buckets.values():
            for deadline in waiting:
                deadline._bucket = _IDLE  # noqa: SLF001 - likewise
        self._buckets.clear()
        self._order.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._order:
            self._timer_bucket = self._order[0]
            self._timer = self._loop.call_at(self._timer_bucket * self._resolution_s, self._fire)

    def _fire(self) -> None:
        self._timer = None
        # The loop may call a timer early by its clock's resolution; this bucket is due all the same.
        self._fired = max(self._timer_bucket, math.floor(self._loop.time() / self._resolution_s))
        while self._order and self._order[0] <= self._fired:
            bucket = heappop(self._order)
            waiting = self._buckets[bucket]
            # A callback may cancel others of its own bucket, so they are taken one by one.
            while waiting:
                deadline = waiting.pop()
                deadline._bucket = _IDLE  # noqa: SLF001 - likewise
                try:
                    deadline._callback()  # noqa: SLF001 - likewise
                except Exception:
                    logger.exception("a deadline's callback failed")
            del self._buckets[bucket]
        self._set_timer()
