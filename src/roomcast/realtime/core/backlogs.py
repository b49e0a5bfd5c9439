"""Connections whose client has much left to read, and the emits that wait for them.

``outbox_limit_bytes`` closes the connection of a client that does not read. A handler that emits in a loop reaches it
with any client, since neither the client nor, on most transports, the server has had time to move the bytes. So an
awaited emit waits while a recipient that reads has half of the limit left to read. It does not wait for a client that
has read nothing for `STALLED_S`, or that has taken `PATIENCE_S` without making room: such a client delays the emits to
others once, and the limit then closes its connection. After `LOST_LIMIT_S` that emits have lost to such clients, they
wait a twentieth as long, so that many of them do not hold up the others. Methods that do not wait (`Socket.emit`,
`Server.broadcast`) get no such help.

Nothing is measured for a connection that has less than a quarter of the limit to read.

Layer: realtime.core.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from roomcast.realtime.core.socket import SocketConnection

#: How long a client may read nothing before emits no longer wait for it: above the round trips of distant clients.
STALLED_S: Final = 1.0
#: How long emits wait for one client to read down to a quarter of the limit.
PATIENCE_S: Final = 5.0
#: Time that emits may lose to clients that do not make room; it is forgotten at a twentieth of the passing time.
LOST_LIMIT_S: Final = 5.0
_TWENTIETH: Final = 0.05
#: Between two measurements: while an emit waits, and while none does.
_STEP_S: Final = 0.001
_REST_S: Final = 0.05
# A longer iteration of the event loop counts as this: during it the client could not be served.
_MAX_STEP_S: Final = 0.1


class _Reading:
    """How one client reads."""

    __slots__ = ("crowded", "idle_s", "waited_s", "waiting_bytes")

    def __init__(self, waiting_bytes: int) -> None:
        self.waiting_bytes = waiting_bytes
        self.idle_s = 0.0  # since it has last read something
        self.crowded = False  # emits have found half of the limit, and it has not made room since
        self.waited_s = 0.0  # while it was crowded and an emit waited

    def worth_waiting(self, patience: float) -> bool:
        return self.idle_s < patience * STALLED_S and self.waited_s < patience * PATIENCE_S


class Backlogs:
    """The connections of one server with a long write backlog.

    Args:
        loop: Returns the event loop.
        limit_bytes: ``outbox_limit_bytes``.

    Attributes:
        watched: The connections that have had more than `watch_bytes` to read when something was sent to them.
        watch_bytes: A quarter of the limit.
    """

    __slots__ = (
        "_began",
        "_changed",
        "_crowded_bytes",
        "_loop",
        "_lost_s",
        "_lost_until",
        "_timer",
        "_waiting",
        "watch_bytes",
        "watched",
    )

    def __init__(self, loop: Callable[[], asyncio.AbstractEventLoop], limit_bytes: int) -> None:
        self.watched: dict[SocketConnection, _Reading] = {}
        self.watch_bytes = limit_bytes // 4
        self._crowded_bytes = limit_bytes // 2
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._began = 0.0
        self._changed: asyncio.Future[None] | None = None
        self._waiting = 0
        self._lost_s = self._lost_until = 0.0  # the time lost, and when it was last reduced

    def watch(self, connection: SocketConnection, before_bytes: int, after_bytes: int) -> None:
        """Something was sent to a connection that has more than `watch_bytes` to read.

        Args:
            connection: The connection.
            before_bytes: What it had to read before.
            after_bytes: What it has to read now.
        """
        reading = self.watched.get(connection)
        if reading is None:
            self.watched[connection] = _Reading(after_bytes)
            return
        if before_bytes < reading.waiting_bytes:
            reading.idle_s = 0.0
        reading.waiting_bytes = after_bytes

    def forget(self, connection: SocketConnection) -> None:
        """A connection has closed."""
        if self.watched.pop(connection, None) is not None:
            self._wake()

    def stop(self) -> None:
        """Forget all connections, and let the emits go on."""
        self.watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    async def wait(self, concerns: Callable[[SocketConnection], bool]) -> None:
        """Wait until no connection that an emit concerns is crowded, except those that do not read.

        Args:
            concerns: Whether the emit concerns a connection.
        """
        while self._finds_crowded(concerns):
            if self._changed is None:
                self._changed = self._loop().create_future()
                self._measure_in(_STEP_S)
            self._waiting += 1
            try:
                await asyncio.wait({self._changed})
            finally:
                self._waiting -= 1
        if self._timer is None and self.watched:
            self._measure_in(_REST_S)

    def _finds_crowded(self, concerns: Callable[[SocketConnection], bool]) -> bool:
        found = False
        patience = self._patience()
        for connection, reading in self.watched.items():
            if concerns(connection):
                reading.crowded = reading.crowded or connection.backlog_bytes > self._crowded_bytes
                found = found or (reading.crowded and reading.worth_waiting(patience))
        return found

    def _patience(self) -> float:
        """What part of the time limits applies now."""
        now = self._loop().time()
        self._lost_s = max(0.0, self._lost_s - _TWENTIETH * (now - self._lost_until))
        self._lost_until = now
        return 1.0 if self._lost_s < LOST_LIMIT_S else _TWENTIETH

    def _measure_in(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = self._loop()
        self._began = loop.time()
        self._timer = loop.call_later(delay_s, self._measure)

    def _measure(self) -> None:
        self._timer = None
        step_s = min(self._loop().time() - self._began, _MAX_STEP_S)
        changed, lost_s = False, 0.0
        patience = self._patience()
        for connection, reading in list(self.watched.items()):
            waiting_bytes = connection.backlog_bytes
            if waiting_bytes <= self.watch_bytes:
                del self.watched[connection]
                changed = True
                continue
            was_worth_waiting = reading.worth_waiting(patience)
            reading.idle_s = 0.0 if waiting_bytes < reading.waiting_bytes else reading.idle_s + step_s
            reading.waiting_bytes = waiting_bytes
            if self._waiting and reading.crowded:
                reading.waited_s += step_s
            if was_worth_waiting and not reading.worth_waiting(patience):
                lost_s = max(lost_s, reading.waited_s)
                changed = True
        self._lost_s += lost_s
        if changed:
            self._wake()
        if self.watched:
            self._measure_in(_STEP_S if self._waiting else _REST_S)

    def _wake(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)
