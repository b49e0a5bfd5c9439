"""python-socketio's client managers: what applications read of rooms and sids, and the bus to other servers.

The bus is that of Node's adapters: a server here shares it with Node and with ``@socket.io/redis-emitter``, not with
python-socketio, whose messages are others (JSON on one channel). Move all servers and emitters of a cluster together.

Layer: realtime.compat. Source: python-socketio 5.18, ``base_manager``, ``async_manager``, ``async_redis_manager``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from roomcast.realtime.adapters.memory import MemoryAdapter
from roomcast.realtime.cluster.commands import Adapter, Command
from roomcast.realtime.cluster.nodes import Directory
from roomcast.realtime.compat.json_module import JsonModule, JsonWriter
from roomcast.realtime.compat.rooms import RoomViews
from roomcast.realtime.compat.write_only import WriteOnly

if TYPE_CHECKING:
    from roomcast.redis_client import RedisOptions

Room: TypeAlias = Any  # a string, or a number or another hashable value that applications use as one

# Names in redis-py, and in `RedisOptions`.
_REDIS_OPTIONS: Final = {
    "username": "username",
    "password": "password",
    "db": "db",
    "socket_connect_timeout": "connect_timeout_s",
    "socket_timeout": "command_timeout_s",
    "health_check_interval": "probe_interval_s",
}


_NOT_CALLED: Final = frozenset(
    {"emit", "disconnect", "enter_room", "leave_room", "close_room", "can_disconnect", "pre_connect", "connect"}
)


class AsyncManager:
    """The clients of one server.

    Args:
        adapter: Connects the server to others, such as `roomcast.realtime.adapters.redis.RedisAdapter`.
        directory: Finds the other servers, so that polling needs no sticky sessions; see `Server`.

    Attributes:
        server: The `AsyncServer`; None before `set_server`.
        adapter: As given, or one without other servers.
        directory: As given.
    """

    def __init__(self, adapter: Adapter | None = None, directory: Directory | None = None) -> None:
        self.server: Any = None
        self.adapter: Adapter = MemoryAdapter() if adapter is None else adapter
        self.directory = directory

    def set_server(self, server: Any) -> None:
        """Set the server whose clients these are.

        Raises:
            ValueError: a subclass overrides methods that the server does not call.
        """
        own = [cls for cls in type(self).__mro__ if not cls.__module__.startswith(__name__)]
        overridden = sorted({name for cls in own for name in vars(cls).keys() & _NOT_CALLED})
        if overridden:
            raise ValueError(f"the server does not call {', '.join(overridden)} of {type(self).__name__}")
        self.server = server

    def initialize(self) -> None:
        """Called before the first client of the server connects."""

    @property
    def rooms(self) -> Mapping[str, Mapping[Room, Mapping[str, str]]]:
        """Engine.IO session ids by namespace, room (None: all clients) and sid, as they are now. For reading only."""
        return RoomViews(self._bound.native.engine)

    def get_namespaces(self) -> Collection[str]:
        """The namespaces that have clients."""
        return self.rooms.keys()

    def get_participants(self, namespace: str, room: Room | list[Room]) -> Iterator[tuple[str, str]]:
        """The sid and the Engine.IO session id of each client in a room, or in one of several."""
        rooms = self.rooms.get(namespace, {})
        found: dict[str, str] = {}
        for name in room if isinstance(room, list | tuple) else [room]:
            found.update(rooms.get(name, {}))
        yield from found.items()

    def get_rooms(self, sid: str, namespace: str) -> list[Room]:
        """The rooms of a client."""
        rooms: list[Room] = self._bound.rooms(sid, namespace)
        return rooms

    def is_connected(self, sid: str | None, namespace: str) -> bool:
        """Whether the client is connected to the namespace on this server."""
        socket = None if sid is None else self._bound.find(sid, namespace)
        return socket is not None and socket.connected

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        """The sid of an Engine.IO session in a namespace."""
        connection = self._bound.native.engine.connections.get(eio_sid)
        socket = None if connection is None else connection.sockets.get(namespace)
        return None if socket is None else socket.sid

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The Engine.IO session id of a client."""
        return self.rooms.get(namespace, {}).get(None, {}).get(sid)

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Whether the client is connected to this server."""
        return self.is_connected(sid, namespace)

    async def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = None,
        room: Room | None = None,
        skip_sid: str | Collection[str] | None = None,
        callback: Any = None,
        to: Room | None = None,
        ignore_queue: bool = False,
    ) -> None:
        """`AsyncServer.emit`."""
        await self._bound.emit(event, data, to, room, skip_sid, namespace, callback, ignore_queue)

    async def disconnect(self, sid: str, namespace: str | None = None, ignore_queue: bool = False) -> None:
        """`AsyncServer.disconnect`."""
        await self._bound.disconnect(sid, namespace, ignore_queue)

    async def enter_room(self, sid: str, namespace: str | None, room: Room, eio_sid: str | None = None) -> None:  # noqa: ARG002 - python-socketio's signature
        """`AsyncServer.enter_room`."""
        await self._bound.enter_room(sid, room, namespace)

    async def leave_room(self, sid: str, namespace: str | None, room: Room) -> None:
        """`AsyncServer.leave_room`."""
        await self._bound.leave_room(sid, room, namespace)

    async def close_room(self, room: Room, namespace: str | None = None) -> None:
        """`AsyncServer.close_room`."""
        await self._bound.close_room(room, namespace)

    @property
    def _bound(self) -> Any:
        if self.server is None:
            raise RuntimeError("the manager has no server: pass it to AsyncServer(client_manager=...)")
        return self.server


class AsyncRedisManager(AsyncManager):
    """A cluster of servers over Redis, or an emitter for a process without clients (``write_only=True``).

    The protocol is that of Node's ``@socket.io/redis-adapter``. A server that also shares it with Node needs
    ``channel="socket.io"``, the default there.

    Args:
        url: ``redis[s]://[user:password@]host[:port][/db]``, or ``redis[s]+sentinel://host:port,host:port/master[/db]``
            with the name of the master before the number of the database, or ``redis[s]+cluster://host:port,host:port``.
        channel: Prefix of the names of all channels; the ``key`` of Node's adapter.
        write_only: Whether to emit only, without a server.
        logger: Ignored by servers, which have one; a write-only manager logs nothing and raises the errors of Redis.
        json: For a write-only manager; a server has its own.
        redis_options: ``username``, ``password``, ``db``, ``socket_connect_timeout``, ``socket_timeout`` and
            ``health_check_interval`` of redis-py. For others there is `roomcast.redis_client.RedisOptions`.

    Raises:
        ValueError: the URL is wrong, or an option is not among these.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        channel: str = "socketio",
        write_only: bool = False,
        logger: Any = None,
        json: JsonModule | None = None,
        redis_options: Mapping[str, Any] | None = None,
    ) -> None:
        # Local: a server without Redis does not need redis-py.
        from roomcast.realtime.adapters.redis import RedisAdapter, RedisAdapterOptions

        options = replace(redis_options_of(url), **_given(redis_options or {}))
        super().__init__(None if write_only else RedisAdapter(options, RedisAdapterOptions(key=channel)))
        self.channel = channel
        self.write_only = write_only
        self.redis_url = url
        self.logger = logger
        self._write_only = WriteOnly(self._publish, JsonWriter(json))
        self._options = options
        self._commands: Any = None

    def set_server(self, server: Any) -> None:
        """See `AsyncManager`.

        Raises:
            ValueError: the manager is write-only.
        """
        if self.write_only:
            raise ValueError("a write_only manager is for a process without a server: leave out write_only")
        super().set_server(server)

    @property
    def _bound(self) -> Any:
        if not self.write_only:
            return super()._bound
        if self._commands is None:
            from roomcast.redis_client import Commands

            self._commands = Commands(self._options)
        return self._write_only

    async def _publish(self, command: Command) -> None:
        from roomcast.realtime.adapters.redis.messages.protocol import encode_command

        encoded = encode_command(self.channel, None, command)
        if encoded is not None:
            await self._commands.publish(*encoded)

    async def close(self) -> None:
        """Close the connections of a write-only manager. Harmless otherwise."""
        commands, self._commands = self._commands, None
        if commands is not None:
            await commands.close()


