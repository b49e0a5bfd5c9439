"""The fast path: WebSocket on uvicorn's pluggable protocol class.

After the handshake only frames are left to read: small whole ones, which is nearly all traffic, are unmasked here; the
first other one (control frame, fragment, large or cut in two) brings in the frame parser of ``websockets``, for the
rest of that connection. Writing is the transport's ``write`` of a buffer that all members of a room share.

Layer: realtime. Source: RFC 6455; uvicorn 0.54 ``HttpToolsProtocol.handle_websocket_upgrade``, which builds this class,
gives it the transport and replays the request head.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, ClassVar, Final, Self
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.protocols.utils import get_remote_addr, is_ssl
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN, SERVER, Protocol
from websockets.server import ServerProtocol

from roomcast.realtime.core.connection import Connection
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.nodes import SessionOnOtherNode
from roomcast.realtime.core.ports import Transport
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.core.request import EngineRequest, ServerFull
from roomcast.realtime.core.timers import Deadline
from roomcast.realtime.fanout.message import Batch, OutgoingMessage
from roomcast.realtime.transports.proxies import AddressSource
from roomcast.realtime.transports.session_lookup import find_session, is_engine_path
from roomcast.wire.engineio_http import TransportName, error_body
from roomcast.wire.engineio_refusals import RequestRefused, UpgradeRefused
from roomcast.wire.errors import Fault, RemoteError
from roomcast.wire.websocket_frames import CloseCode, packet_frame

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without its C extension
    from websockets.utils import apply_mask

# Its per-connection lines ("connection closed") would be the only thing it says.
_parser_logger = logging.getLogger("roomcast.realtime.websocket_parser")
_parser_logger.setLevel(logging.WARNING)

# A client that did nothing wrong has this long to answer our close frame before its connection is cut.
_CLOSE_TIMEOUT_S: Final = 2.0

_CLOSE_CODES: Final = {
    Reason.PARSE_ERROR: CloseCode.PROTOCOL_ERROR,
    Reason.TRANSPORT_ERROR: CloseCode.PROTOCOL_ERROR,
    Reason.CONNECT_TIMEOUT: CloseCode.POLICY_VIOLATION,
    Reason.SHUTDOWN: CloseCode.SERVICE_RESTART,
}
_POLITE: Final = frozenset({CloseCode.NORMAL, CloseCode.SERVICE_RESTART})

_TEXT: Final = 0x81  # FIN and text
_BINARY: Final = 0x82
_WHOLE: Final = frozenset({_TEXT, _BINARY})
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_MEDIUM: Final = 126


class _NoHandshake(Exception):
    """Answer with this; ``cause`` is a short constant, fit for a label."""

    def __init__(self, status: HTTPStatus, body: bytes, cause: str) -> None:
        super().__init__(cause)
        self.status = status
        self.body = body
        self.cause = cause


def _accepted(opening: ServerProtocol, opened: Request) -> Response:
    response = opening.accept(opened)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        raise _NoHandshake(HTTPStatus(response.status_code), bytes(response.body), "websocket")
    return response


class WebSocketProtocol(asyncio.Protocol):
    """One websocket, from the replayed request head to its end.

    The class is abstract in what it belongs to: `websocket_protocol` makes the subclass for one server.

    Attributes:
        engine: The server.
        proxies: Finds the client's address; on an internal address, authenticates the other node.
    """

    __slots__ = (
        "_candidate",
        "_close_deadline",
        "_closing",
        "_connection",
        "_fragments",
        "_fragments_are_text",
        "_parser",
        "_paused",
        "_server_state",
        "_transport",
    )

    engine: ClassVar[Engine]
    proxies: ClassVar[AddressSource]

    def __init__(
        self,
        config: Config,  # noqa: ARG002 - uvicorn's signature
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - likewise
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take what uvicorn gives every protocol class; only ``server_state`` is of use here."""
        self._server_state = server_state
        self._transport: asyncio.Transport
        self._connection: Connection | None = None
        self._candidate = False
        self._parser: Protocol | None = None
        self._fragments: bytearray | None = None
        self._fragments_are_text = False
        self._closing = False
        self._paused = False
        self._close_deadline: Deadline | None = None

    # -- asyncio ------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # it is a stream's
        """Take the transport over."""
        self._transport = transport
        self._server_state.connections.add(self)  # type: ignore[arg-type]  # uvicorn names its own

    def data_received(self, data: bytes) -> None:
        """Read the request head, then frames."""
        if self._closing:
            if self._parser is not None:
                self._read_with_parser(data)
            return
        if self._connection is None:
            self._handshake(data)
        elif self._parser is None:
            self._read_frames(data)
        else:
            self._read_with_parser(data)

    def eof_received(self) -> None:
        """The client sends no more: without a close frame that is the end, and the transport closes."""
        self._abort_in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone."""
        self._server_state.connections.discard(self)
        self._closing = True
        if self._close_deadline is not None:
            self._close_deadline.cancel()
        self._end(None, failed=exc is not None)

    def pause_writing(self) -> None:
        """The client does not read as fast as we write: from here on its outbox is watched."""
        self._paused = True
        if self._connection is not None and not self._candidate:
            self._connection.write = None

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._paused = False
        if self._connection is not None and not self._candidate and not self._closing:
            self._connection.write = self._transport.write

    def shutdown(self) -> None:
        """End it: uvicorn's call on every connection when a server stops."""
        if self._connection is not None and not self._candidate:
            self._connection.close(Reason.SHUTDOWN)
        else:
            self._close(CloseCode.SERVICE_RESTART)

    # -- handshake ----------------------------------------------------------------------------------------------------

    def _handshake(self, head: bytes) -> None:
        opening = ServerProtocol(logger=_parser_logger)
        opening.receive_data(head)
        address = None
        try:
            opened, request = self._read_request(opening)
            address = request.address
            connection = find_session(self.engine, request)
            response = _accepted(opening, opened)
        except SessionOnOtherNode as elsewhere:
            self._hand_over(elsewhere.node_id, request)
            return
        except RequestRefused as refused:
            self._refuse(HTTPStatus(refused.status), error_body(refused), refused.cause, address)
            return
        except ServerFull:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, b"Service Unavailable", "full", address)
            return
        except _NoHandshake as failure:
            self._refuse(failure.status, failure.body, failure.cause, address)
            return
        self._transport.write(response.serialize())
        if connection is None:
            self.engine.open(request.handshake(), self.bind)
            return
        try:
            connection.attach(self)
        except UpgradeRefused as refused:
            self.engine.observer.handshake_refused(request.address, TransportName.WEBSOCKET, refused.cause)
            self._close(CloseCode.NORMAL)
        else:
            self._candidate = True
            self._connection = connection

    def _read_request(self, opening: ServerProtocol) -> tuple[Request, EngineRequest]:
        """The handshake in both of its forms.

        Raises:
            RequestRefused: it did not come from a node, on an internal address.
            _NoHandshake: it is none, or not for Engine.IO.
        """
        opened = next((event for event in opening.events_received() if isinstance(event, Request)), None)
        if opened is None:
            raise _NoHandshake(HTTPStatus.BAD_REQUEST, b"Bad Request", "malformed")
        request = self._engine_request(opened)
        if not is_engine_path(self.engine, request.path):
            raise _NoHandshake(HTTPStatus.NOT_FOUND, b"Not Found", "path")
        return opened, request

    def _engine_request(self, request: Request) -> EngineRequest:
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
            for name, value in request.headers.raw_items()
        ]
        peer = get_remote_addr(self._transport)
        address, secure = self.proxies.client(None if peer is None else peer[0], is_ssl(self._transport), headers)
        path, _, query_string = request.path.partition("?")
        return EngineRequest(
            method=request.method,
            path=unquote(path),
            query_string=query_string,
            headers=headers,
            address=address,
            secure=secure,
            websocket=True,
            forwarded=self.proxies.forwarded,
        )

    def _hand_over(self, node_id: str, request: EngineRequest) -> None:
        """The session is another node's: so are the client's bytes from here on."""
        self._server_state.connections.discard(self)
        self._closing = True
        self._transport.pause_reading()
        # uvicorn gives this object the transport when this turn is over; only then can another one have it.
        self.engine.loop.call_soon(self._pipe, node_id, request)

    def _pipe(self, node_id: str, request: EngineRequest) -> None:
        if not self._transport.is_closing() and self.engine.forwarder is not None:
            self.engine.forwarder.pipe(node_id, request, self._transport, self._server_state)

    def _refuse(self, status: HTTPStatus, body: bytes, cause: str, address: str | None = None) -> None:
        self.engine.observer.handshake_refused(address, TransportName.WEBSOCKET, cause)
        content_type = b"application/json" if body.startswith(b"{") else b"text/plain; charset=utf-8"
        self._transport.write(
            b"HTTP/1.1 %d %b\r\nconnection: close\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (status, status.phrase.encode(), content_type, len(body), body)
        )
        self._closing = True
        self._transport.close()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _read_frames(self, data: bytes) -> None:
        """Read small whole frames; from the first other one on, leave it to the parser."""
        size = len(data)
        at = 0
        while at + 6 <= size:
            head = data[at]
            length = data[at + 1]
            if head not in _WHOLE or not length & _MASKED:
                break
            length &= _LENGTH
            start = at + 6
            if length >= _MEDIUM:
                if length > _MEDIUM or start + 2 > size:
                    break
                length = data[at + 2] << 8 | data[at + 3]
                start += 2
            end = start + length
            if end > size or length > self.engine.limits.max_payload_bytes:
                break
            self._deliver(apply_mask(data[start:end], data[start - 4 : start]), text=head == _TEXT)
            at = end
            if self._closing:
                break
        if at < size:
            if self._parser is None:
                self._parser = self._new_parser()
            self._read_with_parser(data[at:] if at else data)

    def _new_parser(self) -> Protocol:
        return Protocol(SERVER, state=OPEN, max_size=self.engine.limits.max_payload_bytes, logger=_parser_logger)

    def _read_with_parser(self, data: bytes) -> None:
        parser = self._parser
        if parser is None or parser.eof_sent:
            return
        parser.receive_data(data)
        for frame in parser.events_received():
            if isinstance(frame, Frame) and not self._closing:
                self._on_frame(frame)
        writes = b"".join(parser.data_to_send())  # pongs, the answer to a close, our own close after a fault
        if writes and not (self._paused and parser.close_sent is None):
            # To a client that pings and does not read, pongs would pile up without end.
            self._transport.write(writes)
        if parser.eof_sent:
            self._on_parser_end(parser)

    def _on_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.TEXT or frame.opcode is Opcode.BINARY:
            if frame.fin:
                self._deliver(bytes(frame.data), text=frame.opcode is Opcode.TEXT)
            else:
                self._fragments = bytearray(frame.data)
                self._fragments_are_text = frame.opcode is Opcode.TEXT
        elif frame.opcode is Opcode.CONT and self._fragments is not None:
            # One buffer however small the fragments are; the parser bounds their sum.
            self._fragments += frame.data
            if frame.fin:
                whole, self._fragments = bytes(self._fragments), None
                self._deliver(whole, text=self._fragments_are_text)

    def _deliver(self, payload: bytes, *, text: bool) -> None:
        connection = self._connection
        if connection is None:
            return
        data: str | bytes = payload
        if text:
            try:
                data = payload.decode()
            except UnicodeDecodeError:
                self._fail(CloseCode.INVALID_DATA, RemoteError(Fault.BAD_UTF8, "a text frame that is not UTF-8"))
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
        """Tell the connection, once, that this websocket is no use to it any more."""
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
        # From here on only the client's close frame is of interest, and the parser knows what that ends.
        if self._parser.state is OPEN:  # else its close frame came in the same piece, and the answer is on its way
            self._parser.send_close(code)
        self._transport.write(b"".join(self._parser.data_to_send()))
        if code not in _POLITE:
            # RFC 6455 §7.1.7: a server that fails a connection does not wait for the client.
            self._close_when_written()
            return
        self._transport.resume_reading()
        self._abort_in_time()

    def _close_when_written(self) -> None:
        """Close behind what is in the buffer; a client that does not read it does not keep the descriptor."""
        self._transport.close()
        self._abort_in_time()

    def _abort_in_time(self) -> None:
        if self._close_deadline is None:
            self._close_deadline = self.engine.wheel.deadline(self._transport.abort)
        self._close_deadline.arm(_CLOSE_TIMEOUT_S)

    # -- Transport of a connection ------------------------------------------------------------------------------------

    def direct_write(self) -> Callable[[bytes], object] | None:
        """See `Transport`."""
        return None if self._paused or self._closing else self._transport.write

    def send(self, batch: Batch) -> None:
        """See `Transport`."""
        connection = self._connection
        if self._closing or connection is None or connection.overflown:
            return
        waiting_bytes = self._transport.get_write_buffer_size() if self._paused else 0
        if waiting_bytes:
            batch = batch.non_volatile
            if not batch.messages:
                return
            waiting_bytes += len(batch.frames)
            if waiting_bytes > self.engine.options.outbox_limit_bytes:
                connection.overflow(waiting_bytes)
                return
        self._transport.write(batch.frames)

    def take_queue(self) -> list[OutgoingMessage]:
        """See `Transport`: everything is the kernel's already."""
        return []

    def release_poll(self, last: OutgoingMessage | None) -> None:
        """See `Transport`: there is no poll here."""

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
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `Transport`."""
        if not self._closing:
            self._transport.resume_reading()

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


def websocket_protocol(engine: Engine, proxies: AddressSource) -> type[WebSocketProtocol]:
    """The protocol class of one server, for ``uvicorn.Config(ws=…)``."""
    return type("BoundWebSocketProtocol", (WebSocketProtocol,), {"__slots__": (), "engine": engine, "proxies": proxies})
