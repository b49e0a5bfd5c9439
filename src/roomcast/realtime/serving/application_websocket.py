"""The websockets of an application behind Engine.IO: uvicorn's, cut if their client does not read.

uvicorn answers every ping and waits for its write buffer without a limit, so that a client could fill the memory, and
keep a connection that was closed.

Layer: realtime.serving. Source: uvicorn 0.54 ``WebSocketsSansIOProtocol``; RFC 6455 §5.5.3 (pongs may be left out).
"""

from __future__ import annotations

from typing import ClassVar

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from roomcast.realtime.limits.timers import Deadline, TimerWheel


class ApplicationWebSocket(WebSocketsSansIOProtocol):
    """One websocket. `application_websocket` makes the class for one serving process.

    Attributes:
        wheel: Runs the deadlines.
        unread_deadline_s: See `ServeOptions`.
    """

    wheel: ClassVar[TimerWheel]
    unread_deadline_s: ClassVar[float]

    _app_ended = False
    _unread: Deadline | None = None

    def pause_writing(self) -> None:
        """The client reads more slowly than the server writes."""
        super().pause_writing()
        self._abort_later()

    def resume_writing(self) -> None:
        """The client has read enough."""
        super().resume_writing()
        if self._unread is not None and not self._app_ended:
            self._unread.cancel()

    def handle_ping(self) -> None:
        """Answer a ping, unless the client has not read the earlier answers."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    async def run_asgi(self) -> None:
        """Run the application; then the client has the same time to read what was written."""
        await super().run_asgi()
        self._app_ended = True
        if not self.disconnected:
            self._abort_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)

    def _abort_later(self) -> None:
        self._unread = self._unread or self.wheel.deadline(self.transport.abort)
        self._unread.arm(self.unread_deadline_s)


def application_websocket(wheel: TimerWheel, unread_deadline_s: float) -> type[ApplicationWebSocket]:
    """Return the protocol class with this limit."""
    attributes = {"wheel": wheel, "unread_deadline_s": unread_deadline_s}
    return type("BoundApplicationWebSocket", (ApplicationWebSocket,), attributes)
