"""What other servers ask of this one, and what they are told.

Node counts the subscribers of the request channel and waits for an answer of each, up to five seconds: a server that
is silent makes every ``fetchSockets`` of the cluster fail.

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
    Channels,
    FetchQuery,
    LegacyCommand,
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
class _Asked:
    """An acknowledged broadcast that is under way.

    Attributes:
        timer: Ends it.
        pending: The sockets that were asked, and the ids of their acknowledgements.
        left: How many have not answered.
    """

    timer: asyncio.TimerHandle
    pending: list[tuple[Socket, int]]
    left: int


class Answering:
    """Carries requests out and answers them.

    Args:
        node: The server.
        send: Takes channel and bytes of an answer.
        options: Bounds of acknowledged broadcasts.
        counters: What is counted.
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
        self._asked: dict[str, _Asked] = {}

    def take(self, channels: Channels, uid: str, request: Request) -> None:  # noqa: C901 - one table
        """Carry out one request.

        Args:
            channels: Of the namespace that it came by.
            uid: Our own: what we asked of everyone we have done already.
            request: What is asked.
        """
        if request.uid == uid:
            self._counters.ignored += 1
            return
        self._counters.received += 1
        node = self._node
        match request:
            case RemoteCommand(_, command):
                node.apply_command(command)
            case LegacyCommand(request_id, _, sid, command):
                if any(socket.sid == sid for socket in node.members(Selection(channels.namespace, (sid,)))):
                    node.apply_command(command)
                    # As Node: JSON leaves an undefined requestId out.
                    self._answer(channels, {} if request_id is None else {"requestId": request_id})
            case SocketsQuery(request_id, _, rooms):
                sids = [socket.sid for socket in node.members(Selection(channels.namespace, rooms))]
                self._answer(channels, {"requestId": request_id, "sockets": sids})
            case RoomsQuery(request_id, _):
                self._answer(channels, {"requestId": request_id, "rooms": list(node.rooms(channels.namespace))})
            case FetchQuery(request_id, _, who):
                self._answer_fetch(channels, request_id, node.members(who))
            case ServerSideEmit(request_id, _, _):
                # Nobody listens for these here; whoever counts answers shall not wait for ours.
                if request_id is not None:
                    answer = {"type": RequestType.SERVER_SIDE_EMIT.value, "requestId": request_id}
                    self._answer(channels, answer)
            case AcknowledgedBroadcast():
                self._ask(channels, request)

    def stop(self) -> None:
        """Wait for no acknowledgement any more."""
        for request_id in list(self._asked):
            self._forget(request_id)

    def _answer(self, channels: Channels, answer: dict[str, Any]) -> None:
        self._counters.answered += 1
        # Not the requester's own channel: servers before version 8 are not subscribed to theirs.
        self._send(channels.responses, encode_json(answer))

    def _answer_fetch(self, channels: Channels, request_id: str, sockets: Sequence[Socket]) -> None:
        # Each is encoded by itself, once: one whose data cannot travel does not spoil the answer.
        described = b",".join(map(self._described, sockets))
        head = encode_json({"requestId": request_id, "sockets": []})
        self._counters.answered += 1
        self._send(channels.responses, b"%b%b]}" % (head.removesuffix(b"]}"), described))

    def _described(self, socket: Socket) -> bytes:
        described = describe(socket)
        try:
            return encode_json(described)
        except EncodeError as error:
            # The application may keep there what it likes; the others get the rest.
            self._counters.drop("unpackable", str(error))
            return encode_json(described | {"data": {}})

    # -- acknowledged broadcasts

    def _ask(self, channels: Channels, request: AcknowledgedBroadcast) -> None:
        request_id = request.request_id
        if request_id in self._asked or len(self._asked) >= self._options.max_ack_requests:
            self._counters.drop("busy", "acknowledged broadcasts")
            return
        event, *args = request.args
        pending: list[tuple[Socket, int]] = []
        for socket in self._node.members(request.to):
            try:
                ack_id = socket.emit(event, *args, callback=partial(self._acknowledged, channels, request_id))
            except (AckLimitExceeded, SocketGone) as error:
                logger.info("%r is not asked: %s", socket, error)
                continue
            except EncodeError as error:
                self._counters.drop("malformed", str(error))
                return
            if ack_id is not None:
                pending.append((socket, ack_id))
        count = {"type": RequestType.CLIENT_COUNT.value, "requestId": request_id, "clientCount": len(pending)}
        self._answer(channels, count)
        if pending:
            wait_s = min(max(request.timeout_s, 0.0), self._options.max_ack_timeout_s)
            timer = asyncio.get_running_loop().call_later(wait_s, self._forget, request_id)
            self._asked[request_id] = _Asked(timer, pending, len(pending))

    def _acknowledged(self, channels: Channels, request_id: str, *args: Any) -> None:
        asked = self._asked.get(request_id)
        if asked is None:
            return
        try:
            self._send(channels.responses, encode_ack(request_id, args))
        except EncodeError as error:
            self._counters.drop("unpackable", str(error))
        asked.left -= 1
        if asked.left == 0:
            self._forget(request_id)

    def _forget(self, request_id: str) -> None:
        asked = self._asked.pop(request_id)
        asked.timer.cancel()
        for socket, ack_id in asked.pending:
            socket.forget_ack(ack_id)


def describe(socket: Socket) -> dict[str, Any]:
    """A socket as Node's ``fetchSockets`` shows one of another server: ``id``, ``handshake``, ``rooms``, ``data``.

    Its headers and ``auth`` are in it, secrets included, as with Node: the Redis of a cluster is trusted with them.
    """
    handshake = socket.handshake
    headers = dict(handshake.headers)
    opened = datetime.fromtimestamp(handshake.time, UTC)
    return {
        "id": socket.sid,
        "handshake": {
            "headers": headers,
            # JavaScript's `Date` as text.
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
