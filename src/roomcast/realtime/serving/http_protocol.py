"""uvicorn's HTTP protocol with bounds: the head in size, lines and time, the body in time, the answer in its progress.

uvicorn itself waits for ever on a head that never ends (slowloris) and on a client that does not read its answer, keeps
every trailer behind a chunked body, and its parser buffers a header line of any length.

Layer: realtime. Source: uvicorn 0.54 ``HttpToolsProtocol``; RFC 6585 §5 for 431, RFC 9110 §15.5.9 for 408.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, ClassVar

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from roomcast.realtime.core.timers import Deadline, TimerWheel
from roomcast.realtime.options import ServeOptions


class BoundedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection. `bounded_http_protocol` makes the subclass that has the options.

    Attributes:
        options: The bounds.
        wheel: Where the deadlines are.
    """

    options: ClassVar[ServeOptions]
    wheel: ClassVar[TimerWheel]

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """See `HttpToolsProtocol`."""
        super().__init__(config, server_state, app_state, _loop)
        self._head_bytes = 0
        self._in_head = True
        self._begun = False
        self._ended = False
        self._bytes_since_body = 0
        self._unread_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._deadline: Deadline = self.wheel.deadline(self._late)
        self._unread_deadline: Deadline = self.wheel.deadline(self._unread)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is a stream's
        """The first head has to come in time, too."""
        super().connection_made(transport)
        self._deadline.arm(self.options.head_deadline_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is late any more."""
        self._deadline.cancel()
        self._unread_deadline.cancel()
        self._ended = True
        super().connection_lost(exc)
        if self._running is not None:
            # uvicorn tells the newest request only; one before it, pipelined, would answer into a closed transport.
            self._running.disconnected = True
            self._running.message_event.set()
            self._running = None

    def eof_received(self) -> None:
        """The client sends no more, and the transport closes behind what it has to write."""
        super().eof_received()
        self._watch_unread()

    def pause_writing(self) -> None:
        """The client reads slower than it is written to, or not at all."""
        super().pause_writing()
        self._watch_unread()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread_deadline.cancel()

    def on_response_complete(self) -> None:
        """An answer was handed to the transport."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_unread()

    def timeout_keep_alive_handler(self) -> None:
        """The connection was idle for long enough."""
        super().timeout_keep_alive_handler()
        self._watch_unread()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head that has not ended."""
        if self._ended:
            return
        was_in_head = self._in_head
        self._bytes_since_body += len(data)
        super().data_received(data)
        if not self._in_head:
            if self._bytes_since_body > self.options.head_limit_bytes and not self._ended:
                self._cut()  # chunk extensions, trailers: nobody needs so many
            return
        # A head that ends in this piece was counted line by line; what is left open is counted as it came.
        self._head_bytes += len(data) if was_in_head else 0
        if self._head_bytes > self.options.head_limit_bytes:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._in_head = self._begun = True
        self._head_bytes = 0
        if not self._deadline.armed:
            self._deadline.arm(self.options.head_deadline_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A line of the head, or a trailer: that comes too late for every check, and is dropped (RFC 9110 §6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A head has ended: check it, give the body its time, start the application."""
        self._in_head = False
        self._bytes_since_body = 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.options.head_limit_bytes or len(self.headers) > self.options.max_headers:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        self._deadline.arm(self.options.body_deadline_s)
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """Part of a body."""
        self._bytes_since_body = 0
        if not self._ended:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """A request is here in full."""
        self._bytes_since_body = 0
        self._deadline.cancel()
        if not self._ended:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """The connection becomes a websocket's, and this object garbage, without a cycle that keeps it."""
        self._deadline.cancel()
        self._unread_deadline.cancel()
        if self._ended:
            return
        if self._running is not None and not self._running.response_complete:
            self._cut()  # pipelined behind a request: the answer to that would end up between our frames
            return
        self._ended = True
        super().handle_websocket_upgrade()
        self.parser = None  # type: ignore[assignment]  # as uvicorn does when a connection is lost

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless the connection was answered already."""
        if not self._ended:
            self._ended = True
            self._deadline.cancel()
            super().send_400_response(msg)
            self._watch_unread()

    def _late(self) -> None:
        if self._in_head and self._begun:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif not self.transport.is_closing():
            self._cut()

    def _cut(self) -> None:
        self._ended = True
        self._deadline.cancel()
        self.transport.close()
        self._watch_unread()

    def _watch_unread(self) -> None:
        """See to it that what is written gets read, bit by bit: neither an answer nor a close waits for ever."""
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._unread_deadline.arm(self.options.unread_deadline_s)

    def _unread(self) -> None:
        if 0 < self.transport.get_write_buffer_size() < self._unread_bytes:
            self._watch_unread()
        else:
            self.transport.abort()

    def _refuse(self, status: HTTPStatus) -> None:
        if self._ended:
            return
        self._ended = True
        self._deadline.cancel()
        body = status.phrase.encode()
        self.transport.write(
            b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b"
            % (status, body, len(body), body)
        )
        self.transport.close()
        self._watch_unread()


def bounded_http_protocol(options: ServeOptions, wheel: TimerWheel) -> type[BoundedHttpProtocol]:
    """The protocol class with these bounds, for ``uvicorn.Config(http=…)``."""
    return type("BoundHttpProtocol", (BoundedHttpProtocol,), {"options": options, "wheel": wheel})
