"""Random interleavings of joins with sends, reconnects and faults, checked against the delivery guarantee."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from roomcast.chat.ports import LogUnavailable
from roomcast.eventlog.memory import MemoryLogOptions
from roomcast.gateway.delivery.chat_feed import FeedOptions
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.delivery.joins import JoinOptions, JoinRefused, Joins
from roomcast.gateway.delivery.replay import ReplayLimits
from roomcast.gateway.ports import Cursor
from support.gateway_model import ClientSocket, Database, LocalRooms, UnreliableLog
from support.virtual_time import run_in_virtual_time

CHATS = ("a", "b")
CLIENTS = 3
REPLAY_ENTRIES = 10


class Client:
    """Follows chats over one socket at a time and checks every frame against the guarantee."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.cursors: dict[str, Cursor] = {}
        self.joined: dict[str, Cursor] = {}
        self.socket: ClientSocket = world.rooms.socket()

    def reconnect(self) -> None:
        """Replace the socket; the cursors stay."""
        self.apply_received()
        self.world.rooms.cut(self.socket)
        self.world.joins.drop(self.socket.sid)
        self.joined.clear()
        self.socket = self.world.rooms.socket()

    async def join(self, chat_id: str, *, with_cursor: bool) -> None:
        since = self.cursors.get(chat_id) if with_cursor else None
        socket = self.socket
        try:
            ack = await self.world.joins.join(socket, chat_id, None, since)
        except JoinRefused as refused:
            assert refused.code == "unavailable"  # noqa: PT017 - the only valid code
            assert not self.world.faultless or socket is not self.socket
            return
        if socket is not self.socket:
            return
        # In the loop turn of the ack: these frames precede it on the connection.
        frames = self._unread(chat_id)
        note(f"{self.name} joined {chat_id} since {since}: {ack}")
        if chat_id in self.joined:
            # Joins of one chat are serialised, so this one is a repeat.
            self._apply(chat_id, frames)
            if ack.recovered and since is not None:
                assert self.joined[chat_id].seq >= ack.seq or not frames
            return
        if ack.recovered and since is not None:
            assert [frame["seq"] for _, frame in frames] == list(range(since.seq + 1, ack.seq + 1))
        else:
            assert frames == [], "a partial replay"
            if since is not None and self.world.faultless:
                assert ack.seq - since.seq > REPLAY_ENTRIES
        here = Cursor(epoch=ack.epoch, seq=ack.seq)
        self.joined[chat_id] = here
        # A client that was not recovered pages through REST now.
        self.cursors[chat_id] = here

    async def leave(self, chat_id: str) -> None:
        socket = self.socket
        await self.world.joins.leave(socket, chat_id)
        if socket is self.socket:
            self._apply(chat_id, self._unread(chat_id))
            self.joined.pop(chat_id, None)

    def apply_received(self) -> None:
        """Apply the received frames of all chats."""
        for chat_id in CHATS:
            self._apply(chat_id, self._unread(chat_id))

    def _unread(self, chat_id: str) -> list[tuple[str, dict[str, Any]]]:
        mine = [frame for frame in self.socket.frames if frame[1].get("chatId") == chat_id]
        for frame in mine:
            self.socket.frames.remove(frame)
        return mine

    def _apply(self, chat_id: str, frames: list[tuple[str, dict[str, Any]]]) -> None:
        for name, data in frames:
            assert chat_id in self.joined, f"{self.name} got {name} of {chat_id} without being in it"
            here = self.joined[chat_id]
            if name == "resync":
                assert not self.world.faultless
                assert data["reset"] or data["epoch"] == here.epoch
                assert data["reset"] or data["seq"] >= here.seq
            else:
                assert data["seq"] == here.seq + 1, f"{self.name} in {chat_id}: {data['seq']} after {here}"
            self.joined[chat_id] = self.cursors[chat_id] = Cursor(epoch=data["epoch"], seq=data["seq"])


class World:
    def __init__(self, random: Random, *, faultless: bool) -> None:
        self.faultless = faultless
        # A short log is one of the faults.
        kept = 1_000 if faultless else 12
        self.log = UnreliableLog(random, MemoryLogOptions(max_entries=kept))
        self.database = Database(self.log, seed_entries=kept - 4)
        self.rooms = LocalRooms()
        self.feeds = Feeds(self.log, self.database, self.rooms, FeedOptions(linger_s=0.1))
        self.joins = Joins(self.feeds, self.database, JoinOptions(replay=ReplayLimits(max_entries=REPLAY_ENTRIES)))
        self.clients = [Client(self, f"client {number}") for number in range(CLIENTS)]
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, work: Any) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def publish(self, chat_id: str) -> None:
        """The relay, after a commit; if it fails, the next request to publish repeats it."""
        with suppress(LogUnavailable):
            await self.database.publish(chat_id)


