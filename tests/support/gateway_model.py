"""A model database with its relay, an unreliable log, and recording sockets, around the real feeds and joins."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from roomcast.chat.ports import (
    Appended,
    CannotReplay,
    FeedSink,
    Gap,
    Head,
    LogEntry,
    LogUnavailable,
    Replay,
    SignalSink,
    Subscription,
    TurnFrame,
    encode_frame,
)
from roomcast.eventlog.memory import MemoryEventLog, MemoryLogOptions
from roomcast.gateway.delivery.chat_feed import ChatFeed, FeedOptions
from roomcast.gateway.delivery.feeds import Feeds
from roomcast.gateway.ports import Admission, AdmissionDenied, ApiUnavailable, Cursor
from roomcast.gateway.rooms import chat_room
from roomcast.realtime import EncodedEvent


def entry(seq: int, epoch: str = "e1", chat_id: str = "a", version: int = 1, removed: str | None = None) -> LogEntry:
    """A message, or the removal of a member."""
    payload = {"chatId": chat_id, "epoch": epoch, "seq": seq}
    event = ["new-msg", payload] if removed is None else ["member-removed", {**payload, "userId": removed}]
    return LogEntry(seq, json.dumps(event, separators=(",", ":")).encode(), version=version)


class _UnreliableSubscription:
    """Deliveries keep their order, take time, and may be lost."""

    def __init__(self, log: UnreliableLog) -> None:
        self._log = log
        self._due = 0.0
        self._in_transit: deque[Callable[[], None]] = deque()
        self._open = True
        self.inner: Subscription

    def deliver(self, delivery: Callable[[], None]) -> None:
        if self._log.drops_deliveries:
            return
        if self._log.random is None:
            delivery()
            return
        loop = asyncio.get_running_loop()
        self._due = max(self._due, loop.time()) + self._log.random.choice((0, 0.001, 0.05))
        self._log.last_due = max(self._log.last_due, self._due)
        self._in_transit.append(delivery)
        # Timers for the same time fire in no particular order; the deliveries keep theirs.
        loop.call_at(self._due, self._arrive)

    def _arrive(self) -> None:
        delivery = self._in_transit.popleft()
        if self._open:
            delivery()

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._log.subscriptions -= 1
        await self.inner.close()


class UnreliableLog:
    """The memory log behind an unreliable network: answers and deliveries take time and may fail.

    Attributes:
        available: False: every call raises `LogUnavailable`.
        drops_deliveries: True: live entries and signals are lost.
        subscriptions: Open ones.
        last_due: When the last delivery arrives, in the loop's time.
    """

    def __init__(self, random: Random | None = None, options: MemoryLogOptions | None = None) -> None:
        self.inner = MemoryEventLog(options)
        self.random = random
        self.available = True
        self.drops_deliveries = False
        self.subscriptions = 0
        self.last_due = 0.0

    async def wait_for_deliveries(self) -> None:
        """Wait until every delivery that is in transit now has arrived."""
        await asyncio.sleep(max(0.0, self.last_due - asyncio.get_running_loop().time()) + 0.001)

    async def _pause(self) -> None:
        if self.random is not None:
            for _ in range(self.random.choice((0, 0, 1, 3))):
                await asyncio.sleep(self.random.choice((0, 0.001, 0.02)))
        if not self.available:
            raise LogUnavailable

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        await self._pause()
        return await self.inner.append(chat_id, epoch, entries)

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        await self._pause()
        return await self.inner.seed(chat_id, head, entries)

    async def head(self, chat_id: str) -> Head | None:
        await self._pause()
        found = await self.inner.head(chat_id)
        await self._pause()
        return found

    async def read(self, chat_id: str, epoch: str, after: int, limit: int) -> Replay | CannotReplay:
        await self._pause()
        found = await self.inner.read(chat_id, epoch, after, limit)
        await self._pause()
        return found

    async def signal(self, chat_id: str, payload: bytes) -> None:
        await self._pause()
        await self.inner.signal(chat_id, payload)

    async def subscribe(self, chat_id: str, sink: FeedSink, signals: SignalSink | None = None) -> Subscription:
        await self._pause()
        self.subscriptions += 1
        subscription = _UnreliableSubscription(self)
        inner = await self.inner.subscribe(
            chat_id,
            lambda epoch, entries: subscription.deliver(lambda: sink(epoch, entries)),
            None if signals is None else lambda payload: subscription.deliver(lambda: signals(payload)),
        )
        subscription.inner = inner
        return subscription

    def drop(self, chat_id: str) -> None:
        """Delete a chat's log, as FLUSHALL does."""
        self.inner._chats.pop(chat_id, None)


