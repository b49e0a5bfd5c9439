"""When the fan-out log is flushed: at the end of the tick, or later under load.

A write costs one system call, for one message or for ten. If emits arrive while a long flush is being written, twice
in a row, the next flush waits as long as that flush took, at most ``rest_limit_s``; emits of that time share its
writes. A single message is written at the end of its tick, in a room of any size; so is an acknowledgement after it.

Whether emits arrive faster than they can be written shows only in a pause: if it brings no more emits, the next pause
needs twice as many waiting emits in a row. A client that sends its next message when it has received the last one is
delayed rarely, although its request may be read before the flush counts as written (eager tasks, Python 3.12).

Layer: realtime.fanout. Source: measurements (1,000 members, one emit a tick; see docs/decisions/0002-pacing.md).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

#: A flush that is shorter, or writes to fewer connections, is no load: a pause after it would only add latency.
BUSY_S: Final = 0.001
BUSY_WRITES: Final = 64
#: Flushes in a row that emits must wait for before a pause: at first, and at most. One that waits once is no load: with
#: eager tasks it may be the acknowledgement of a request that was read after the writes.
_PRESSED_MIN: Final = 2
_PRESSED_MAX: Final = 16

Callback = Callable[[], None]
#: Writes all entries; returns the number of connections written to, and the number of entries that shared a write.
Flush = Callable[[], tuple[int, int]]


class Scheduler(Protocol):
    """The part of an event loop that the pacer uses."""

    def call_soon(self, callback: Callback, /) -> object:
        """Call it in the next loop iteration."""

    def call_later(self, delay: float, callback: Callback, /) -> object:
        """Call it in ``delay`` seconds."""


class Pacer:
    """Runs flushes one at a time; a call requests one.

    Args:
        rest_limit_s: Longest pause between two flushes, and so the latency that pacing can add; 0: no pause.
        loop: The event loop; None: the running one at each call.
        clock: Monotonic seconds.
    """

    __slots__ = (
        "_began",
        "_clock",
        "_loop",
        "_needed",
        "_pressed",
        "_rest_limit_s",
        "_rested",
        "_shared",
        "_waiting",
        "_writing",
    )

    def __init__(
        self, rest_limit_s: float, loop: Scheduler | None = None, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._rest_limit_s = rest_limit_s
        self._loop = loop
        self._clock = clock
        self._began = 0.0
        # Flushes in a row that emits have waited for, and how many of them are followed by a pause.
        self._pressed = 0
        self._needed = _PRESSED_MIN
        # Whether the next flush follows a pause; how many entries shared a write in the last flush without one.
        self._rested = False
        self._shared = 0
        self._writing = False
        self._waiting: Flush | None = None

    def __call__(self, flush: Flush) -> None:
        """Run ``flush`` once, as soon as the pace allows. Must not be called again before it has run."""
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
        writes, shared = flush()
        if not self._rested:
            self._shared = shared
        elif shared > self._shared:
            self._needed = _PRESSED_MIN
        else:
            self._pressed, self._needed = 0, min(2 * self._needed, _PRESSED_MAX)
        self._rested = False
        if writes >= BUSY_WRITES and self._rest_limit_s:
            # asyncio writes at once, uvloop at the end of the iteration: in the next one, both have written.
            self._writing = True
            self._scheduler().call_soon(self._written)
        else:
            self._pressed = 0

    def _written(self) -> None:
        self._writing = False
        took_s = self._clock() - self._began
        self._pressed = self._pressed + 1 if self._waiting is not None and took_s >= BUSY_S else 0
        if self._waiting is None:
            return
        if self._pressed >= self._needed:
            self._rested = True
            self._scheduler().call_later(min(took_s, self._rest_limit_s), self._flush)
        else:
            self._scheduler().call_soon(self._flush)
