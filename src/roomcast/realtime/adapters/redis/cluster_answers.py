"""Answers the queries of other servers, in the messages of Node's ``ClusterAdapter``.

Layer: realtime. Source: socket.io-adapter 2.5, ``ClusterAdapter.onMessage``.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.messages.cluster_messages import ClusterMessage, ClusterQuery, MessageType
from roomcast.realtime.adapters.redis.messages.protocol import (
    AcknowledgedBroadcast,
    FetchQuery,
    ServerSideEmit,
    encode_json,
)
from roomcast.realtime.adapters.redis.messages.responses import ack_fields, describe, is_ours, parts_of
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.requests import LongAnswers, RemoteBroadcast, part_bytes
from roomcast.realtime.cluster.commands import Broadcast, Node, Selection, ServerEvent, SocketDescription
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError


class ClusterAnswers:
    """Executes queries and sends the answers.

    Servers of this package get what Node lacks: an answer of many sockets comes in parts (``part`` and ``more``), and
    a client that disconnects before it acknowledges is reported.

    Args:
        node: This server.
        uid: Its uid.
        send: Called with the uid of the requester and each answer; returns False if it cannot be encoded.
        options: Limits of acknowledged broadcasts.
        counters: Counts answers and dropped queries.
        room: Waits until the queue of answers has room.
    """

    def __init__(
        self,
        node: Node,
        uid: str,
        send: Callable[[str, ClusterMessage], bool],
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._node = node
        self._uid = uid
        self._send = send
        self._options = options
        self._counters = counters
        self._pending: dict[str, RemoteBroadcast] = {}
        self._long_answers = LongAnswers(options, counters, room)

    def answer(self, namespace: str, query: ClusterQuery) -> None:
        """Execute one query."""
        if isinstance(query, ServerSideEmit) and query.request_id is None:
            self._node.receive(ServerEvent(namespace, query.args), None)
        if query.uid is None or query.request_id is None:
            return
        respond = partial(self._respond, namespace, query.uid, query.request_id)
        ours = is_ours(query.request_id, query.uid)
        match query:
            case FetchQuery(_, _, selection):
                send = partial(self._send_sockets, respond)
                self._long_answers.send(self._described(selection, ours=ours), send)
            case ServerSideEmit():
                self._node.receive(ServerEvent(namespace, query.args), partial(self._send_event_answer, respond))
            case AcknowledgedBroadcast():
                self._broadcast_with_ack(query, respond, ours=ours)

    def stop(self) -> None:
        """Drop every pending acknowledged broadcast and answer."""
        self._long_answers.stop()
        for request_id in list(self._pending):
            self._end(request_id)

    def _respond(self, namespace: str, requester: str, request_id: str, kind: MessageType, **fields: Any) -> bool:
        self._counters.answered += 1
        return self._send(requester, ClusterMessage(kind, {"requestId": request_id, **fields}, self._uid, namespace))

    def _described(self, selection: Selection, *, ours: bool) -> Iterator[dict[str, Any]]:
        """The fields of the answer to a fetch; for Node there is one part of any size."""
        described = map(self._describe, self._node.describe(selection))
        for sockets, number, more in parts_of(described, part_bytes(self._options) if ours else sys.maxsize):
            yield {"sockets": sockets, "part": number, "more": more} if ours else {"sockets": sockets}

    def _send_sockets(self, respond: Callable[..., bool], fields: dict[str, Any]) -> None:
        respond(MessageType.FETCH_SOCKETS_RESPONSE, **fields)

    def _describe(self, socket: SocketDescription) -> tuple[dict[str, Any], int]:
        described = describe(socket)
        try:
            return described, len(encode_json(described))
        except EncodeError as error:
            # The application may put any object into the socket's data: it must not make the answer fail.
            self._counters.drop("unpackable", str(error))
            described["data"] = {}
            return described, len(encode_json(described))

    def _broadcast_with_ack(self, query: AcknowledgedBroadcast, respond: Callable[..., bool], *, ours: bool) -> None:
        request_id = query.request_id
        if request_id in self._pending:
            self._counters.drop("busy", "a repeated request")
            return
        withdraw = partial(respond, MessageType.BROADCAST_GONE) if ours else _ignore
        pending = RemoteBroadcast(partial(self._send_ack, respond, ours), withdraw, partial(self._end, request_id))
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
        respond(MessageType.BROADCAST_CLIENT_COUNT, clientCount=asked)
        if asked:
            timeout_s = min(max(query.timeout_s, 0.0), self._options.max_ack_timeout_s)
            pending.timer = asyncio.get_running_loop().call_later(timeout_s, self._end, request_id)
            self._pending[request_id] = pending

    def _send_event_answer(self, respond: Callable[..., bool], value: Any) -> None:
        if value is None or not respond(MessageType.SERVER_SIDE_EMIT_RESPONSE, packet=value):
            respond(MessageType.SERVER_SIDE_EMIT_RESPONSE)

    def _send_ack(self, respond: Callable[..., bool], ours: bool, args: Sequence[Any]) -> None:
        respond(MessageType.BROADCAST_ACK, **ack_fields(args, ours=ours))

    def _end(self, request_id: str) -> None:
        pending = self._pending.pop(request_id)
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.acks is not None:
            pending.acks.stop()


def _ignore() -> bool:
    """Node has no response for a client that has disconnected."""
    return True