class Database:
    """The events table, its relay, and the `ChatAdmission` of a gateway beside it."""

    def __init__(self, log: UnreliableLog, seed_entries: int = 20) -> None:
        self.log = log
        self.epochs = ["e1"]
        self.heads: dict[str, int] = defaultdict(int)
        self.written_in: dict[str, list[int]] = defaultdict(list)  # epoch index of each event
        self.available = True
        self.members: set[str] | None = None
        self.removals: dict[tuple[str, int], str] = {}
        self.grants: dict[tuple[str, str | None], Head] = {}  # the cache of a gateway; empty: it has none
        self.caches_grants = False
        self.admissions = 0
        self.publish_requests = 0
        self._seed_entries = seed_entries
        self._relaying: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @property
    def epoch(self) -> str:
        return self.epochs[-1]

    def commit(self, chat_id: str) -> None:
        self.written_in[chat_id].append(len(self.epochs) - 1)
        self.heads[chat_id] += 1

    def remove(self, chat_id: str, user_id: str) -> None:
        """Remove a member: an event of the chat."""
        assert self.members is not None
        self.members.discard(user_id)
        self.commit(chat_id)
        self.removals[chat_id, self.heads[chat_id]] = user_id

    def restore(self, lose: int) -> None:
        """Restore a backup that lacks the newest events of each chat; it begins a new epoch."""
        self.epochs.append(f"e{len(self.epochs) + 1}")
        for chat_id in list(self.heads):
            keep = max(0, self.heads[chat_id] - lose)
            self.heads[chat_id] = keep
            del self.written_in[chat_id][keep:]

    def holds(self, chat_id: str, cursor: Cursor | None) -> bool:
        if cursor is None:
            return True
        if cursor.epoch not in self.epochs:
            return False
        if cursor.seq == 0:
            return True
        if cursor.seq > self.heads[chat_id]:
            return False
        return self.written_in[chat_id][cursor.seq - 1] <= self.epochs.index(cursor.epoch)

    async def publish(self, chat_id: str) -> None:
        """The relay's work, single-flight for each chat."""
        async with self._relaying[chat_id]:
            for _ in range(5):
                epoch, last = self.epoch, self.heads[chat_id]
                head = await self.log.head(chat_id)
                if head is None or head.epoch != epoch:
                    first = max(1, last - self._seed_entries + 1)
                    entries = [self._entry(chat_id, seq, epoch) for seq in range(first, last + 1)]
                    await self.log.seed(chat_id, Head(epoch, last), entries)
                    continue
                if head.seq >= last:
                    return
                entries = [self._entry(chat_id, seq, epoch) for seq in range(head.seq + 1, last + 1)]
                await self.log.append(chat_id, epoch, entries)

    def _entry(self, chat_id: str, seq: int, epoch: str) -> LogEntry:
        return entry(seq, epoch, chat_id, removed=self.removals.get((chat_id, seq)))

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        self.admissions += 1
        if not self.available and (chat_id, user_id) in self.grants:
            return Admission(self.grants[chat_id, user_id], reset=False)
        self._check(user_id)
        head = Head(self.epoch, self.heads[chat_id])
        if self.caches_grants:
            self.grants[chat_id, user_id] = head
        return Admission(head, not self.holds(chat_id, since))

    async def confirm(self, chat_id: str, user_id: str) -> None:
        self.admissions += 1
        self._check(user_id)

    def revoke(self, chat_id: str, user_id: str) -> None:
        self.grants.pop((chat_id, user_id), None)

    def _check(self, user_id: str | None) -> None:
        if not self.available:
            raise ApiUnavailable
        if self.members is not None and user_id not in self.members:
            raise AdmissionDenied

    async def stop_turn(self, chat_id: str, turn_id: str, user_id: str | None) -> None:
        raise NotImplementedError

    async def request_publish(self, chat_id: str) -> None:
        self.publish_requests += 1
        if not self.available:
            raise ApiUnavailable
        try:
            await self.publish(chat_id)
        except LogUnavailable:
            return  # the real relay retries by itself


