"""Executes the requests of other servers and responds to them.

A Node server counts the subscribers of the request channel and waits up to five seconds for a response from each of
them: a server that does not respond makes every ``fetchSockets`` in the cluster fail.

Layer: realtime. Source: @socket.io/redis-adapter 8.3, ``onrequest``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

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
from roomcast.realtime.core.cluster import Node, PendingAcks, Selection, SocketDescription
from roomcast.wire.errors import EncodeError


class _RemoteBroadcast:
    """An acknowledged broadcast of another server: `core.cluster.AckListener` that sends each acknowledgement there.

    Attributes:
        acks: The acknowledgements of this server's sockets.
        missing: Number of acknowledgements that have not arrived.
        timer: Timer of its timeout.
    """

    def __init__(self, respond: Callable[[Sequence[Any]], None], end: Callable[[], None]) -> None:
        self._respond = respond
        self._end = end
        self.acks: PendingAcks | None = None
        self.missing = 0
        self.timer: asyncio.TimerHandle | None = None

    def acknowledged(self, args: Sequence[Any]) -> None:
        """See `AckListener`."""
        self._respond(args)
        self.disconnected()

    def disconnected(self) -> None:
        """See `AckListener`."""
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
        self._pending: dict[str, _RemoteBroadcast] = {}

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
                sids = node.sids(Selection(channels.namespace, rooms))
                self._respond(channels, {"requestId": request_id, "sockets": list(sids)})
            case RoomsQuery(request_id, _):
                self._respond(channels, {"requestId": request_id, "rooms": list(node.rooms(channels.namespace))})
            case FetchQuery(request_id, _, selection):
                self._respond_to_fetch(channels, request_id, node.describe(selection))
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

    def _respond_to_fetch(
        self, channels: NamespaceChannels, request_id: str, sockets: Sequence[SocketDescription]
    ) -> None:
        # Encode each socket separately: a socket whose data cannot be encoded must not make the response fail.
        described = b",".join(map(self._encode_socket, sockets))
        head = encode_json({"requestId": request_id, "sockets": []})
        self._counters.answered += 1
        self._send(channels.responses, b"%b%b]}" % (head.removesuffix(b"]}"), described))

    def _encode_socket(self, socket: SocketDescription) -> bytes:
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
        pending = _RemoteBroadcast(partial(self._send_ack, channels, request_id), partial(self._end, request_id))
        try:
            pending.acks = self._node.ask(request.to, request.args, pending)
        except EncodeError as error:
            self._counters.drop("malformed", str(error))
            return
        asked = pending.missing = pending.acks.asked
        count = {"type": RequestType.CLIENT_COUNT.value, "requestId": request_id, "clientCount": asked}
        self._respond(channels, count)
        if asked:
            timeout_s = min(max(request.timeout_s, 0.0), self._options.max_ack_timeout_s)
            pending.timer = asyncio.get_running_loop().call_later(timeout_s, self._end, request_id)
            self._pending[request_id] = pending

    def _send_ack(self, channels: NamespaceChannels, request_id: str, args: Sequence[Any]) -> None:
        try:
            self._send(channels.responses, encode_ack(request_id, args))
        except EncodeError as error:
            self._counters.drop("unpackable", str(error))

    def _end(self, request_id: str) -> None:
        pending = self._pending.pop(request_id)
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.acks is not None:
            pending.acks.stop()


def describe(socket: SocketDescription) -> dict[str, Any]:
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