def redis_options_of(url: str) -> RedisOptions:
    """How to connect to the Redis of a URL, in python-socketio's form.

    Raises:
        ValueError: the URL is wrong.
    """
    from roomcast.redis_client.url import parse_url

    try:
        return parse_url(_native_url(url))
    except ValueError as error:
        raise ValueError(f"the URL of Redis {error}") from None


def _given(redis_options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(redis_options.keys() - _REDIS_OPTIONS.keys())
    if unknown:
        raise ValueError(
            f"redis_options {unknown} are not supported: write TLS as rediss:// in the URL, or pass"
            " AsyncManager(RedisAdapter(RedisOptions(...)))"
        )
    return {_REDIS_OPTIONS[name]: value for name, value in redis_options.items() if value is not None}


def _native_url(url: str) -> str:
    """The URL with the name of a Sentinel master before the database, which python-socketio writes after it."""
    scheme, separator, rest = url.partition("://")
    place, _, path = rest.partition("/")
    parts = [part for part in path.split("/") if part]
    if scheme.endswith("+sentinel") and len(parts) == 2 and parts[0].isdigit():  # noqa: PLR2004 - database, master
        return f"{scheme}://{place}/{parts[1]}/{parts[0]}"
    return f"{scheme}{separator}{rest or 'localhost'}"
