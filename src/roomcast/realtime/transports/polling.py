"""HTTP long-polling: the queue between two polls, and the GET, POST and OPTIONS requests of a session.

Layer: realtime.transports. Source: Engine.IO protocol v4, "HTTP long-polling"; engine.io 6 ``transports/polling.ts``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Self

from roomcast.realtime.cluster.nodes import ForwardedAnswer, NotForwarded, SessionOnOtherNode
from roomcast.realtime.core.connection import Connection
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.fanout.message import NOOP, Batch, OutgoingMessage
from roomcast.realtime.limits.reading import TaskTurn, clock
from roomcast.realtime.limits.unfinished import UnfinishedInput
from roomcast.realtime.requests.request import RETRY_AFTER_S, EngineRequest, ServerFull
from roomcast.realtime.transports.admission import admit, initial_headers
from roomcast.realtime.transports.compression import compress, encoding_for
from roomcast.realtime.transports.proxies import Receive, Send
from roomcast.realtime.transports.session_lookup import find_session
from roomcast.wire.engineio import SEPARATOR
from roomcast.wire.engineio_http import TransportName, error_body
from roomcast.wire.engineio_refusals import RequestRefused
from roomcast.wire.errors import RemoteError

_SEPARATOR: Final = SEPARATOR.encode()
# python-engineio's client rejects larger payloads (``Payload.max_decode_packets``); the next poll returns the rest.
_MAX_POLL_PACKETS: Final = 16

Header = tuple[bytes, bytes]

_TEXT: Final[Header] = (b"content-type", b"text/plain; charset=UTF-8")
_JSON: Final[Header] = (b"content-type", b"application/json")


class PollingTransport:
    """The messages that wait for the next poll, limited by ``outbox_limit_bytes``."""

    __slots__ = ("_connection", "_paused", "_poll", "_queue", "_queue_bytes")

    def __init__(self) -> None:
        self._connection: Connection
        self._queue: list[OutgoingMessage] = []
        self._queue_bytes = 0
        self._poll: asyncio.Future[bytes] | None = None
        self._paused: asyncio.Event | None = None

    # -- Transport of a connection ------------------------------------------------------------------------------------

    def bind(self, connection: Connection) -> Self:
        """Carry this connection; the argument of `Engine.open`."""
        self._connection = connection
        return self

    @property
    def backlog_bytes(self) -> int:
        """See `Transport`."""
        return self._queue_bytes

    def direct_write(self) -> Callable[[bytes], object] | None:
        """See `Transport`; polling has no frames."""
        return None

    def send(self, batch: Batch) -> None:
        """See `Transport`."""
        connection = self._connection
        if connection.overflowed:
            return
        if self._queue:
            batch = batch.non_volatile
            if not batch.messages:
                return
        size_bytes = sum(message.size_bytes for message in batch.messages)
        alone = not self._queue and len(batch.messages) == 1
        if not alone and self._queue_bytes + size_bytes > connection.options.outbox_limit_bytes:
            connection.overflow(self._queue_bytes + size_bytes)
            return
        self._queue += batch.messages
        connection.watch_backlog(self._queue_bytes, self._queue_bytes + size_bytes)
        self._queue_bytes += size_bytes
        if self._poll is not None and self._queue:
            self._answer(self._next())

    def take_queue(self) -> list[OutgoingMessage]:
        """See `Transport`."""
        queue, self._queue, self._queue_bytes = self._queue, [], 0
        return queue

    def release_poll(self, last: OutgoingMessage | None) -> None:
        """See `Transport`."""
        if last is not None:
            self._queue.append(last)
        elif self._poll is not None and not self._queue:
            self._queue.append(NOOP)
        if self._poll is not None:
            # No poll follows a close packet.
            self._answer(self._next() if last is None else self.take_queue())

    def close(self, reason: Reason) -> None:  # noqa: ARG002 - the port's signature
        """See `Transport`; the session has answered the poll."""
        self.abort()

    def abort(self) -> None:
        """See `Transport`."""
        self._queue.clear()
        self._queue_bytes = 0
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        self.resume_reading()

    def pause_reading(self) -> None:
        """See `Transport`. The pending POST is answered later; a client sends one at a time."""
        if self._paused is None:
            self._paused = asyncio.Event()

    def resume_reading(self) -> None:
        """See `Transport`."""
        if self._paused is not None:
            self._paused.set()
            self._paused = None

    # -- for `Polling` ------------------------------------------------------------------------------------------------

    async def readable(self) -> None:
        """Wait until reading is not paused."""
        while self._paused is not None:
            await self._paused.wait()

    def poll(self) -> asyncio.Future[bytes]:
        """The response body of the poll that the session has just accepted."""
        poll = self._poll = asyncio.get_running_loop().create_future()
        if self._queue:
            self._answer(self._next())
        return poll

    def drop_poll(self) -> None:
        """Forget the pending poll: its client has disconnected."""
        self._poll = None

    def _next(self) -> list[OutgoingMessage]:
        """Remove and return the messages of one response: whole messages, at least one."""
        packets = 0
        for index, message in enumerate(self._queue):
            packets += 1 + len(message.attachments)
            if packets > _MAX_POLL_PACKETS and index:
                taken, self._queue = self._queue[:index], self._queue[index:]
                self._queue_bytes -= sum(message.size_bytes for message in taken)
                return taken
        return self.take_queue()

    def _answer(self, messages: list[OutgoingMessage]) -> None:
        poll, self._poll = self._poll, None
        self._connection.session.poll_answered()
        if poll is not None and not poll.done():
            if self._connection.options.parser == "msgpack":
                messages = [message.packed for message in messages]
            poll.set_result(_SEPARATOR.join([message.payload for message in messages]))


class Polling:
    """Answers the polling requests of one server."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def handle(self, request: EngineRequest, receive: Receive, send: Send) -> None:
        """Answer one request."""
        answer = _Answer(send)
        try:
            origin = request.header(b"origin")
            host = request.header(b"host")
            answer.headers += self._engine.origins.cors_headers(origin, host, secure=request.secure)
            if request.method == "OPTIONS":
                await self._preflight(request, answer)
                return
            connection = find_session(self._engine, request)
            if connection is None:
                await self._open(request, answer)
                return
            if request.method == "GET":
                await self._get(connection, request, receive, answer)
            else:
                await self._post(connection, request, receive, answer)
        except SessionOnOtherNode as error:
            await self._forward(error.node_id, request, receive, answer)
        except RequestRefused as refused:
            await self._refuse(request, refused, answer)
        except ServerFull:
            await self._unavailable(request, "full", answer)

    async def _refuse(self, request: EngineRequest, refused: RequestRefused, answer: _Answer) -> None:
        self._engine.observer.handshake_refused(
            request.address, request.user_agent, TransportName.POLLING, refused.cause, refused.header_value
        )
        await answer.write(HTTPStatus(refused.status), error_body(refused), _JSON)

    async def _unavailable(self, request: EngineRequest, cause: str, answer: _Answer) -> None:
        self._engine.observer.handshake_refused(request.address, request.user_agent, TransportName.POLLING, cause)
        answer.headers.append((b"retry-after", b"%d" % RETRY_AFTER_S))
        await answer.write(HTTPStatus.SERVICE_UNAVAILABLE, b"Service Unavailable", _TEXT)

    async def refuse(self, request: EngineRequest, refused: RequestRefused, send: Send) -> None:
        """Answer a request that was refused before it was handled."""
        await self._refuse(request, refused, _Answer(send))

    async def _preflight(self, request: EngineRequest, answer: _Answer) -> None:
        """Answer the preflight of a cross-origin POST (Fetch, "CORS-preflight request")."""
        answer.headers.append((b"access-control-allow-methods", b"GET,POST"))
        requested = request.header(b"access-control-request-headers")
        if requested is not None:
            answer.headers.append((b"access-control-allow-headers", requested.encode("latin-1")))
        await answer.write(HTTPStatus.NO_CONTENT, b"")

    async def _open(self, request: EngineRequest, answer: _Answer) -> None:
        waiting = admit(self._engine, request)
        if waiting is not None:
            await waiting
        transport = PollingTransport()
        connection = self._engine.open(request.handshake(), transport.bind)
        answer.headers += initial_headers(self._engine, request)
        cookie = self._engine.options.cookie
        if cookie is not None:
            answer.headers.append((b"set-cookie", cookie.header(connection.sid).encode()))
        connection.session.poll_started(self._engine.now())
        poll = transport.poll()
        self._engine.log.flush()
        await self._write_payload(await poll, request, answer)

    async def _write_payload(self, body: bytes, request: EngineRequest, answer: _Answer) -> None:
        threshold = self._engine.options.http_compression_threshold_bytes
        if threshold is not None and len(body) >= threshold:
            encoding = encoding_for(request.header(b"accept-encoding") or "")
            if encoding is not None:
                body = await compress(body, encoding)
                answer.headers.append((b"content-encoding", encoding.encode()))
        await answer.write(HTTPStatus.OK, body, _TEXT)

    async def _get(self, connection: Connection, request: EngineRequest, receive: Receive, answer: _Answer) -> None:
        try:
            effects = connection.session.poll_started(self._engine.now())
        except RequestRefused as refused:
            connection.apply(refused.effects)
            raise
        transport = _polling(connection)
        poll = transport.poll()
        connection.apply(effects)
        if not poll.done():
            connection.watch_deadline()
            await self._wait(connection, transport, poll, receive)
        if not poll.cancelled():
            await self._write_payload(poll.result(), request, answer)
        else:
            await answer.write(HTTPStatus.BAD_REQUEST, b"")

    async def _wait(
        self, connection: Connection, transport: PollingTransport, poll: asyncio.Future[bytes], receive: Receive
    ) -> None:
        """Wait for the response, or for the client to disconnect."""
        disconnect = asyncio.ensure_future(_disconnected(receive))
        either: set[asyncio.Future[Any]] = {poll, disconnect}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            disconnect.cancel()
            if not poll.done():
                transport.drop_poll()
                poll.cancel()
                connection.apply(connection.session.poll_aborted())

    async def _post(self, connection: Connection, request: EngineRequest, receive: Receive, answer: _Answer) -> None:
        transport = _polling(connection)
        await transport.readable()
        session = connection.session
        try:
            session.post_started(self._engine.now(), request.header(b"content-type") or "")
            body = await self._read_body(request, receive)
            if body is None:
                connection.apply(session.post_aborted())
                return
            turn = TaskTurn(self._engine.turns)
            began = clock()
            for effects in session.post_received(body, self._engine.now()):
                connection.apply(effects)
                await turn.end_packet(connection.spend(1), began)
                await transport.readable()
                began = clock()
        except RequestRefused as refused:
            connection.apply(refused.effects)
            raise
        except _TooLarge:
            session.post_dropped()
            await answer.refuse_body()
            return
        await answer.write(HTTPStatus.OK, b"ok", _TEXT)

    async def _read_body(self, request: EngineRequest, receive: Receive) -> bytes | None:
        return await _Body(self._engine.unfinished, self._engine.limits.max_payload_bytes).read(request, receive)

    async def _forward(self, node_id: str, request: EngineRequest, receive: Receive, answer: _Answer) -> None:
        """Forward the request to its owner, until the client disconnects."""
        forwarder = self._engine.forwarder
        if forwarder is None:
            raise RuntimeError("a session belongs to another node, and there is no forwarder")
        try:
            body = await self._read_body(request, receive)
        except _TooLarge:
            await answer.refuse_body()
            return
        if body is None:
            return
        if not self._engine.accepting:
            # The drain ends the requests that it has seen; a new one would delay it.
            await self._unavailable(request, "draining", answer)
            return
        work = forwarder.request(node_id, request, body)
        disconnect = asyncio.ensure_future(_disconnected(receive))
        either: set[asyncio.Future[Any]] = {work, disconnect}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if work.cancelled():
                await self._unavailable(request, "draining", answer)
            elif work.done():
                await answer.pass_on(work.result())
        except RequestRefused as refused:
            await self._refuse(request, refused, answer)
        except NotForwarded as failure:
            await self._unavailable(request, failure.cause, answer)
        finally:
            for task in either:
                task.cancel()
            await asyncio.gather(*either, return_exceptions=True)


