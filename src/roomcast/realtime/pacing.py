"""When the fan-out log is flushed: at the end of the tick, unless the last flush kept the loop busy.

A write costs the same system call whether it carries one message or ten. So a flush that took long is followed by a
rest of the same length, at most ``rest_limit_s``, and what is emitted meanwhile shares the next write. A server that is
not busy writes at once; one that is busy spends its time on messages and not on system calls.

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

    __slots__ = ("_began", "_clock", "_loop", "_rest_limit_s", "_rest_until", "_waiting", "_writing")

    def __init__(
        self, rest_limit_s: float, loop: Scheduler | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._rest_limit_s = rest_limit_s
        self._loop = loop
        self._clock = clock
        self._began = 0.0
        self._rest_until = 0.0
        self._writing = False
        self._waiting: Flush | None = None

    def __call__(self, flush: Flush) -> None:
        """Run ``flush`` once, as soon as the pace allows. Not called again before it has run."""
        if self._writing:
            self._waiting = flush
            return
        loop = self._loop or asyncio.get_running_loop()
        self._waiting = flush
        rest_s = self._rest_until - self._clock() if self._rest_until else 0.0
        if rest_s > 0.0:
            loop.call_later(rest_s, self._flush)
        else:
            self._rest_until = 0.0
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        flush, self._waiting = self._waiting, None
        if flush is None:
            return
        self._began = self._clock()
        if flush() >= BUSY_WRITES and self._rest_limit_s:
            # uvloop writes at the end of the turn, asyncio at once: by the next turn both have.
            self._writing = True
            (self._loop or asyncio.get_running_loop()).call_soon(self._written)

    def _written(self) -> None:
        self._writing = False
        now = self._clock()
        took_s = now - self._began
        self._rest_until = now + min(took_s, self._rest_limit_s) if took_s >= BUSY_S else 0.0
        if self._waiting is not None:
            self(self._waiting)