class ModelStreams:
    """The streams of turns behind the same network as the log: a read takes time, and may fail.

    Attributes:
        reads: How many reads there were.
        stores: False: frames are only published, as by a Redis whose memory is full.
    """

    def __init__(self, log: UnreliableLog) -> None:
        self.log = log
        self.reads = 0
        self.stores = True
        self.frames: dict[tuple[str, str], list[TurnFrame]] = defaultdict(list)

    async def append(self, chat_id: str, frame: TurnFrame) -> None:
        if self.stores:
            self.frames[chat_id, frame.turn_id].append(frame)
        await self.log.inner.signal(chat_id, encode_frame(frame))

    async def seed(self, chat_id: str, frame: TurnFrame) -> None:
        self.frames[chat_id, frame.turn_id] = [frame]
        await self.log.inner.signal(chat_id, encode_frame(replace(frame, first=frame.last + 1, chunks=b"[]")))

    async def read(self, chat_id: str, turn_id: str) -> Sequence[TurnFrame]:
        self.reads += 1
        await self.log._pause()
        found = tuple(self.frames[chat_id, turn_id])
        await self.log._pause()
        return found

    async def expire(self, chat_id: str, turn_id: str) -> None:
        del self.frames[chat_id, turn_id]


@dataclass
class ClientSocket:
    """A `RoomSocket` that records the frames sent to it."""

    sid: str
    rooms: LocalRooms
    connected: bool = True
    frames: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    events: list[EncodedEvent] = field(default_factory=list)

    def join(self, room: str) -> None:
        self.rooms.members[room].add(self.sid)

    def leave(self, room: str) -> None:
        self.rooms.members[room].discard(self.sid)

    def send(self, message: EncodedEvent) -> None:
        self.events.append(message)
        if self.connected:
            name, data = json.loads(message.message("/").text[2:])
            self.frames.append((name, data))

    def seqs(self) -> list[int]:
        return [int(str(data["seq"])) for name, data in self.frames if name == "new-msg"]


class LocalRooms:
    """Rooms of recording sockets."""

    def __init__(self) -> None:
        self.members: dict[str, set[str]] = defaultdict(set)
        self.sockets: dict[str, ClientSocket] = {}

    def socket(self) -> ClientSocket:
        socket = ClientSocket(f"s{len(self.sockets)}", self)
        self.sockets[socket.sid] = socket
        return socket

    def cut(self, socket: ClientSocket) -> None:
        socket.connected = False
        for members in self.members.values():
            members.discard(socket.sid)

    def broadcast(self, room: str, message: EncodedEvent, *, skip: Collection[str] = ()) -> None:
        skipped = set(skip).union(*(self.members[name] for name in skip))
        for sid in self.members[room] - skipped:
            self.sockets[sid].send(message)


class FeedWorld:
    """One gateway's feeds over a log and a database, and one socket in the room of chat ``a``."""

    def __init__(self, options: FeedOptions | None = None, log_options: MemoryLogOptions | None = None) -> None:
        self.log = UnreliableLog(options=log_options)
        self.database = Database(self.log)
        self.rooms = LocalRooms()
        self.feeds = Feeds(self.log, self.database, self.rooms, options)
        self.socket = self.rooms.socket()
        self.socket.join(chat_room("a"))

    async def commit(self, count: int = 1, *, publish: bool = True) -> None:
        for _ in range(count):
            self.database.commit("a")
        if publish:
            await self.database.publish("a")

    async def follow(self) -> ChatFeed:
        feed = await self.feeds.acquire("a")
        await feed.wait_for(Head(self.database.epoch, self.database.heads["a"]))
        return feed

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.socket.frames]
