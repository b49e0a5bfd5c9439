"""The fast path: WebSocket on uvicorn's pluggable protocol class.

After the handshake, small data frames, nearly all of the traffic, are parsed here. Every other frame (control frame,
fragment, large or invalid) goes to the frame parser of ``websockets``, one by one, so that reading can stop after each
frame (`limits.reading`). Output is the asyncio transport's ``write`` of a buffer that all members of a room share.

Layer: realtime.transports. Source: RFC 6455. `serving.http_protocol` creates this class at an upgrade, and calls
`WebSocketProtocol.open` with the parsed request head.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Final, Self
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from roomcast.realtime.cluster.nodes import SessionOnOtherNode
from roomcast.realtime.core.connection import Connection
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.ports import Transport
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.fanout.message import Batch, OutgoingMessage
from roomcast.realtime.limits.reading import LARGE_BYTES, TURN_BYTES, TURN_PACKETS, TURN_S, clock
from roomcast.realtime.limits.timers import Deadline
from roomcast.realtime.requests.request import RETRY_AFTER_S, EngineRequest, ServerFull
from roomcast.realtime.transports.admission import admit, initial_headers
from roomcast.realtime.transports.proxies import AddressSource, address_of
from roomcast.realtime.transports.session_lookup import engine_path, find_session
from roomcast.wire.engineio_http import PLAIN_QUERY, TransportName, error_body
from roomcast.wire.engineio_refusals import RequestRefused, UpgradeRefused
from roomcast.wire.errors import Fault, RemoteError
from roomcast.wire.websocket_frames import CloseCode, packet_frame
from roomcast.wire.websocket_handshake import HandshakeInvalid, accept, read_plain_head

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without its C extension
    from websockets.utils import apply_mask

# Without this, the parser logs a line for every connection that closes.
_parser_logger = logging.getLogger("roomcast.realtime.websocket_parser")
_parser_logger.setLevel(logging.WARNING)

# Time limit for a client to answer a close frame.
_CLOSE_TIMEOUT_S: Final = 2.0

_CLOSE_CODES: Final = {
    Reason.PARSE_ERROR: CloseCode.PROTOCOL_ERROR,
    Reason.TRANSPORT_ERROR: CloseCode.PROTOCOL_ERROR,
    Reason.CONNECT_TIMEOUT: CloseCode.POLICY_VIOLATION,
    Reason.SHUTDOWN: CloseCode.SERVICE_RESTART,
}
_AWAIT_CLOSE_FRAME: Final = frozenset({CloseCode.NORMAL, CloseCode.SERVICE_RESTART})

# Incomplete input up to this size is not counted: it takes less than the other state of a connection.
_SMALL_BYTES: Final = 4096

_TEXT: Final = 0x81  # FIN and text
_BINARY: Final = 0x82
_UNFRAGMENTED: Final = frozenset({_TEXT, _BINARY})
_MASK_BIT: Final = 0x80
_LENGTH_BITS: Final = 0x7F
_LENGTH_16: Final = 126  # a 16-bit length follows; 127: a 64-bit length
_MAX_MEDIUM: Final = 0xFFFF
# The budget of the client counts frames in groups: counting each would take a tenth of the time of a small event.
_SPEND_FRAMES: Final = 16
_MASKED_HEAD_BYTES: Final = 6  # without a length that follows


class WebSocketProtocol(asyncio.Protocol):
    """One websocket, from its handshake to its close.

    `encoded_websocket.websocket_protocol` creates the subclass of one server, with the class variables set.

    Attributes:
        engine: The server.
        proxies: Finds the client's address; on an internal address, authenticates the other node.
    """

    __slots__ = (
        "_candidate",
        "_close_deadline",
        "_closing",
        "_connection",
        "_fast_limit",
        "_fragments",
        "_fragments_are_text",
        "_frame_rest",
        "_held",
        "_holding",
        "_parser",
        "_paused",
        "_server_state",
        "_short_limit",
        "_transport",
        "_unread",
        "_unspent",
        "_waiting",
    )

    engine: ClassVar[Engine]
    proxies: ClassVar[AddressSource]

    def __init__(
        self,
        config: Config,  # noqa: ARG002 - uvicorn's signature
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - uvicorn's signature
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """The signature of uvicorn's protocol classes; only ``server_state`` is used."""
        self._server_state = server_state
        self._transport: asyncio.Transport
        self._connection: Connection | None = None
        self._candidate = False
        self._parser: Protocol | None = None
        self._fragments: bytearray | None = None
        self._fragments_are_text = False
        self._holding = False
        self._closing = False
        self._paused = False
        self._close_deadline: Deadline | None = None
        self._unread = b""
        self._frame_rest = 0  # bytes that the parser needs to complete its frame
        self._held = False  # paused by the connection
        self._unspent = 0  # frames that the budget of the client has not counted yet
        self._waiting = False  # for its next turn
        self._fast_limit = min(self.engine.limits.max_payload_bytes, _MAX_MEDIUM)
        self._short_limit = min(self._fast_limit, _LENGTH_16 - 1)

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # always a stream transport
        """Register the connection with the HTTP server."""
        self._transport = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own protocol classes

    def data_received(self, data: bytes) -> None:
        """Parse frames."""
        if self._waiting or self._held:
            self._unread += data  # a transport may deliver what it had read before the pause
        elif self._closing and self._parser is None:
            pass  # the handshake was refused
        elif self._unread:
            self._read(self._unread + data)
        elif not self._read_event(data):
            self._read(data)

    def eof_received(self) -> None:
        """The client sends no more: the transport closes."""
        self._abort_after_timeout()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport has closed."""
        self._server_state.connections.discard(self)
        self._closing = True
        self._unread = b""
        if self._close_deadline is not None:
            self._close_deadline.cancel()
        self._end(None, failed=exc is not None)

    def pause_writing(self) -> None:
        """The client reads too slowly: check the outbox limit from now on."""
        self._paused = True
        self._write_at_once(False)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        self._write_at_once(True)

    def _write_at_once(self, wanted: bool) -> None:
        """Set whether each packet is written as it is sent; otherwise those of a tick share a write."""
        if self._connection is not None and not self._candidate and not self._closing:
            self._connection.write = self._transport.write if wanted and not self._paused else None

    def shutdown(self) -> None:
        """Close the websocket; uvicorn calls this on every connection when a server stops."""
        if self._connection is not None and not self._candidate:
            self._connection.close(Reason.SHUTDOWN)
        else:
            self._close(CloseCode.SERVICE_RESTART)

    # -- handshake ----------------------------------------------------------------------------------------------------

    read_head = staticmethod(read_plain_head)

    def open(self, method: str, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Answer the handshake, after `connection_made` and before any data.

        Args:
            method: The HTTP method.
            url: The target of the request.
            headers: Names in lower case.
        """
        client: EngineRequest | None = None
        try:
            request = client = self._engine_request(method, url, headers)
            if engine_path(self.engine, request.path) is None:
                self._refuse(HTTPStatus.NOT_FOUND, b"Not Found", "path", request)
                return
            connection = find_session(self.engine, request)
            accepted = accept(method, headers)
            waiting = admit(self.engine, request) if connection is None else None
        except SessionOnOtherNode as error:
            self._forward(error.node_id, request)
            return
        except RequestRefused as refused:
            self._refuse(HTTPStatus(refused.status), error_body(refused), refused.cause, client, refused.header_value)
            return
        except ServerFull:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, b"Service Unavailable", "full", request)
            return
        except HandshakeInvalid as error:
            self._refuse(error.status, str(error).encode(), "websocket", request, headers=error.headers)
            return
        if waiting is not None:
            self._open_later(waiting, request, accepted)
        elif connection is None:
            self._open_session(request, accepted)
        else:
            self._attach(connection, request, accepted)

    def _attach(self, connection: Connection, request: EngineRequest, accepted: bytes) -> None:
        """Ask to take over a polling session."""
        self._transport.write(self._head(accepted))
        try:
            connection.attach(self)
        except UpgradeRefused as refused:
            self._observe_refusal(request, refused.cause)
            self._close(CloseCode.NORMAL)
        else:
            self._candidate = True
            self._connection = connection

    def _head(self, accepted: bytes, more: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
        if more:
            accepted += b"".join(b"%b: %b\r\n" % header for header in more)
        return b"HTTP/1.1 101 Switching Protocols\r\n%b%b\r\n" % (self._default_headers(), accepted)

    def _open_session(self, request: EngineRequest, accepted: bytes) -> None:
        head = self._head(accepted, initial_headers(self.engine, request))
        self.engine.open(request.handshake(), self.bind, head)

    def _open_later(self, waiting: Awaitable[None], request: EngineRequest, accepted: bytes) -> None:
        """Answer once ``allow_request`` has decided. Until then nothing is read, and nothing is written."""
        self._closing = self._held = True
        self._transport.pause_reading()

        async def finish() -> None:
            refusal: RequestRefused | None = None
            full = False
            try:
                await waiting
            except RequestRefused as error:
                refusal = error
            except ServerFull:
                full = True
            except asyncio.CancelledError:
                self._transport.abort()
                raise
            if self._transport.is_closing():
                return
            self._closing = False
            if refusal is not None:
                self._refuse(HTTPStatus(refusal.status), error_body(refusal), refusal.cause, request)
            elif full:
                self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, b"Service Unavailable", "full", request)
            else:
                self._open_session(request, accepted)
                self.resume_reading()

        task = self.engine.loop.create_task(finish(), name="roomcast-handshake")
        self.engine.tasks.add(task)
        task.add_done_callback(self.engine.tasks.discard)

    def _engine_request(self, method: str, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> EngineRequest:
        """The handshake as an `EngineRequest`.

        Raises:
            RequestRefused: the address is internal, and the sender is not a node.
        """
        peer = address_of(self._transport, "peername")
        view = self.proxies.client(None if peer is None else peer[0], is_ssl(self._transport), headers)
        path, _, query_string = url.decode("latin-1").partition("?")
        path = view.path(unquote(path) if "%" in path else path)
        return EngineRequest(
            method=method,
            # One string for all connections, which keep it.
            path=self.engine.options.path if path == self.engine.options.path else path,
            query_string=PLAIN_QUERY if query_string == PLAIN_QUERY else query_string,
            headers=view.headers(headers),
            address=view.address,
            secure=view.secure,
            websocket=True,
            forwarded=self.proxies.forwarded,
        )

    def _default_headers(self) -> bytes:
        return b"".join(b"%b: %b\r\n" % header for header in self._server_state.default_headers)

    def _forward(self, node_id: str, request: EngineRequest) -> None:
        """Pass the client's transport to the forwarder."""
        self._server_state.connections.discard(self)
        self._closing = True
        self._transport.pause_reading()
        # This object becomes the transport's protocol after this call, and the forwarder replaces it after that.
        self.engine.loop.call_soon(self._pipe, node_id, request)

    def _pipe(self, node_id: str, request: EngineRequest) -> None:
        if not self._transport.is_closing() and self.engine.forwarder is not None:
            self.engine.forwarder.pipe(node_id, request, self._transport, self._server_state.connections)

    def _refuse(
        self,
        status: HTTPStatus,
        body: bytes,
        cause: str,
        request: EngineRequest | None = None,
        value: str | None = None,
        headers: bytes = b"",
    ) -> None:
        self._observe_refusal(request, cause, value)
        content_type = b"application/json" if body.startswith(b"{") else b"text/plain; charset=utf-8"
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers += b"retry-after: %d\r\n" % RETRY_AFTER_S
        self._transport.write(
            b"HTTP/1.1 %d %b\r\n%b%bconnection: close\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (status, status.phrase.encode(), self._default_headers(), headers, content_type, len(body), body)
        )
        self._closing = True
        self._transport.close()

    def _observe_refusal(self, request: EngineRequest | None, cause: str, value: str | None = None) -> None:
        address, user_agent = (None, None) if request is None else (request.address, request.user_agent)
        self.engine.observer.handshake_refused(address, user_agent, TransportName.WEBSOCKET, cause, value)

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_event(self, data: bytes) -> bool:
        """Process nearly all reads, one short text frame, as `_read` does; return False, without effect, for others."""
        size = len(data)
        length = size - _MASKED_HEAD_BYTES
        if (
            not 0 < length <= self._short_limit
            or data[0] != _TEXT
            or data[1] != _MASK_BIT | length
            or self._parser is not None
        ):
            return False
        self._deliver(apply_mask(data[_MASKED_HEAD_BYTES:], data[2:_MASKED_HEAD_BYTES]), text=True)
        self._unspent += 1
        if self._unspent >= _SPEND_FRAMES or self._parser is not None:
            self._end_turn(progress=True, used_up=False)
        return True

    def _read(self, data: bytes) -> None:
        """Process the frames in ``data`` for one turn, and keep the rest for the next one."""
        size = len(data)
        at = frames = 0
        used_up = size >= TURN_BYTES
        ends = 0.0
        self._unread = b""
        while at < size and not self._held:
            if frames == 1:
                ends = ends or clock() + TURN_S  # most reads bring one frame: they need no clock
                self._write_at_once(False)  # the acknowledgements of several events share a write
            elif frames and (frames >= TURN_PACKETS or clock() >= ends):
                used_up = True
                break
            if not self._frame_rest:
                start, end = _payload_range(data, at, size)
                small = end - start <= self._fast_limit
                if not end or (small and end > size):
                    break  # a small frame is kept until it is complete
                head = data[at]
                plain = head in _UNFRAGMENTED and start - at >= _MASKED_HEAD_BYTES
                if plain and small and self._fragments is None and not self._closing:
                    self._deliver(apply_mask(data[start:end], data[start - 4 : start]), text=head == _TEXT)
                    at = end
                    frames += 1
                    continue
                self._frame_rest = end - at
            piece = data[at : at + self._frame_rest]
            at += len(piece)
            self._frame_rest -= len(piece)
            if not self._parse(piece):
                return
            frames += not self._frame_rest
        if ends:
            self._write_at_once(True)
        self._unspent += frames
        # A read with a large message is counted at once, since the time of its parsing is.
        if used_up or at < size or size >= LARGE_BYTES or self._unspent >= _SPEND_FRAMES or self._parser is not None:
            self._unread = data[at:]
            self._end_turn(progress=frames > 0, used_up=used_up)

    def _end_turn(self, *, progress: bool, used_up: bool) -> None:
        """Count the input, and stop reading until the next turn if this one or the client's budget is used up."""
        if progress and not self._frame_rest and self._fragments is None:
            self._release_unfinished()  # what is left arrived later
        if self._unread or self._frame_rest or self._fragments is not None:
            self._hold_unfinished()
        pause_s = 0.0
        if self._unspent and self._connection is not None:
            pause_s = self._connection.spend(self._unspent)
            self._unspent = 0
        if (used_up or pause_s > 0) and not self._transport.is_closing():
            self._waiting = True
            self._transport.pause_reading()
            self.engine.turns.join_after(pause_s, self._next_turn)

    def _next_turn(self) -> None:
        self._waiting = False
        if self._held or self._transport.is_closing():
            return
        self._read(self._unread)
        self._read_on()

    def _read_on(self) -> None:
        """Continue reading, unless something else has paused it."""
        if not self._waiting and not self._held and not self._transport.is_closing():
            self._transport.resume_reading()

    def _new_parser(self) -> Protocol:
        return Protocol(SERVER, state=OPEN, max_size=self.engine.limits.max_payload_bytes, logger=_parser_logger)

    def _parse(self, data: bytes) -> bool:
        """Process a frame, or a part of one, with the parser; return whether more may follow."""
        parser = self._parser
        if parser is None:
            parser = self._parser = self._new_parser()
        if parser.eof_sent:
            return False
        parser.receive_data(data)
        for frame in parser.events_received():
            if isinstance(frame, Frame) and not self._closing:
                self._on_frame(frame)
        writes = b"".join(parser.data_to_send())  # pongs and close frames
        if writes and not (self._paused and parser.close_sent is None):
            # Without this check, pongs to a client that does not read would accumulate.
            self._transport.write(writes)
        if parser.eof_sent:
            self._on_parser_end(parser)
        return not parser.eof_sent

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if frame.fin:
                self._deliver(bytes(frame.data), text=frame.opcode is Opcode.TEXT)
            else:
                self._fragments = bytearray(frame.data)
                self._fragments_are_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            # One buffer for fragments of any size; the parser limits their total.
            self._fragments += frame.data
            if frame.fin:
                whole, self._fragments = bytes(self._fragments), None
                self._deliver(whole, text=self._fragments_are_text)

    def _hold_unfinished(self) -> None:
        size_bytes = len(self._unread) + len(self._fragments or b"")
        if self._parser is not None:
            size_bytes += len(self._parser.reader.buffer)
        if size_bytes > _SMALL_BYTES and not self._closing:
            self._holding = True
            self.engine.unfinished.hold(self, size_bytes)
        else:
            self._release_unfinished()

    def _release_unfinished(self) -> None:
        if self._holding:
            self._holding = False
            self.engine.unfinished.release(self)

    @property
    def input_waits(self) -> bool:
        """See `unfinished.Sender`."""
        return self._held

    def give_up_input(self, error: RemoteError) -> None:
        """See `unfinished.Sender`."""
        self._holding = False
        self._fragments = None
        self._fail(CloseCode.POLICY_VIOLATION, error)

    def _deliver(self, payload: bytes, *, text: bool) -> None:
        if self._holding:
            self._release_unfinished()
        connection = self._connection
        if connection is None:
            return
        data: str | bytes = payload
        if text:
            try:
                data = payload.decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, RemoteError(Fault.BAD_UTF8, "text frame is not UTF-8"))
                return
        if self._candidate:
            connection.receive_candidate(data)
        else:
            connection.receive(data)

    def _on_parser_end(self, parser: Protocol) -> None:
        self._closing = True
        error = parser.parser_exc
        if error is None:
            self._end(None, failed=False)
        else:
            fault = Fault.TOO_LARGE if parser.close_sent and parser.close_sent.code == CloseCode.TOO_BIG else None
            self._end(RemoteError(fault or Fault.BAD_PAYLOAD, f"websocket: {error}"), failed=True)
        self._close_when_written()

    # -- ending -------------------------------------------------------------------------------------------------------

    def _fail(self, code: CloseCode, error: RemoteError) -> None:
        self._close(code)
        self._end(error, failed=True)

    def _end(self, error: RemoteError | None, *, failed: bool) -> None:
        """Notify the connection, once, that this websocket has ended."""
        self._release_unfinished()
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._candidate:
            connection.candidate_lost()
        elif failed:
            connection.transport_failed(error)
        else:
            connection.transport_closed()

    def _close(self, code: CloseCode) -> None:
        if self._closing:
            return
        self._closing = True
        if self._parser is None:
            self._parser = self._new_parser()
        if self._parser.state is OPEN:  # else the client's close frame was just received
            self._parser.send_close(code)
        self._transport.write(b"".join(self._parser.data_to_send()))
        if code not in _AWAIT_CLOSE_FRAME:
            # RFC 6455 §7.1.7: a server that fails a connection does not wait for the close frame.
            self._close_when_written()
            return
        self._held = False
        self._read_on()
        self._abort_after_timeout()

    def _close_when_written(self) -> None:
        """Close after the write buffer; abort if the client does not read it in time."""
        self._transport.close()
        self._abort_after_timeout()

    def _abort_after_timeout(self) -> None:
        if self._close_deadline is None:
            self._close_deadline = self.engine.wheel.deadline(self._transport.abort)
        self._close_deadline.arm(_CLOSE_TIMEOUT_S)

    # -- Transport of a connection ------------------------------------------------------------------------------------

    @property
    def backlog_bytes(self) -> int:
        """See `Transport`."""
        return self._transport.get_write_buffer_size() if self._paused else 0

    def direct_write(self) -> Callable[[bytes], object] | None:
        """See `Transport`."""
        return None if self._paused or self._closing else self._transport.write

    def send(self, batch: Batch) -> None:
        """See `Transport`."""
        connection = self._connection
        if self._closing or connection is None or connection.overflowed:
            return
        waiting_bytes = self._transport.get_write_buffer_size() if self._paused else 0
        if waiting_bytes:
            batch = batch.non_volatile
            if not batch.messages:
                return
            waiting_bytes += len(self._encode(batch))
            if waiting_bytes > self.engine.options.outbox_limit_bytes:
                connection.overflow(waiting_bytes)
                return
            connection.watch_backlog(waiting_bytes - len(self._encode(batch)), waiting_bytes)
        self._transport.write(self._encode(batch))

    def _encode(self, batch: Batch) -> bytes:
        """What is written for a batch."""
        return batch.frames

    def take_queue(self) -> list[OutgoingMessage]:
        """See `Transport`; a websocket has no queue."""
        return []

    def release_poll(self, last: OutgoingMessage | None) -> None:
        """See `Transport`; a websocket has no poll."""

    def bind(self, connection: Connection) -> Self:
        """Carry this connection; the argument of `Engine.open`."""
        self._connection = connection
        return self

    def close(self, reason: Reason) -> None:
        """See `Transport`."""
        self._connection = None
        self._close(_CLOSE_CODES.get(reason, CloseCode.NORMAL))

    def abort(self) -> None:
        """See `Transport`."""
        self._connection = None
        self._closing = True
        self._transport.abort()

    def pause_reading(self) -> None:
        """See `Transport`."""
        if not self._closing:
            self._held = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Transport`."""
        if not self._closing and self._held:
            self._held = False
            if self._unread and not self._waiting:
                self._waiting = True
                self.engine.turns.join(self._next_turn)
            self._read_on()

    # -- Candidate ----------------------------------------------------------------------------------------------------

    def send_packet(self, packet: str) -> None:
        """See `Candidate`."""
        if not self._closing:
            self._transport.write(packet_frame(packet))

    def take_over(self) -> Transport:
        """See `Candidate`."""
        self._candidate = False
        return self

    def dismiss(self) -> None:
        """See `Candidate`."""
        self._connection = None
        self._close(CloseCode.NORMAL)


def _payload_range(data: bytes, at: int, size: int) -> tuple[int, int]:
    """Where the payload of the frame at ``at`` begins and ends; the end may be beyond ``size``.

    The end is 0 if the head of the frame is incomplete. A frame without a mask is invalid: it ends after two bytes.
    """
    if at + 6 > size:
        unmasked = at + 2 <= size and not data[at + 1] & _MASK_BIT
        return (at + 2, at + 2) if unmasked else (0, 0)
    length = data[at + 1]
    if not length & _MASK_BIT:
        return at + 2, at + 2
    length &= _LENGTH_BITS
    start = at + 6
    if length >= _LENGTH_16:
        start += 2 if length == _LENGTH_16 else 8
        if start > size:
            return 0, 0
        length = int.from_bytes(data[at + 2 : start - 4], "big")
    return start, start + length