CLIENT = st.integers(0, CLIENTS - 1)
CHAT = st.sampled_from(CHATS)
PAUSE = st.tuples(st.just("wait"), st.sampled_from((0.0, 0.001, 0.02, 0.05, 0.3)))
#: Steps without faults; the frequent ones are listed several times.
ORDINARY = (
    st.tuples(st.just("send"), CHAT, st.integers(1, 3)),
    st.tuples(st.just("send"), CHAT, st.just(1)),
    PAUSE,
    PAUSE,
    st.tuples(st.just("join"), CLIENT, CHAT, st.booleans()),
    st.tuples(st.just("return"), CLIENT),
    st.tuples(st.just("return"), CLIENT),
    st.tuples(st.just("leave"), CLIENT, CHAT),
    st.tuples(st.just("wait"), st.sampled_from((2.0, 40.0))),
    st.tuples(st.just("sweep")),
)
FAULTS = (
    st.tuples(st.just("lose"), st.booleans()),
    st.tuples(st.just("log"), st.booleans()),
    st.tuples(st.just("api"), st.booleans()),
    st.tuples(st.just("drop"), CHAT),
    st.tuples(st.just("restore"), st.integers(0, 3)),
)


def do(world: World, step: tuple[Any, ...]) -> None:
    """Start one step; it may overlap the next ones."""
    match step:
        case ("send", chat_id, count):
            for _ in range(count):
                world.database.commit(chat_id)
            world.start(world.publish(chat_id))
        case ("join", number, chat_id, with_cursor):
            world.start(world.clients[number].join(chat_id, with_cursor=with_cursor))
        case ("leave", number, chat_id):
            world.start(world.clients[number].leave(chat_id))
        case ("return", number):
            client = world.clients[number]
            client.reconnect()
            for chat_id in client.cursors:
                world.start(client.join(chat_id, with_cursor=True))
        case ("sweep",):
            world.start(world.feeds.sweep())
        case _:
            fail(world, step)


def fail(world: World, step: tuple[Any, ...]) -> None:
    """Begin or end a fault."""
    match step:
        case ("lose", lose):
            world.log.drops_deliveries = lose
        case ("log", available):
            world.log.available = available
        case ("api", available):
            world.database.available = available
        case ("drop", chat_id):
            world.log.drop(chat_id)
        case ("restore", lose):
            world.database.restore(lose)


async def play(steps: list[tuple[Any, ...]], random: Random, *, faultless: bool) -> None:
    world = World(random, faultless=faultless)
    for step in [("join", number, chat_id, False) for number in range(CLIENTS) for chat_id in CHATS] + steps:
        note(repr(step))
        if step[0] == "wait":
            await asyncio.sleep(step[1])
        else:
            do(world, step)
    await settle(world)


async def settle(world: World) -> None:
    """End all faults: every follower has reached the database's head, by events or a resync."""
    world.log.drops_deliveries = False
    world.log.available = world.database.available = True
    await asyncio.gather(*world.tasks)
    for chat_id in CHATS:
        await world.database.publish(chat_id)
    if not world.faultless:
        # An entry of an older epoch that is still in transit would set a feed back, until the sweep after it.
        await world.log.wait_for_deliveries()
        await world.feeds.sweep()
    await asyncio.sleep(1)
    for client in world.clients:
        client.apply_received()
        for chat_id, here in client.joined.items():
            assert here == Cursor(epoch=world.database.epoch, seq=world.database.heads[chat_id]), (
                f"{client.name} in {chat_id}"
            )
        world.joins.drop(client.socket.sid)
    await asyncio.sleep(1)
    assert len(world.feeds) == 0
    assert len(world.joins._sockets) == 0
    assert world.log.subscriptions == 0
    await world.feeds.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(steps=st.lists(st.one_of(*ORDINARY, *FAULTS), min_size=10, max_size=60), seed=st.integers(0, 2**32))
def test_every_follower_receives_each_event_once_in_order_or_a_resync(steps, seed) -> None:
    run_in_virtual_time(play(steps, Random(seed), faultless=False))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(steps=st.lists(st.one_of(*ORDINARY), min_size=10, max_size=60), seed=st.integers(0, 2**32))
def test_without_faults_every_event_arrives_and_no_room_resyncs(steps, seed) -> None:
    run_in_virtual_time(play(steps, Random(seed), faultless=True))
