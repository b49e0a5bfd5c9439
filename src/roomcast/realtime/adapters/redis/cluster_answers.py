"""Answers the queries of other servers, in the messages of Node's ``ClusterAdapter``.

Layer: realtime. Source: socket.io-adapter 2.5, ``ClusterAdapter.onMessage``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from roomcast.realtime.adapters.redis.cluster_messages import ClusterMessage, ClusterQuery, MessageType
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.protocol import AcknowledgedBroadcast, FetchQuery, ServerSideEmit, encode_json
from roomcast.realtime.adapters.redis.requests import RemoteBroadcast
from roomcast.realtime.adapters.redis.responses import describe
from roomcast.realtime.cluster.commands import Broadcast, Node, ServerEvent, SocketDescription
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError


class ClusterAnswers:
    """Executes queries and sends the answers.

    Args:
        node: This server.
        uid: Its uid.
        send: Called with the uid of the requester and each answer.
        options: Limits of acknowledged broadcasts.
        counters: Counts answers and dropped queries.
    """

    def __init__(
        self,
        node: Node,
        uid: str,
        send: Callable[[str, ClusterMessage], None],
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
    ) -> None:
        self._node = node
        self._uid = uid
        self._send = send
        self._options = options
        self._counters = counters
        self._pending: dict[str, RemoteBroadcast] = {}

    def answer(self, namespace: str, query: ClusterQuery) -> None:
        """Execute one query."""
        if isinstance(query, ServerSideEmit) and query.request_id is None:
            self._node.receive(ServerEvent(namespace, query.args), None)
        if query.uid is None or query.request_id is None:
            return
        respond = partial(self._respond, namespace, query.uid, query.request_id)
        match query:
            case FetchQuery(_, _, selection):
                sockets = list(map(self._describe, self._node.describe(selection)))
                respond(MessageType.FETCH_SOCKETS_RESPONSE, sockets=sockets)
            case ServerSideEmit():
                self._node.receive(ServerEvent(namespace, query.args), partial(self._send_event_answer, respond))
            case AcknowledgedBroadcast():
                self._broadcast_with_ack(query, respond)

    def stop(self) -> None:
        """Drop every pending acknowledged broadcast."""
        for request_id in list(self._pending):
            self._end(request_id)

    def _respond(self, namespace: str, requester: str, request_id: str, kind: MessageType, **fields: Any) -> None:
        self._counters.answered += 1
        self._send(requester, ClusterMessage(kind, {"requestId": request_id, **fields}, self._uid, namespace))

    def _describe(self, socket: SocketDescription) -> dict[str, Any]:
        described = describe(socket)
        try:
            encode_json(described)
        except EncodeError as error:
            # The application may put any object into the socket's data: it must not make the answer fail.
            self._counters.drop("unpackable", str(error))
            return described | {"data": {}}
        return described

    def _broadcast_with_ack(self, query: AcknowledgedBroadcast, respond: Callable[..., None]) -> None:
        request_id = query.request_id
        if request_id in self._pending:
            self._counters.drop("busy", "a repeated request")
            return
        # Node has no response for a client that has disconnected.
        pending = RemoteBroadcast(partial(self._send_ack, respond), lambda: None, partial(self._end, request_id))
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

    def _send_event_answer(self, respond: Callable[..., None], value: Any) -> None:
        respond(MessageType.SERVER_SIDE_EMIT_RESPONSE, **({} if value is None else {"packet": value}))

    def _send_ack(self, respond: Callable[..., None], args: Sequence[Any]) -> None:
        # As in Node, only the first argument is sent.
        respond(MessageType.BROADCAST_ACK, **({"packet": args[0]} if args else {}))

    def _end(self, request_id: str) -> None:
        pending = self._pending.pop(request_id)
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.acks is not None:
            pending.acks.stop()
