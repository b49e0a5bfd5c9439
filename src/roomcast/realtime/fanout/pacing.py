"""When the fan-out log is flushed: at the end of the tick, unless emits come faster than they can be written.

A write costs the same system call whether it carries one message or ten. So if the next emit is there before the last
flush has been written, and that took long, the next flush waits as long again, at most ``rest_limit_s``: what is
emitted meanwhile shares its writes. A message that comes alone is written at once, however large the room.

Layer: realtime. Source: measurements (1,000 members, one emit a tick; see docs/decisions/0002-pacing.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

#: A flush that is shorter, or that wrote to fewer connections, is no load; resting after it would only add latency.
BUSY_S: Final = 0.001
BUSY_WRITES: Final = 64

Callback = Callable[[], None]
#: Writes what is waiting; returns to how many connections.
Flush = Callable[[], int]


class Scheduler(Protocol):
    """The two ways in which an event loop runs something later."""

    def call_soon(self, callback: Callback, /) -> object:
        """Run it in the next turn of the loop."""

    def call_later(self, delay: float, callback: Callback, /) -> object:
        """Run it ``delay`` seconds from now."""


class Pacer:
    """Runs flushes, one at a time; calling it asks for one.

    Args:
        rest_limit_s: Longest rest; 0: never rest. The most that pacing adds to a message's way.
        loop: The event loop; None: the running one at each call.
        clock: Monotonic seconds.
    """

    __slots__ = ("_began", "_clock", "_loop", "_rest_limit_s", "_waiting", "_writing")

    def __init__(
        self, rest_limit_s: float, loop: Scheduler | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._rest_limit_s = rest_limit_s
        self._loop = loop
        self._clock = clock
        self._began = 0.0
        self._writing = False
        self._waiting: Flush | None = None

    def __call__(self, flush: Flush) -> None:
        """Run ``flush`` once, as soon as the pace allows. Not called again before it has run."""
        self._waiting = flush
        if not self._writing:
            self._scheduler().call_soon(self._flush)

    def _scheduler(self) -> Scheduler:
        return self._loop or asyncio.get_running_loop()

    def _flush(self) -> None:
        flush, self._waiting = self._waiting, None
        if flush is None:
            return
        self._began = self._clock()
        if flush() >= BUSY_WRITES and self._rest_limit_s:
            # uvloop writes at the end of the turn, asyncio at once: by the next turn both have.
            self._writing = True
            self._scheduler().call_soon(self._written)

    def _written(self) -> None:
        self._writing = False
        if self._waiting is None:
            return
        took_s = self._clock() - self._began
        if took_s >= BUSY_S:
            self._scheduler().call_later(min(took_s, self._rest_limit_s), self._flush)
        else:
            self._scheduler().call_soon(self._flush)
