"""WebSocket over plain ASGI, for ASGI servers other than `roomcast.realtime.serve`; slower than the `websocket` module.

ASGI's ``send`` must be awaited, so each websocket has a queue and a writer task.

Layer: realtime.transports. Source: ASGI 3, "WebSocket".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Self

from roomcast.realtime.cluster.nodes import SessionOnOtherNode
from roomcast.realtime.core.connection import Connection
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.ports import Transport
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.fanout.message import Batch, OutgoingMessage
from roomcast.realtime.limits.reading import TaskTurn, clock
from roomcast.realtime.requests.request import EngineRequest, ServerFull
from roomcast.realtime.transports.admission import admit, initial_headers
from roomcast.realtime.transports.proxies import Receive, Send
from roomcast.realtime.transports.session_lookup import find_session
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import RequestRefused, UpgradeRefused
from roomcast.wire.errors import Fault, RemoteError
from roomcast.wire.websocket_frames import CloseCode

_CLOSE: Final = {"type": "websocket.close", "code": int(CloseCode.NORMAL)}


async def serve_websocket(engine: Engine, request: EngineRequest, receive: Receive, send: Send) -> None:
    """Serve one websocket until it closes."""
    await receive()  # websocket.connect
    try:
        connection = find_session(engine, request)
        if connection is None:
            waiting = admit(engine, request)
            if waiting is not None:
                await waiting
    except (RequestRefused, ServerFull, SessionOnOtherNode) as refused:
        # Only `serve` can forward a websocket to another node. Here the client keeps polling, and polls are forwarded.
        cause, value = type(refused).__name__.lower(), None
        if isinstance(refused, RequestRefused):
            cause, value = refused.cause, refused.header_value
        engine.observer.handshake_refused(request.address, request.user_agent, TransportName.WEBSOCKET, cause, value)
        await send(_CLOSE)
        return
    headers = initial_headers(engine, request) if connection is None else []
    await send({"type": "websocket.accept", "headers": headers})
    socket = AsgiWebSocket(engine)
    if connection is None:
        engine.open(request.handshake(), socket.bind)
    else:
        try:
            connection.attach(socket)
        except UpgradeRefused as refused:
            engine.observer.handshake_refused(
                request.address, request.user_agent, TransportName.WEBSOCKET, refused.cause
            )
            await send(_CLOSE)
            return
        socket.become_candidate(connection)
    await socket.run(receive, send)


class AsgiWebSocket:
    """One accepted websocket: the transport of a connection, or a candidate for an upgrade."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._candidate = False
        self._queue: deque[str | bytes] = deque()
        self._queue_bytes = 0
        self._closing = False
        self._wake = asyncio.Event()
        self._readable = asyncio.Event()
        self._readable.set()
        self._ended = asyncio.Event()

    def become_candidate(self, connection: Connection) -> None:
        """Start as a candidate for this connection."""
        self._candidate = True
        self._connection = connection

    async def run(self, receive: Receive, send: Send) -> None:
        """Read and write until the websocket closes."""
        writer = asyncio.ensure_future(self._write(send))
        reader = asyncio.ensure_future(self._read(receive))
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({writer, reader, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (writer, reader, ended):
                task.cancel()
            await asyncio.gather(writer, reader, ended, return_exceptions=True)
            self._end(None, failed=False)

    async def _read(self, receive: Receive) -> None:
        limit = self._engine.limits.max_payload_bytes
        turn = TaskTurn(self._engine.turns)
        while True:
            await self._readable.wait()
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            data: str | bytes | None = event.get("text")
            if data is None:
                data = event["bytes"]
            if data is None or self._connection is None:
                continue
            size = len(data.encode()) if isinstance(data, str) else len(data)
            if size > limit:
                self._end(RemoteError(Fault.TOO_LARGE, f"{size} bytes; the limit is {limit}"), failed=True)
                return
            connection = self._connection
            began = clock()
            if self._candidate:
                connection.receive_candidate(data)
            else:
                connection.receive(data)
            # The ASGI server's ``receive`` does not wait while it has messages.
            await turn.end_packet(connection.spend(1), began)

    async def _write(self, send: Send) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                data = self._queue[0]
                kind = "text" if isinstance(data, str) else "bytes"
                await send({"type": "websocket.send", kind: data})
                # Counted until ``send`` returns: it waits while the write buffer of the ASGI server is full.
                self._queue.popleft()
                self._queue_bytes -= len(data)
            if self._closing:
                await send(_CLOSE)
                return

    def _end(self, error: RemoteError | None, *, failed: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._candidate:
            connection.candidate_lost()
        elif failed:
            connection.transport_failed(error)
        else:
            connection.transport_closed()

    def _enqueue(self, data: str | bytes) -> None:
        self._queue.append(data)
        self._queue_bytes += len(data)
        self._wake.set()

    # -- Transport of a connection ------------------------------------------------------------------------------------

    def bind(self, connection: Connection) -> Self:
        """Become the transport of this connection; passed to `Engine.open` as a callback."""
        self._connection = connection
        return self

    @property
    def backlog_bytes(self) -> int:
        """See `Transport`."""
        return self._queue_bytes

    def direct_write(self) -> Callable[[bytes], object] | None:
        """See `Transport`; always None, since the ASGI server builds the frames."""
        return None

    def send(self, batch: Batch) -> None:
        """See `Transport`."""
        connection = self._connection
        if connection is None or connection.overflowed or self._closing:
            return
        if self._queue:
            batch = batch.non_volatile
            if not batch.messages:
                return
        size_bytes = sum(message.size_bytes for message in batch.messages)
        alone = not self._queue and len(batch.messages) == 1
        if not alone and self._queue_bytes + size_bytes > self._engine.options.outbox_limit_bytes:
            connection.overflow(self._queue_bytes + size_bytes)
            return
        before_bytes = self._queue_bytes
        packed = self._engine.options.parser == "msgpack"
        for plain in batch.messages:
            message = plain.packed if packed else plain
            if message.text:
                self._enqueue(message.text.decode())
            for attachment in message.attachments:
                self._enqueue(attachment)
        connection.watch_backlog(before_bytes, self._queue_bytes)

    def take_queue(self) -> list[OutgoingMessage]:
        """See `Transport`; always empty, since a websocket is never upgraded."""
        return []

    def release_poll(self, last: OutgoingMessage | None) -> None:
        """See `Transport`; a websocket has no poll."""

    def close(self, reason: Reason) -> None:  # noqa: ARG002 - the port's signature
        """See `Transport`."""
        self.dismiss()

    def abort(self) -> None:
        """See `Transport`."""
        self._connection = None
        self._closing = True
        self._ended.set()

    def pause_reading(self) -> None:
        """See `Transport`."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """See `Transport`."""
        self._readable.set()

    # -- Candidate ----------------------------------------------------------------------------------------------------

    def send_packet(self, packet: str) -> None:
        """See `Candidate`."""
        self._enqueue(packet)

    def take_over(self) -> Transport:
        """See `Candidate`."""
        self._candidate = False
        return self

    def dismiss(self) -> None:
        """See `Candidate`."""
        self._connection = None
        self._closing = True
        self._wake.set()
