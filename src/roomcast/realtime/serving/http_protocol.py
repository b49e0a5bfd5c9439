"""uvicorn's HTTP protocol with limits for request heads, request bodies, and clients that do not read the response.

uvicorn has no time limit for a request head (slowloris) or for a client that stops reading. It also stores all trailers
of a chunked body, buffers header lines of any length, and parses thousands of pipelined requests ahead.

Layer: realtime.serving. Source: uvicorn 0.54 ``HttpToolsProtocol``; RFC 6585 §5 for 431, RFC 9110 §15.5.9 for 408.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from roomcast.realtime.limits.reading import TURN_S, ReadTurns, clock
from roomcast.realtime.limits.timers import Deadline, TimerWheel
from roomcast.realtime.options import CUT_AT_DRAIN, ServeOptions
from roomcast.realtime.requests.request import RETRY_AFTER_S
from roomcast.realtime.serving.application_websocket import application_websocket
from roomcast.realtime.serving.descriptors import ClientConnections
from roomcast.realtime.transports.proxies import TrustedProxies, address_of
from roomcast.realtime.transports.websocket import WebSocketProtocol

_HEAD_END: Final = b"\r\n\r\n"
# A body is parsed in pieces of at least this size, which may end with the heads of some pipelined requests.
_BODY_PIECE_BYTES: Final = 1024
# Copying a larger body takes longer than a second write.
_JOINED_BYTES: Final = 65_536


class BoundedHttpProtocol(HttpToolsProtocol):
    """One HTTP connection. `bounded_http_protocol` creates a subclass that sets the attributes.

    Attributes:
        options: The limits.
        wheel: Runs the deadlines.
        others: The connections of the process.
        turns: The connections whose input waits.
        engine_paths: The paths whose websockets are those of Engine.IO; None: all are. The application receives the
            others over ASGI.
        proxies: Finds the base path.
    """

    options: ClassVar[ServeOptions]
    wheel: ClassVar[TimerWheel]
    others: ClassVar[ClientConnections]
    turns: ClassVar[ReadTurns]
    engine_paths: ClassVar[Collection[str] | None]
    proxies: ClassVar[TrustedProxies]

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
        self._has_request = False
        self._ended = False
        self._in_body = False
        self._bytes_since_body = 0
        self._waiting_input = b""
        self._waits_for_turn = False
        self._unread_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._joined: _JoinedWrites | None = None
        self._cut_at_drain = False
        self._deadline: Deadline = self.wheel.deadline(self._on_deadline)
        self._unread_deadline: Deadline = self.wheel.deadline(self._on_unread_deadline)

    def connection_made(self, transport: asyncio.Transport, waited_s: float = 0.0) -> None:  # type: ignore[override]  # always a stream transport
        """Start the deadline of the first request head, which has been waited for since ``waited_s`` seconds."""
        # Not `super`, because of `address_of`.
        self.connections.add(self)
        self.transport = transport
        self.flow = FlowControl(transport)
        path = transport.get_extra_info("sockname")
        self.server = (path, None) if isinstance(path, str) else address_of(transport, "sockname")
        self.client = address_of(transport, "peername")
        self.scheme = "https" if is_ssl(transport) else "http"
        self.others.stalled(self)
        self._deadline.arm(self.options.head_deadline_s - waited_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self.others.busy(self)
        self._deadline.cancel()
        self._unread_deadline.cancel()
        self._ended = True
        super().connection_lost(exc)
        if self._running is not None:
            # uvicorn notifies only the newest request; an earlier pipelined one would write to a closed transport.
            self._running.disconnected = True
            self._running.message_event.set()
            self._running = None

    def eof_received(self) -> None:
        """The client has finished sending; the transport closes once its write buffer is flushed."""
        super().eof_received()
        self._watch_unread()

    def pause_writing(self) -> None:
        """The client reads too slowly, or not at all."""
        super().pause_writing()
        self.others.stalled(self)
        self._watch_unread()

    def resume_writing(self) -> None:
        """The client has caught up."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._unread_deadline.cancel()
            self._set_progress()

    def on_response_complete(self) -> None:
        """A response was written to the transport."""
        self._cut_at_drain = False
        if self._joined is not None:
            self._joined.flush()
        super().on_response_complete()
        self._set_progress()
        if self.transport.is_closing():
            self._watch_unread()
        elif self._waiting_input:
            self._wait_for_turn()

    def shutdown(self) -> None:
        """The process drains: close the connection after its response, or now if the response has no end of its own."""
        super().shutdown()
        if self._cut_at_drain and not self.transport.is_closing():
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """The connection was idle for ``keep_alive_s``."""
        super().timeout_keep_alive_handler()
        self._watch_unread()

    def data_received(self, data: bytes) -> None:
        """Parse the data up to the first pipelined request, for one turn; keep the rest."""
        data = self._waiting_input + data
        self._waiting_input = b""
        ends = clock() + TURN_S
        at = 0
        while at < len(data) and not self._ended:
            if self._waits_for_turn or self.pipeline or (at and clock() >= ends):
                self._waiting_input = data[at:]
                self._wait_for_turn()
                return
            found = data.find(_HEAD_END, at + (_BODY_PIECE_BYTES if self._in_body else 0))
            end = len(data) if found < 0 else found + len(_HEAD_END)
            self._parse(data[at:end])
            at = end

    def _wait_for_turn(self) -> None:
        self.flow.pause_reading()
        if not self._waits_for_turn and not self.pipeline:  # else the end of the response before is waited for
            self._waits_for_turn = True
            self.turns.join(self._next_turn)

    def _next_turn(self) -> None:
        self._waits_for_turn = False
        if self._ended:
            return
        self.data_received(b"")
        cycle: RequestResponseCycle | None = self.cycle  # None: only empty lines have arrived
        body_waits = cycle is not None and not cycle.response_complete and len(cycle.body) > HIGH_WATER_LIMIT
        if not self._waiting_input and not self.pipeline and not body_waits:
            self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
        """Parse the data, and limit the size of an unfinished head, of chunk extensions and of trailers."""
        was_in_head = self._in_head
        self._bytes_since_body += len(data)
        super().data_received(data)
        if not self._in_head:
            if self._bytes_since_body > self.options.head_limit_bytes and not self._ended:
                self._close()  # chunk extensions and trailers have the same limit as a head
            return
        # on_headers_complete has measured a head that ends in this data; an unfinished head is measured here.
        self._head_bytes += len(data) if was_in_head else 0
        if self._head_bytes > self.options.head_limit_bytes:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """Start the deadline of a request head."""
        super().on_message_begin()
        self.others.stalled(self)
        self._in_head = self._has_request = True
        self._head_bytes = 0
        if not self._deadline.armed:
            self._deadline.arm(self.options.head_deadline_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header line; drop trailers, which arrive after all checks (RFC 9110 §6.5.1)."""
        if self._in_head:
            super().on_header(name, value.rstrip(b" \t"))  # llhttp removes whitespace before the value alone

    def on_headers_complete(self) -> None:
        """Check the head, start the deadline of the body, start the application."""
        self._in_head = False
        self._in_body = True
        self._bytes_since_body = 0
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self.options.head_limit_bytes or len(self.headers) > self.options.max_headers:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        self._deadline.arm(self.options.body_deadline_s)
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        self._joined = _JoinedWrites(self.transport, self.loop)
        cycle.transport = self._joined  # type: ignore[assignment]  # has what a cycle uses
        cycle.scope["extensions"] = {CUT_AT_DRAIN: {"mark": self._mark_endless}}
        super()._start_asgi_task(cycle, app)

    def _mark_endless(self) -> None:
        """See `CUT_AT_DRAIN`."""
        self._cut_at_drain = True

    def on_body(self, body: bytes) -> None:
        """Pass on a part of the body."""
        self._bytes_since_body = 0
        if not self._ended:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete: cancel its deadline."""
        self._in_body = False
        self._bytes_since_body = 0
        self._deadline.cancel()
        if not self._ended:
            super().on_message_complete()
            self._set_progress()

    def _set_progress(self) -> None:
        if self._running is None or self._running.response_complete:
            self.others.idle(self)
        else:
            self.others.busy(self)

    def evict(self) -> None:
        """See `descriptors.Evictable`."""
        self._ended = True
        self.transport.abort()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to the websocket protocol, and break the reference cycle with the parser."""
        self._deadline.cancel()
        self._unread_deadline.cancel()
        if self._ended:
            return
        if self._running is not None and not self._running.response_complete:
            self._close()  # pipelined: the response to the earlier request would be written between websocket frames
            return
        if not self.others.allows_websocket():
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._ended = True
        self.others.busy(self)
        if self.engine_paths is not None and (
            requested_path(self.proxies, self.client, self.url, self.headers, secure=self.scheme == "https")
            not in self.engine_paths
        ):
            self.ws_protocol_class = application_websocket(self.wheel, self.options.unread_deadline_s)
        protocol_class = self.ws_protocol_class
        if isinstance(protocol_class, type) and issubclass(protocol_class, WebSocketProtocol):
            self._open_engine_websocket(protocol_class)
        else:
            super().handle_websocket_upgrade()  # replays the request head
        self.parser = None  # type: ignore[assignment]  # as in uvicorn's connection_lost

    def _open_engine_websocket(self, protocol_class: type[WebSocketProtocol]) -> None:
        """Do what uvicorn does at an upgrade, with the parsed head instead of its bytes."""
        self.connections.discard(self)
        protocol = protocol_class(self.config, self.server_state, self.app_state)
        protocol.connection_made(self.transport)
        protocol.open(self.scope["method"], self.url, self.headers)
        self.transport.set_protocol(protocol)

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP, unless the connection is already closing."""
        if not self._ended:
            self._ended = True
            self._deadline.cancel()
            super().send_400_response(msg)
            self._watch_unread()

    def _on_deadline(self) -> None:
        if self._in_head and self._has_request:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif not self.transport.is_closing():
            self._close()

    def _close(self) -> None:
        self._ended = True
        self._deadline.cancel()
        self.transport.close()
        self._watch_unread()

    def _watch_unread(self) -> None:
        """Abort the connection unless the client reads some of the written data before the deadline."""
        self.others.stalled(self)
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._unread_deadline.arm(self.options.unread_deadline_s)

    def _on_unread_deadline(self) -> None:
        if 0 < self.transport.get_write_buffer_size() < self._unread_bytes:
            self._watch_unread()
        else:
            self.transport.abort()

    def refuse(self, status: HTTPStatus) -> None:
        """Answer with an error and close the connection, unless it is already closing."""
        if self._ended:
            return
        self._ended = True
        self._deadline.cancel()
        body = status.phrase.encode()
        headers = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers += b"retry-after: %d\r\n" % RETRY_AFTER_S
        self.transport.write(
            b"HTTP/1.1 %d %b\r\n%bconnection: close\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n\r\n%b"
            % (status, body, headers, len(body), body)
        )
        self.transport.close()
        self._watch_unread()


def requested_path(
    proxies: TrustedProxies,
    peer: tuple[str, int] | None,
    url: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    secure: bool,
) -> str:
    """The path of a request, percent-decoded and without the base path; see `TrustedProxies.client`."""
    path = url.partition(b"?")[0].decode("latin-1")
    view = proxies.client(None if peer is None else peer[0], secure, headers)
    return view.path(unquote(path) if "%" in path else path)


class _JoinedWrites:
    """The transport of one response: its first write, the head, waits for the second until the end of the loop's turn.

    Each write costs a system call and wakes the client.
    """

    __slots__ = ("_head", "_loop", "_transport", "is_closing")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if self._head is None:
            self._head = data
            self._loop.call_soon(self.flush)
        elif len(data) > _JOINED_BYTES:
            self.flush()
            self._transport.write(data)
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def flush(self) -> None:
        if self._head and not self.is_closing():
            self._transport.write(self._head)
            self._head = b""


def bounded_http_protocol(
    options: ServeOptions,
    wheel: TimerWheel,
    others: ClientConnections | None = None,
    engine_paths: Collection[str] | None = None,
    proxies: TrustedProxies | None = None,
) -> type[BoundedHttpProtocol]:
    """Return the protocol class with these limits, for ``uvicorn.Config(http=…)``.

    Args:
        options: The limits of one connection.
        wheel: Runs the deadlines.
        others: The connections of the process; None: their number is not limited.
        engine_paths: See `BoundedHttpProtocol`.
        proxies: The trusted proxies; None: none, and no base path.
    """
    attributes = {
        "options": options,
        "wheel": wheel,
        "others": others or ClientConnections(None),
        "turns": ReadTurns(),
        "engine_paths": engine_paths,
        "proxies": proxies or TrustedProxies(()),
    }
    return type("BoundHttpProtocol", (BoundedHttpProtocol,), attributes)
