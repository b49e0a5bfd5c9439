"""`ShardedRedisAdapter`: Node's adapter over the sharded pub/sub of Redis 7.

A room has a channel of its own, so that a broadcast to one room reaches only the servers that have a member. Rooms
whose names have 20 characters look like socket ids and use the channel of the namespace, as in Node.

Layer: realtime. Source: @socket.io/redis-adapter 8.3, ``lib/sharded-adapter.ts``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar, Final, Literal

from roomcast.realtime.adapters.redis.adapter import Taker
from roomcast.realtime.adapters.redis.cluster_adapter import ClusterAdapter
from roomcast.realtime.adapters.redis.connection_pair import Channels, Subscriptions
from roomcast.realtime.adapters.redis.messages.cluster_messages import ClusterMessage, message_of
from roomcast.realtime.adapters.redis.messages.protocol import RemoteCommand
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.cluster.commands import Broadcast, Command
from roomcast.redis_client import RedisOptions
from roomcast.wire.errors import EncodeError

# What looks like a socket id to Node.
_SID_CHARS: Final = 20
# The end of a message, which holds the uid of its server, and the namespace.
_TAIL_BYTES: Final = 64


def _is_public(room: object) -> bool:  # an application may use other types than text
    return not isinstance(room, str) or len(room) != _SID_CHARS


def _has_none(_room: object) -> bool:
    return False


@dataclass(slots=True)
class ShardChannels:
    """The channels of one namespace.

    Attributes:
        shared: Channel of the namespace; the channel of a room appends ``<room>#``.
        own: Channel for the answers to this server.
        rooms: The rooms whose channels are subscribed.
    """

    shared: str
    own: str
    rooms: set[str] = field(default_factory=set)

    def subscriptions(self) -> Subscriptions:
        """See `connection_pair.Channels`."""
        return {"SSUBSCRIBE": [self.shared, self.own, *map(self.room, self.rooms)]}

    def room(self, room: str) -> str:
        """The channel of a room."""
        return f"{self.shared}{room}#"


class ShardedRedisAdapter(ClusterAdapter):
    """`cluster.commands.Adapter` over sharded pub/sub, beside servers with Node's ``createShardedAdapter``.

    As with Node's adapter, a broadcast that follows the first join of a room may be published before the subscription
    of that room's channel has taken effect.

    Args:
        redis: How to connect to Redis 7 or later: a single server, Sentinel, or Cluster. There each channel belongs to
            one of the masters: this adapter connects to all of them, and follows slots that move.
        options: See `RedisAdapter`.
        subscription_mode: As in Node, and the same on all servers: with ``dynamic`` each room has a channel; with
            ``static`` all use the channel of the namespace, so that joins cost no subscription and every server
            receives every broadcast.
    """

    _publish_verb: ClassVar = "SPUBLISH"
    _follows_slots: ClassVar = True

    def __init__(
        self,
        redis: RedisOptions | None = None,
        options: RedisAdapterOptions | None = None,
        *,
        subscription_mode: Literal["dynamic", "static"] = "dynamic",
    ) -> None:
        if subscription_mode not in {"dynamic", "static"}:
            raise ValueError(f'subscription_mode is "dynamic" or "static", not {subscription_mode!r}')
        super().__init__(ClusterMessage.encode, redis, options)
        self._has_channel: Callable[[object], bool] = _is_public if subscription_mode == "dynamic" else _has_none
        self._mark = self.uid.encode()

    def publish(self, command: Command) -> None:
        """See `cluster.commands.Adapter`."""
        if self._task is None:
            return
        try:
            message = message_of(self.uid, command)
            if message is not None:
                self._send(self._channel_for(command, message.namespace), message.encode())
        except EncodeError as error:
            self.counters.drop("unpackable", str(error))

    def _channel_for(self, command: Command, namespace: str) -> str:
        shared = f"{self._options.key}#{namespace}#"
        if isinstance(command, Broadcast):
            rooms = frozenset(command.to.rooms or ())
            if len(rooms) == 1:
                (room,) = rooms
                return f"{shared}{room}#" if self._has_channel(room) else shared
        return shared

    # -- rooms --------------------------------------------------------------------------------------------------------

    def watch_room(self, namespace: str, room: str, occupied: bool) -> None:
        """See `cluster.commands.RoomWatcher`."""
        channels = self._channels.get(namespace)
        if (
            not isinstance(channels, ShardChannels)
            or occupied == (room in channels.rooms)
            or not self._has_channel(room)
        ):
            return
        name = channels.room(room)
        if occupied:
            channels.rooms.add(room)
            self._routes[name.encode(errors="surrogatepass")] = partial(self._take_message, namespace)
        else:
            channels.rooms.discard(room)
            self._routes.pop(name.encode(errors="surrogatepass"), None)
        if self._pair is not None:
            (self._pair.subscribe if occupied else self._pair.unsubscribe)({"SSUBSCRIBE": (name,)})

    # -- for `RedisAdapter` -------------------------------------------------------------------------------------------

    def _open(self, namespace: str) -> tuple[Channels, dict[str, Taker]]:
        shared = f"{self._options.key}#{namespace}#"
        channels = ShardChannels(shared, f"{shared}{self.uid}#")
        if self._node is not None:
            channels.rooms.update(filter(self._has_channel, self._node.rooms(namespace)))
        take = partial(self._take_message, namespace)
        return channels, {
            channels.own: partial(self._take_own, namespace),
            **dict.fromkeys((channels.shared, *map(channels.room, channels.rooms)), take),
        }

    def _is_own(self, data: bytes) -> bool:
        # ``uid`` and ``nsp`` are the last fields of a message.
        return self._mark in data[-_TAIL_BYTES:]

    def _take_message(self, namespace: str, name: str, data: bytes) -> None:
        del name
        assert self._node is not None  # noqa: S101 - start needs it
        message = ClusterMessage.decode(data)
        if message is None or message.uid == self.uid or message.namespace != namespace:
            self.counters.ignored += 1
            return
        if message.is_response:
            self._receive_response(message, len(data))
            return
        self.counters.received += 1
        content = message.content()
        if isinstance(content, RemoteCommand):
            self._node.apply_command(content.command)
        elif isinstance(content, Broadcast):
            self._node.apply_command(content)
        elif content is not None:
            self._answer(namespace, content)
