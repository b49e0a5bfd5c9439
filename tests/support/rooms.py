"""The rooms of a server with a sharded adapter, for tests."""

from __future__ import annotations

from collections.abc import Collection

from roomcast.realtime import EncodedEvent
from roomcast.realtime.adapters.redis import ShardedRedisAdapter
from roomcast.realtime.cluster.commands import Broadcast, Selection
from roomcast.redis_client import RedisOptions
from support.recording_node import RecordingNode


class NodeWithRooms(RecordingNode):
    """A node whose rooms of the namespace ``/`` the test sets."""

    def __init__(self) -> None:
        super().__init__()
        self.members: set[str] = set()

    def rooms(self, namespace: str) -> Collection[str]:
        """See `cluster.commands.Node`."""
        return self.members if namespace == "/" else ()


class Rooms:
    """One server: it reports its rooms to the adapter as the engine does."""

    def __init__(self, options: RedisOptions) -> None:
        self.node = NodeWithRooms()
        self.adapter = ShardedRedisAdapter(options)
        self.adapter.bind(self.node)

    def join(self, room: str) -> None:
        self.node.members.add(room)
        self.adapter.watch_room("/", room, True)

    def leave(self, room: str) -> None:
        self.node.members.discard(room)
        self.adapter.watch_room("/", room, False)

    def say(self, room: str, number: int) -> None:
        """Broadcast a number to a room of the other servers."""
        self.adapter.publish(Broadcast(Selection("/", (room,)), EncodedEvent.from_args("number", number)))

    def heard(self, room: str) -> list[int]:
        """The numbers that were received for a room, in order."""
        broadcasts = [command for command in self.node.commands if isinstance(command, Broadcast)]
        return [command.message.args[1] for command in broadcasts if command.to.rooms == (room,)]

    def channels(self) -> set[str]:
        """The channels of namespaces and rooms that must be subscribed."""
        shared = ("socket.io#/#", "socket.io#/x#")
        own = (f"{name}{self.adapter.uid}#" for name in shared)
        return {*shared, *own, *(f"socket.io#/#{room}#" for room in self.node.members)}
