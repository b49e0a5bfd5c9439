"""`Emitter`: broadcasts to a cluster from a process without clients, as ``@socket.io/redis-emitter`` does.

Layer: realtime. Source: @socket.io/redis-emitter 5.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any, Protocol

from roomcast.realtime.adapters.redis.messages.protocol import encode_command
from roomcast.realtime.cluster.commands import Broadcast, Command, Disconnect, Join, Leave, Selection
from roomcast.realtime.core.server_events import server_event
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError
from roomcast.wire.socketio import DEFAULT_NAMESPACE, RESERVED_EVENTS


class Publisher(Protocol):
    """A Redis client, such as ``redis.asyncio.Redis`` or ``RedisCluster``."""

    def publish(self, channel: str, message: bytes, /) -> Awaitable[Any]:
        """Publish a message on a channel."""


Rooms = str | Collection[str] | None


class Emitter:
    """Sends to the clients of every server that uses the same Redis, including Node servers.

    Example::

        emitter = Emitter(redis.asyncio.Redis.from_url("redis://127.0.0.1"))
        await emitter.emit("news", {"text": "hello"}, to="lobby")

    Every method returns when Redis has accepted the message; if that fails, it raises the error of the Redis client.
    ``to`` and ``skip`` take room names or socket ids. ``to=None`` selects the whole namespace; an empty collection
    selects no socket.

    Args:
        redis: The Redis client; the caller closes it.
        namespace: The namespace of the recipients.
        key: Prefix of every channel name; the same as on the servers.
    """

    def __init__(self, redis: Publisher, *, namespace: str = DEFAULT_NAMESPACE, key: str = "socket.io") -> None:
        self._redis = redis
        self._namespace = namespace
        self._key = key

    def of(self, namespace: str) -> Emitter:
        """The emitter for another namespace."""
        return Emitter(self._redis, namespace="/" + namespace.removeprefix("/"), key=self._key)

    async def emit(
        self, event: str, data: Any = None, *, to: Rooms = None, skip: Rooms = (), volatile: bool = False
    ) -> None:
        """Emit an event.

        Args:
            event: Name of the event.
            data: The argument, or a tuple of arguments; None: no argument. ``bytes`` in it are sent as binary.
            to: The recipients.
            skip: Recipients to exclude.
            volatile: Whether the event may be dropped for clients that are slow to receive.

        Raises:
            EncodeError: the data cannot be encoded.
        """
        if event in RESERVED_EVENTS:
            raise EncodeError(f"{event!r} is a reserved event name")
        args = () if data is None else data if isinstance(data, tuple) else (data,)
        await self._send(Broadcast(self._select(to, skip), EncodedEvent.from_args(event, *args), volatile))

    async def join(self, rooms: str | Collection[str], *, to: Rooms, skip: Rooms = ()) -> None:
        """Make the selected sockets join rooms."""
        await self._send(Join(self._select(to, skip), _tuple(rooms)))

    async def leave(self, rooms: str | Collection[str], *, to: Rooms, skip: Rooms = ()) -> None:
        """Make the selected sockets leave rooms."""
        await self._send(Leave(self._select(to, skip), _tuple(rooms)))

    async def disconnect(self, *, to: Rooms, skip: Rooms = (), close: bool = False) -> None:
        """Disconnect the selected sockets from the namespace; with ``close`` also end their connections."""
        await self._send(Disconnect(self._select(to, skip), close))

    async def server_side_emit(self, event: str, *args: Any) -> None:
        """Emit an event to the servers, not to clients: to handlers of `Server.on_server_side_emit`.

        Raises:
            EncodeError: the name is reserved, or an argument is not JSON.
        """
        await self._send(server_event(self._namespace, event, args))

    def _select(self, to: Rooms, skip: Rooms) -> Selection:
        return Selection(self._namespace, None if to is None else _tuple(to), _tuple(skip or ()))

    async def _send(self, command: Command) -> None:
        encoded = encode_command(self._key, None, command)
        if encoded is not None:
            await self._redis.publish(*encoded)


def _tuple(names: str | Collection[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