class _TooLarge(Exception):
    """The body exceeds ``max_payload_bytes``, or was given up."""


class _Answer:
    """One HTTP response: the headers of every outcome, then the outcome."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.headers: list[Header] = [(b"cache-control", b"no-store")]

    async def write(self, status: HTTPStatus, body: bytes, content_type: Header | None = None) -> None:
        headers = [*self.headers, (b"content-length", b"%d" % len(body))]
        if content_type is not None:
            headers.append(content_type)
        await self._write(int(status), headers, body)

    async def refuse_body(self) -> None:
        """Answer 413. The server discards the rest of the body.

        The connection stays open: a proxy that is still sending would take its end for a failure of this server, and
        send no requests for a while.
        """
        await self.write(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"Content Too Large", _TEXT)

    async def pass_on(self, answer: ForwardedAnswer) -> None:
        """Pass on the response of another node."""
        length = (b"content-length", b"%d" % len(answer.body))
        await self._write(answer.status, [*answer.headers, length], answer.body)

    async def _write(self, status: int, headers: list[Header], body: bytes) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _polling(connection: Connection) -> PollingTransport:
    transport = connection.transport
    if not isinstance(transport, PollingTransport):
        raise TypeError("the session uses polling, its transport does not")
    return transport


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Body:
    """The body of a request while it is received."""

    input_waits: Final = False

    def __init__(self, unfinished: UnfinishedInput, limit_bytes: int) -> None:
        self._unfinished = unfinished
        self._limit_bytes = limit_bytes
        self._data = bytearray()

    def give_up_input(self, error: RemoteError) -> None:  # noqa: ARG002 - the port's signature
        """See `unfinished.Sender`. The next part of the body, or its deadline, ends the request."""
        self._limit_bytes = -1
        self._data.clear()

    async def read(self, request: EngineRequest, receive: Receive) -> bytes | None:
        """The body; None if the client disconnects before its end.

        Raises:
            _TooLarge: as soon as the size is known, or given up.
        """
        declared = request.header(b"content-length")
        if declared is not None and declared.isascii() and declared.isdigit() and int(declared) > self._limit_bytes:
            raise _TooLarge
        try:
            while True:
                event = await receive()
                if event["type"] == "http.disconnect":
                    return None
                self._data += event.get("body", b"")
                if len(self._data) > self._limit_bytes:
                    raise _TooLarge
                if not event.get("more_body", False):
                    return bytes(self._data)
                self._unfinished.hold(self, len(self._data))
        finally:
            self._unfinished.release(self)
