"""Turns of reading: no connection keeps the event loop from the others, however fast its client sends.

A connection processes input for one turn: at most `TURN_PACKETS` packets or `TURN_S`. What is left waits in `ReadTurns`
behind the other connections, and the transport reads no more until then. All waiting connections together get
`TURNS_S` of one loop iteration, so that a hundred such clients delay the others no longer than one does.

Layer: realtime.limits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final

logger = logging.getLogger(__name__)

#: One turn of one connection. A common event takes 20 µs.
TURN_S: Final = 0.0005
TURN_PACKETS: Final = 32
#: A read of this size ends the turn as well: uvloop reads a socket up to 32 times in a row, 256 KB each.
TURN_BYTES: Final = 64 * 1024
#: A message of this size may take long enough to delay other clients: its time counts, not only its number.
LARGE_BYTES: Final = 16 * 1024
#: All turns of one loop iteration.
TURNS_S: Final = 0.001

#: Monotonic seconds; the clock of an event loop may stand still during an iteration.
clock = time.perf_counter


class ReadTurns:
    """The connections of one server that wait for their next turn."""

    __slots__ = ("_clock", "_scheduled", "_waiting")

    def __init__(self, clock: Callable[[], float] = clock) -> None:
        self._clock = clock
        self._waiting: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def join(self, turn: Callable[[], None]) -> None:
        """Call ``turn`` in a later loop iteration, after the connections that wait already."""
        self._waiting.append(turn)
        self._schedule()

    def join_after(self, delay_s: float, turn: Callable[[], None]) -> None:
        """Join in ``delay_s`` seconds; at once if that is not positive."""
        if delay_s > 0:
            asyncio.get_running_loop().call_later(delay_s, self.join, turn)
        else:
            self.join(turn)

    async def wait(self, delay_s: float) -> None:
        """Wait for the next turn, and before that ``delay_s`` seconds."""
        turn = asyncio.get_running_loop().create_future()
        self.join_after(delay_s, lambda: None if turn.done() else turn.set_result(None))
        await turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        ends = self._clock() + TURNS_S
        for _ in range(len(self._waiting)):  # one turn each
            try:
                self._waiting.popleft()()
            except Exception:
                logger.exception("reading from a connection failed")
            if self._clock() >= ends:
                break
        if self._waiting:
            self._schedule()


class TaskTurn:
    """The turns of one connection that a task reads."""

    __slots__ = ("_left", "_turns")

    def __init__(self, turns: ReadTurns) -> None:
        self._turns = turns
        self._left = TURN_PACKETS

    async def end_packet(self, pause_s: float, began: float) -> None:
        """A packet was processed: wait if the turn or the budget of the client is used up.

        Args:
            pause_s: The return value of `Connection.spend`.
            began: Reading of `clock` before the packet.
        """
        self._left -= 1 + int((clock() - began) / TURN_S * TURN_PACKETS)
        if self._left <= 0 or pause_s > 0:
            self._left = TURN_PACKETS
            await self._turns.wait(pause_s)
