"""Executes the requests of other servers and responds to them.

A Node server counts the subscribers of the request channel and waits up to five seconds for a response from each of
them: a server that does not respond makes every ``fetchSockets`` in the cluster fail.

Layer: realtime. Source: @socket.io/redis-adapter 8.3, ``onrequest``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.messages.protocol import (
    AcknowledgedBroadcast,
    FetchQuery,
    NamespaceChannels,
    RemoteCommand,
    RemoteQuery,
    Request,
    RoomsQuery,
    ServerSideEmit,
    SocketsQuery,
)
from roomcast.realtime.adapters.redis.messages.responses import Responder, encode_socket
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.cluster.commands import Broadcast, Node, PendingAcks, Selection, ServerEvent, SocketDescription
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError

#: Encoding a part takes a few milliseconds.
_PART_BYTES: Final = 262_144
_MAX_LONG_ANSWERS: Final = 16

_T = TypeVar("_T")


def part_bytes(options: RedisAdapterOptions) -> int:
    """Size limit of the parts of an answer."""
    return min(options.max_message_bytes // 2, _PART_BYTES)


class LongAnswers:
    """Answers in several parts, sent at the pace of the connection: without a part that the queue drops, one is lost.

    Args:
        options: Time limit of an answer.
        counters: Counts answers that are not sent.
        room: Waits until the queue has room.
    """

    def __init__(
        self, options: RedisAdapterOptions, counters: RedisAdapterCounters, room: Callable[[], Awaitable[None]]
    ) -> None:
        self._options = options
        self._counters = counters
        self._room = room
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, parts: Iterator[_T], send: Callable[[_T], object]) -> None:
        """Send the first part now, and the others later."""
        send(next(parts))
        second = next(parts, None)
        if second is None:
            return
        if len(self._tasks) >= _MAX_LONG_ANSWERS:
            self._counters.drop("busy", "answer in parts")
            return
        task = asyncio.get_running_loop().create_task(self._send_rest(second, parts, send))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_rest(self, part: _T | None, parts: Iterator[_T], send: Callable[[_T], object]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.max_ack_timeout_s):
                while part is not None:
                    await self._room()
                    send(part)
                    await asyncio.sleep(0)  # other work of the loop
                    part = next(parts, None)

    def stop(self) -> None:
        """Send nothing more."""
        for task in self._tasks:
            task.cancel()


class RemoteBroadcast:
    """An acknowledged broadcast of another server: `AckListener` that sends each acknowledgement there.

    Attributes:
        acks: The acknowledgements of this server's sockets.
        missing: Number of acknowledgements that have not arrived.
        timer: Timer of its timeout.
    """

    def __init__(
        self, respond: Callable[[Sequence[Any]], None], withdraw: Callable[[], object], end: Callable[[], None]
    ) -> None:
        self._respond = respond
        self._withdraw = withdraw
        self._end = end
        self.acks: PendingAcks | None = None
        self.missing = 0
        self.timer: asyncio.TimerHandle | None = None

    def acknowledged(self, args: Sequence[Any]) -> None:
        """See `AckListener`."""
        self._respond(args)
        self._settle()

    def disconnected(self) -> None:
        """See `AckListener`."""
        self._withdraw()
        self._settle()

    def _settle(self) -> None:
        self.missing -= 1
        if self.missing == 0:
            self._end()


class RequestHandler:
    """Executes requests and sends the responses.

    Args:
        node: This server.
        send: Called with the channel and the bytes of each response.
        options: Limits of acknowledged broadcasts.
        counters: Counts requests, responses and dropped messages.
        room: Waits until the queue of responses has room.
    """

    def __init__(
        self,
        node: Node,
        send: Callable[[str, bytes], object],
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._node = node
        self._send = send
        self._options = options
        self._counters = counters
        self._pending: dict[str, RemoteBroadcast] = {}
        self._long_answers = LongAnswers(options, counters, room)

    def handle(self, channels: NamespaceChannels, uid: str, request: Request) -> None:
        """Execute one request.

        Args:
            channels: The channels of the request's namespace.
            uid: Uid of this server. Redis also delivers this server's own requests to it; they are ignored, since it
                has executed them already.
            request: The request.
        """
        if request.uid == uid:
            self._counters.ignored += 1
            return
        self._counters.received += 1
        if isinstance(request, RemoteCommand):
            self._node.apply_command(request.command)
        elif isinstance(request, ServerSideEmit) and request.request_id is None:
            self._node.receive(ServerEvent(channels.namespace, request.args), None)
        elif request.request_id is not None:
            # The requester's own channel is not used: adapters before version 8 do not subscribe to it.
            send = partial(self._send, channels.responses)
            self._answer(channels.namespace, request, Responder.to(request.request_id, request.uid, uid), send)

    def _answer(
        self, namespace: str, query: RemoteQuery, responder: Responder, send: Callable[[bytes], object]
    ) -> None:
        self._counters.answered += 1
        match query:
            case SocketsQuery(_, _, rooms):
                send(responder.encode(sockets=list(self._node.sids(Selection(namespace, rooms)))))
            case RoomsQuery():
                send(responder.encode(rooms=list(self._node.rooms(namespace))))
            case FetchQuery(_, _, selection):
                sockets = map(self._encode_socket, self._node.describe(selection))
                self._long_answers.send(responder.encode_sockets(sockets, part_bytes(self._options)), send)
            case ServerSideEmit():
                answer = partial(self._send_event_answer, responder, send)
                self._node.receive(ServerEvent(namespace, query.args), answer)
            case AcknowledgedBroadcast():
                self._broadcast_with_ack(query, responder, send)

    def stop(self) -> None:
        """Drop every pending acknowledged broadcast and answer."""
        self._long_answers.stop()
        for request_id in list(self._pending):
            self._end(request_id)

    def _encode_socket(self, socket: SocketDescription) -> bytes:
        try:
            return encode_socket(socket)
        except EncodeError as error:
            # The application may put any object into the socket's data: it must not make the response fail.
            self._counters.drop("unpackable", str(error))
            return encode_socket(socket, with_data=False)

    def _send_event_answer(self, responder: Responder, send: Callable[[bytes], object], value: Any) -> None:
        try:
            send(responder.encode_event_answer(value))
        except EncodeError as error:
            self._counters.drop("unpackable", str(error))
            send(responder.encode_event_answer(None))

    # -- acknowledged broadcasts

    def _broadcast_with_ack(
        self, query: AcknowledgedBroadcast, responder: Responder, send: Callable[[bytes], object]
    ) -> None:
        request_id = query.request_id
        if request_id in self._pending:
            self._counters.drop("busy", "a repeated request")
            return
        pending = RemoteBroadcast(
            partial(self._send_ack, responder, send),
            partial(self._withdraw, responder, send),
            partial(self._end, request_id),
        )
        try:
            if len(self._pending) >= self._options.max_ack_requests:
                # Without an answer: the sender learns at its timeout that acknowledgements are missing.
                self._counters.drop("busy", "acknowledgements of a broadcast")
                self._node.apply_command(Broadcast(query.to, EncodedEvent.from_args(*query.args)))
                return
            pending.acks = self._node.ask(query.to, query.args, pending)
        except EncodeError as error:
            self._counters.drop("malformed", str(error))
            return
        asked = pending.missing = pending.acks.asked
        send(responder.encode_count(asked))
        if asked:
            timeout_s = min(max(query.timeout_s, 0.0), self._options.max_ack_timeout_s)
            pending.timer = asyncio.get_running_loop().call_later(timeout_s, self._end, request_id)
            self._pending[request_id] = pending

    def _send_ack(self, responder: Responder, send: Callable[[bytes], object], args: Sequence[Any]) -> None:
        try:
            send(responder.encode_ack(args))
        except EncodeError as error:
            self._counters.drop("unpackable", str(error))

    def _withdraw(self, responder: Responder, send: Callable[[bytes], object]) -> None:
        gone = responder.encode_gone()
        if gone is not None:
            send(gone)

    def _end(self, request_id: str) -> None:
        pending = self._pending.pop(request_id)
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.acks is not None:
            pending.acks.stop()
