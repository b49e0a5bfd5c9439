"""``RedisManager`` of python-socketio for processes that only emit, such as workers of Celery.

Layer: realtime.compat. Source: python-socketio 5.18, ``redis_manager``. The protocol is that of `managers`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from roomcast.realtime.cluster.commands import Command
from roomcast.realtime.compat.json_module import JsonModule, JsonWriter
from roomcast.realtime.compat.managers import Room, redis_options_of
from roomcast.realtime.compat.write_only import WriteOnly


class RedisManager:
    """Emits to the clients of all servers that share the Redis and the channel. Its methods block.

    Args:
        url: ``redis[s]://[user:password@]host[:port][/db]``.
        channel: Prefix of the names of all channels; that of the servers.
        write_only: True: there is no synchronous server.
        logger: Ignored: the methods raise the errors of redis-py.
        json: A module with ``dumps``, which writes what is sent.
        redis_options: Further arguments of ``redis.Redis.from_url``.

    Raises:
        ValueError: ``write_only`` is False, or the URL is wrong.
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
        # Local: a server without Redis needs neither redis-py nor msgpack.
        from redis import Redis

        from roomcast.realtime.adapters.redis.messages.protocol import encode_command

        if not write_only:
            raise ValueError("RedisManager is for processes without a server: pass write_only=True")
        options = redis_options_of(url)
        if options.cluster or options.sentinel_master is not None:
            raise ValueError("RedisManager needs the URL of one server; AsyncRedisManager takes Sentinel and Cluster")
        self.channel = channel
        self.write_only = write_only
        self.redis_url = url
        self.logger = logger
        self.redis = Redis.from_url(url, **(redis_options or {}))
        self._commands = WriteOnly(self._publish, JsonWriter(json))
        self._encode = encode_command

    def emit(
        self,
        event: str,
        data: Any,
        namespace: str | None = None,
        room: Room | None = None,
        skip_sid: str | Collection[str] | None = None,
        callback: Any = None,
        to: Room | None = None,
    ) -> None:
        """See `WriteOnly.emit`."""
        self._commands.emit(event, data, to, room, skip_sid, namespace, callback)

    def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """Disconnect a client, on whichever server it is connected."""
        self._commands.disconnect(sid, namespace)

    def enter_room(self, sid: str, namespace: str | None, room: Room) -> None:
        """Add a client to a room."""
        self._commands.enter_room(sid, room, namespace)

    def leave_room(self, sid: str, namespace: str | None, room: Room) -> None:
        """Remove a client from a room."""
        self._commands.leave_room(sid, room, namespace)

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Remove all members from a room."""
        self._commands.close_room(room, namespace)

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    def _publish(self, command: Command) -> None:
        encoded = self._encode(self.channel, None, command)
        if encoded is not None:
            self.redis.publish(*encoded)
