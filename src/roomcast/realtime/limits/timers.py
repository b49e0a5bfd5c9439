"""One event-loop timer for all deadlines: pings, pongs, connects, upgrades, request heads.

Deadlines are rounded up to a common resolution and kept in buckets; the loop holds one timer, for the earliest bucket.
Ten thousand connections cost ten thousand set entries instead of heap entries and timer handles.

Layer: realtime.limits.
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
    """A callback at a time that can be moved or cancelled. Belongs to one `TimerWheel`."""

    __slots__ = ("_bucket", "_callback", "_wheel")

    def __init__(self, wheel: TimerWheel, callback: Callable[[], None]) -> None:
        self._wheel = wheel
        self._callback = callback
        self._bucket = _IDLE

    @property
    def armed(self) -> bool:
        """Whether the callback is scheduled."""
        return self._bucket != _IDLE

    def arm(self, delay_s: float) -> None:
        """Schedule the callback in ``delay_s`` seconds, rounded up to the resolution; replaces an earlier schedule."""
        self._wheel.move(self, delay_s)

    def cancel(self) -> None:
        """Unschedule the callback. Harmless if it is not armed."""
        if self._bucket != _IDLE:
            self._wheel.remove(self)


class TimerWheel:
    """Keeps deadlines in buckets of ``resolution_s`` seconds."""

    def __init__(self, loop: asyncio.AbstractEventLoop, resolution_s: float) -> None:
        self._loop = loop
        self._resolution_s = resolution_s
        self._buckets: dict[int, set[Deadline]] = {}
        # A heap of the keys of _buckets; the key of an emptied bucket stays until it is due.
        self._order: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_bucket = _IDLE
        self._fired = _IDLE

    def now(self) -> float:
        """The current time in monotonic seconds."""
        return self._loop.time()

    def deadline(self, callback: Callable[[], None]) -> Deadline:
        """A new deadline, not armed. Exceptions of its callback are logged; other deadlines are not affected."""
        return Deadline(self, callback)

    def move(self, deadline: Deadline, delay_s: float) -> None:
        """Arm ``deadline``; see `Deadline.arm`."""
        # Not the bucket that is being emptied: a callback that re-arms itself would never let `_fire` end.
        bucket = max(math.ceil((self._loop.time() + delay_s) / self._resolution_s), self._fired + 1)
        if bucket == deadline._bucket:  # noqa: SLF001 - both classes are one implementation
            return
        self.remove(deadline)
        deadline._bucket = bucket  # noqa: SLF001 - see move
        waiting = self._buckets.get(bucket)
        if waiting is None:
            waiting = self._buckets[bucket] = set()
            heappush(self._order, bucket)
            if self._timer is None or bucket < self._timer_bucket:
                self._set_timer()
        waiting.add(deadline)

    def remove(self, deadline: Deadline) -> None:
        """Disarm ``deadline``; see `Deadline.cancel`."""
        if deadline._bucket != _IDLE:  # noqa: SLF001 - see move
            self._buckets[deadline._bucket].discard(deadline)  # noqa: SLF001 - see move
            deadline._bucket = _IDLE  # noqa: SLF001 - see move

    def stop(self) -> None:
        """Disarm every deadline and cancel the loop's timer."""
        for waiting in self._buckets.values():
            for deadline in waiting:
                deadline._bucket = _IDLE  # noqa: SLF001 - see move
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
        # The loop may call a timer early by up to its clock's resolution; the bucket is due nevertheless.
        self._fired = max(self._timer_bucket, math.floor(self._loop.time() / self._resolution_s))
        while self._order and self._order[0] <= self._fired:
            bucket = heappop(self._order)
            waiting = self._buckets[bucket]
            # A callback may cancel others of its own bucket, so they are taken one by one.
            while waiting:
                deadline = waiting.pop()
                deadline._bucket = _IDLE  # noqa: SLF001 - see move
                try:
                    deadline._callback()  # noqa: SLF001 - see move
                except Exception:
                    logger.exception("deadline callback failed")
            del self._buckets[bucket]
        self._set_timer()
