"""Executes the requests of other servers and responds to them.

A Node server counts the subscribers of the request channel and waits up to five seconds for a response from each of
them: a server that does not respond makes every ``fetchSockets`` in the cluster fail.

Layer: realtime. Source: @socket.io/redis-adapter 8.3, ``onrequest``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.protocol import (
    AcknowledgedBroadcast,
    FetchQuery,
    NamespaceChannels,
    RemoteCommand,
    Request,
    RequestType,
    RoomsQuery,
    ServerSideEmit,
    SocketsQuery,
    encode_ack,
    encode_json,
)
from roomcast.realtime.core.cluster import Node, Selection
from roomcast.realtime.errors import AckLimitExceeded, SocketGone
from roomcast.wire.errors import EncodeError

if TYPE_CHECKING:
    from roomcast.realtime.core.socket import Socket

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _PendingBroadcast:
    """An acknowledged broadcast whose recipients have not all answered.

    Attributes:
        timer: Timer of its timeout.
        recipients: The sockets, each with the id of its acknowledgement.
        missing: Number of acknowledgements that have not arrived.
    """

    timer: asyncio.TimerHandle
    recipients: list[tuple[Socket, int]]
    missing: int


class RequestHandler:
    """Executes requests and sends the responses.

    Args:
        node: This server.
        send: Called with the channel and the bytes of each response.
        options: Limits of acknowledged broadcasts.
        counters: Counts requests, responses and dropped messages.
    """

    def __init__(
        self,
        node: Node,
        send: Callable[[str, bytes], None],
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
    ) -> None:
        self._node = node
        self._send = send
        self._options = options
        self._counters = counters
        self._pending: dict[str, _PendingBroadcast] = {}

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
        node = self._node
        match request:
            case RemoteCommand(_, command):
                node.apply_command(command)
            case SocketsQuery(request_id, _, rooms):
                sids = [socket.sid for socket in node.members(Selection(channels.namespace, rooms))]
                self._respond(channels, {"requestId": request_id, "sockets": sids})
            case RoomsQuery(request_id, _):
                self._respond(channels, {"requestId": request_id, "rooms": list(node.rooms(channels.namespace))})
            case FetchQuery(request_id, _, selection):
                self._respond_to_fetch(channels, request_id, node.members(selection))
            case ServerSideEmit(request_id, _, _):
                # This server has no listeners for such events; respond at once, so that the sender does not time out.
                if request_id is not None:
                    response = {"type": RequestType.SERVER_SIDE_EMIT.value, "requestId": request_id}
                    self._respond(channels, response)
            case AcknowledgedBroadcast():
                self._broadcast_with_ack(channels, request)

    def stop(self) -> None:
        """Drop every pending acknowledged broadcast."""
        for request_id in list(self._pending):
            self._end(request_id)

    def _respond(self, channels: NamespaceChannels, response: dict[str, Any]) -> None:
        self._counters.answered += 1
        # The requester's own channel is not used: adapters before version 8 do not subscribe to it.
        self._send(channels.responses, encode_json(response))

    def _respond_to_fetch(self, channels: NamespaceChannels, request_id: str, sockets: Sequence[Socket]) -> None:
        # Encode each socket separately: a socket whose data cannot be encoded must not make the response fail.
        described = b",".join(map(self._encode_socket, sockets))
        head = encode_json({"requestId": request_id, "sockets": []})
        self._counters.answered += 1
        self._send(channels.responses, b"%b%b]}" % (head.removesuffix(b"]}"), described))

    def _encode_socket(self, socket: Socket) -> bytes:
        described = describe(socket)
        try:
            return encode_json(described)
        except EncodeError as error:
            # The application may put any object into the socket's data.
            self._counters.drop("unpackable", str(error))
            return encode_json(described | {"data": {}})

    # -- acknowledged broadcasts

    def _broadcast_with_ack(self, channels: NamespaceChannels, request: AcknowledgedBroadcast) -> None:
        request_id = request.request_id
        if request_id in self._pending or len(self._pending) >= self._options.max_ack_requests:
            self._counters.drop("busy", "acknowledged broadcast")
            return
        event, *args = request.args
        recipients: list[tuple[Socket, int]] = []
        for socket in self._node.members(request.to):
            try:
                ack_id = socket.emit(event, *args, callback=partial(self._acknowledged, channels, request_id))
            except (AckLimitExceeded, SocketGone) as error:
                logger.info("acknowledged broadcast not sent to %r: %s", socket, error)
                continue
            except EncodeError as error:
                self._counters.drop("malformed", str(error))
                return
            if ack_id is not None:
                recipients.append((socket, ack_id))
        count = {"type": RequestType.CLIENT_COUNT.value, "requestId": request_id, "clientCount": len(recipients)}
        self._respond(channels, count)
        if recipients:
            timeout_s = min(max(request.timeout_s, 0.0), self._options.max_ack_timeout_s)
            timer = asyncio.get_running_loop().call_later(timeout_s, self._end, request_id)
            self._pending[request_id] = _PendingBroadcast(timer, recipients, len(recipients))

    def _acknowledged(self, channels: NamespaceChannels, request_id: str, *args: Any) -> None:
        pending = self._pending.get(request_id)
        if pending is None:
            return
        try:
            self._send(channels.responses, encode_ack(request_id, args))
        except EncodeError as error:
            self._counters.drop("unpackable", str(error))
        pending.missing -= 1
        if pending.missing == 0:
            self._end(request_id)

    def _end(self, request_id: str) -> None:
        pending = self._pending.pop(request_id)
        pending.timer.cancel()
        for socket, ack_id in pending.recipients:
            socket.forget_ack(ack_id)


def describe(socket: Socket) -> dict[str, Any]:
    """Describe a socket as Node's ``fetchSockets`` does: ``id``, ``handshake``, ``rooms``, ``data``.

    As in Node, the handshake holds the headers and ``auth``, secrets included: the cluster's Redis must be private.
    """
    handshake = socket.handshake
    headers = dict(handshake.headers)
    opened = datetime.fromtimestamp(handshake.time, UTC)
    return {
        "id": socket.sid,
        "handshake": {
            "headers": headers,
            # The format in which JavaScript converts a `Date` to a string.
            "time": f"{opened:%a %b %d %Y %H:%M:%S} GMT+0000 (Coordinated Universal Time)",
            "address": handshake.address or "",
            "xdomain": "origin" in headers,
            "secure": handshake.secure,
            "issued": int(handshake.time * 1_000),
            "url": f"{handshake.path}?{handshake.query_string}",
            "query": handshake.query,
            "auth": handshake.auth if handshake.auth is not None else {},
        },
        "rooms": [socket.sid, *sorted(socket.rooms)],
        "data": socket.data,
    }
