"""Presence of several gateways in virtual time: they share a board, signals and a directory, all of which can fail."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from random import Random

from roomcast.chat.ports import BoardSnapshot, PresenceUnavailable
from roomcast.gateway.presence.signals import Signals
from roomcast.gateway.presence.tracker import PresenceOptions, PresenceTracker
from roomcast.gateway.rooms import chat_room
from roomcast.presence.memory import MemoryPresenceBoard
from roomcast.presence.redis import RedisPresenceOptions
from support.gateway_model import ClientSocket, LocalRooms, UnreliableLog
from support.virtual_time import run_in_virtual_time

CHAT = "a"
OPTIONS = PresenceOptions()
#: Seconds until deltas and snapshots are sent, and until departures and the users of dead gateways are, too.
SETTLED_S, OFFLINE_SENT_S = 0.5, 10.0


class PresenceCluster:
    """What the gateways share: the log that carries signals, the entries on the board, and the gateways that are up."""

    def __init__(self, random: Random | None = None) -> None:
        self.log = UnreliableLog(random)
        self.entries: dict[str, dict[str, set[str]]] = {}
        self.epoch = 0
        self.gateways_up: dict[str, PresenceGateway] = {}
        self.board_down = False
        #: Seconds until the board answers or fails.
        self.answer_s = 0.0
        #: Chats for which the board fails.
        self.failing_chats: set[str] = set()
        #: The board's limit per chat.
        self.max_entries = OPTIONS.max_entries
        #: Loop time of the last refusal for lack of room, by chat.
        self.refused_at: dict[str, float] = {}
        #: Gateways that have just started: the directory finds them, but does not list them yet.
        self.unlisted: set[str] = set()
        #: Seconds that a look-up of an unknown gateway takes.
        self.lookup_s = 0.0
        self._numbers = itertools.count()

    def gateway(self) -> PresenceGateway:
        return PresenceGateway(self, f"node-{next(self._numbers):03}")

    def lose_data(self) -> None:
        """As FLUSHALL: no connection ends, so no gateway notices."""
        self.entries.clear()
        self.epoch += 1

    async def pause(self) -> None:
        if self.log.random is not None:
            await asyncio.sleep(self.log.random.choice((0, 0.001, 0.02)))


class UnreliableBoard(MemoryPresenceBoard):
    """A board that can be full, slow, or unavailable for some or all chats."""

    def __init__(self, cluster: PresenceCluster, node_id: str) -> None:
        super().__init__(node_id, cluster.entries)
        self._cluster = cluster

    async def _respond(self, chat_id: str) -> None:
        await self._cluster.pause()
        if self._cluster.answer_s:
            await asyncio.sleep(self._cluster.answer_s)
        if self._cluster.board_down or chat_id in self._cluster.failing_chats:
            raise PresenceUnavailable

    async def add(self, chat_id: str, users: Collection[str]) -> None:
        await self._respond(chat_id)
        entries = self._cluster.entries.get(chat_id, {})
        new = sorted(set(users) - entries.get(self._node_id, set()))
        room = max(0, self._cluster.max_entries - sum(map(len, entries.values())))
        if new[room:]:
            self._cluster.refused_at[chat_id] = asyncio.get_running_loop().time()
        await super().add(chat_id, new[:room])

    async def evict(self, chat_id: str, node_id: str, users: Collection[str]) -> None:
        await self._respond(chat_id)
        await super().evict(chat_id, node_id, users)

    async def read(self, chat_id: str) -> BoardSnapshot:
        await self._respond(chat_id)
        found = await super().read(chat_id)
        refused_at = self._cluster.refused_at.get(chat_id, -math.inf)
        partial = asyncio.get_running_loop().time() - refused_at < RedisPresenceOptions().ttl_s
        await self._cluster.pause()
        return replace(found, epoch=str(self._cluster.epoch), partial=partial)


class PresenceGateway:
    """Presence of one gateway; its sockets record what they are sent."""

    def __init__(self, cluster: PresenceCluster, node_id: str) -> None:
        self.cluster = cluster
        self.node_id = node_id
        cluster.gateways_up[node_id] = self
        self.rooms = LocalRooms()
        self.signals = Signals(cluster.log, node_id)
        self.presence = PresenceTracker(self.rooms, UnreliableBoard(cluster, node_id), self, self.signals, OPTIONS)
        self.task = asyncio.create_task(self.presence.run())
        self._subscribed: set[str] = set()

    def alive(self) -> Collection[str]:
        return self.cluster.gateways_up.keys() - self.cluster.unlisted

    async def is_alive(self, node_id: str) -> bool:
        if node_id not in self.cluster.gateways_up and self.cluster.lookup_s:
            await asyncio.sleep(self.cluster.lookup_s)
        return node_id in self.cluster.gateways_up

    async def join(self, user: str | None, chat_id: str = CHAT, socket: ClientSocket | None = None) -> ClientSocket:
        if chat_id not in self._subscribed:
            self._subscribed.add(chat_id)
            await self.cluster.log.subscribe(
                chat_id, lambda _epoch, _entries: None, lambda payload: self.signals.take(chat_id, payload)
            )
        socket = socket or self.rooms.socket()
        if user is not None:
            self.presence.identify(socket.sid, user)
        socket.join(chat_room(chat_id))
        self.presence.entered(socket, chat_id)
        return socket

    def leave(self, socket: ClientSocket, chat_id: str = CHAT) -> None:
        socket.leave(chat_room(chat_id))
        self.presence.left(socket.sid, chat_id)

    def cut(self, socket: ClientSocket) -> None:
        self.rooms.cut(socket)
        for chat_id in list(self.presence._chats_of_socket.get(socket.sid, ())):
            self.presence.left(socket.sid, chat_id)
        self.presence.disconnected(socket.sid)

    def pause(self) -> None:
        """As SIGSTOP, for longer than the lease."""
        del self.cluster.gateways_up[self.node_id]
        self.task.cancel()

    def resume(self) -> None:
        """As SIGCONT."""
        self.cluster.gateways_up[self.node_id] = self
        self.task = asyncio.create_task(self.presence.run())

    def die(self) -> None:
        """As SIGKILL: no signal is sent, and the entries stay on the board."""
        del self.cluster.gateways_up[self.node_id]
        self.task.cancel()
        self.rooms = self.presence._rooms = LocalRooms()
        self.presence._sync._board = UnreliableBoard(PresenceCluster(), self.node_id)
        self.signals._log = UnreliableLog()

    async def end(self) -> None:
        self.task.cancel()
        await self.presence.close()
        await self.signals.close()


def online_users(socket: ClientSocket, chat_id: str = CHAT) -> set[str] | None:
    """The online users by the events that the client was sent; None before the first snapshot."""
    online: set[str] | None = None
    for name, event in socket.frames:
        if name != "presence" or event["chatId"] != chat_id:
            continue
        if event["reset"]:
            online = set(event["online"])
        elif online is not None:
            assert not set(event["online"]) & set(event["offline"])
            online = (online | set(event["online"])) - set(event["offline"])
    return online


def run(scenario: Callable[[PresenceCluster], Awaitable[None]]) -> None:
    async def main() -> None:
        cluster = PresenceCluster()
        await scenario(cluster)
        await asyncio.gather(*(gateway.end() for gateway in list(cluster.gateways_up.values())))

    run_in_virtual_time(main())
