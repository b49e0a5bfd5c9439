"""`Emitter`: broadcasts into a cluster from a process that serves nobody, as ``@socket.io/redis-emitter`` does.

Layer: realtime. Source: @socket.io/redis-emitter 5.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection
from typing import Any, Protocol

from roomcast.realtime.adapters.redis.protocol import encode_command
from roomcast.realtime.core.cluster import Broadcast, Command, Disconnect, Join, Leave, Selection
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError
from roomcast.wire.socketio import DEFAULT_NAMESPACE, RESERVED_EVENTS


class Publisher(Protocol):
    """What the emitter needs of a Redis client: ``redis.asyncio.Redis`` and ``RedisCluster`` have it."""

    def publish(self, channel: str, message: bytes, /) -> Awaitable[Any]:
        """PUBLISH."""


Rooms = str | Collection[str] | None


class Emitter:
    """Reaches the clients of every server, Node's and ours, that shares the Redis.

    A working example::

        emitter = Emitter(redis.asyncio.Redis.from_url("redis://127.0.0.1"))
        await emitter.emit("news", {"text": "hello"}, to="lobby")

    Every method returns when Redis has taken the message, and raises what the client raises if it does not. Rooms are
    room names or socket ids; None: everyone in the namespace; an empty collection: nobody.

    Args:
        redis: Whatever publishes; its life is the caller's.
        namespace: Whose clients.
        key: Begins every channel; as the servers have it.
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
            event: Its name.
            data: Its argument; a tuple: several; None: none. ``bytes`` anywhere in it travel as binary.
            to: Who gets it.
            skip: Who does not, although it is in ``to``.
            volatile: A client that is behind may miss it.

        Raises:
            EncodeError: the data cannot be sent.
        """
        if event in RESERVED_EVENTS:
            raise EncodeError(f"{event!r} is a reserved event name")
        args = () if data is None else data if isinstance(data, tuple) else (data,)
        await self._tell(Broadcast(self._who(to, skip), EncodedEvent.from_args(event, *args), volatile))

    async def join(self, rooms: str | Collection[str], *, to: Rooms, skip: Rooms = ()) -> None:
        """Put the selected sockets into rooms."""
        await self._tell(Join(self._who(to, skip), _tuple(rooms)))

    async def leave(self, rooms: str | Collection[str], *, to: Rooms, skip: Rooms = ()) -> None:
        """Take the selected sockets out of rooms."""
        await self._tell(Leave(self._who(to, skip), _tuple(rooms)))

    async def disconnect(self, *, to: Rooms, skip: Rooms = (), close: bool = False) -> None:
        """Put the selected sockets out of the namespace; with ``close`` their connections end."""
        await self._tell(Disconnect(self._who(to, skip), close))

    def _who(self, to: Rooms, skip: Rooms) -> Selection:
        return Selection(self._namespace, None if to is None else _tuple(to), _tuple(skip or ()))

    async def _tell(self, command: Command) -> None:
        encoded = encode_command(self._key, None, command)
        if encoded is not None:
            await self._redis.publish(*encoded)


def _tuple(names: str | Collection[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
