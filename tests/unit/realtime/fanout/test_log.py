"""The order of emits, against a simple reference model."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from websockets.frames import Frame, Opcode

from roomcast.realtime.fanout.log import FanoutLog, Room
from roomcast.realtime.fanout.message import Batch, OutgoingMessage


class Recorder:
    """A connection that records each write: bytes if it is `fast`, else batches."""

    def __init__(self, name: str, *, fast: bool) -> None:
        self.name = name
        self.writes: list[bytes | list[OutgoingMessage]] = []
        self.write: Callable[[bytes], object] | None = self.writes.append if fast else None

    def send(self, batch: Batch) -> None:
        self.writes.append(list(batch.messages))

    def received(self) -> list[bytes]:
        texts: list[bytes] = []
        for write in self.writes:
            if isinstance(write, bytes):
                texts += split_frames(write)
            else:
                texts += [message.text for message in write]
        return texts

    def __repr__(self) -> str:
        return self.name


def split_frames(data: bytes) -> list[bytes]:
    """Payloads of short unmasked frames."""
    texts = []
    while data:
        length = data[1]
        assert length < 126
        texts.append(data[2 : 2 + length])
        data = data[2 + length :]
    return texts


class Tick:
    """A manual `loop.call_soon`: `end` runs the callbacks."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def __call__(self, callback: Callable[[], None]) -> None:
        self.callbacks.append(callback)

    def end(self) -> None:
        callbacks, self.callbacks = self.callbacks, []
        for callback in callbacks:
            callback()


@pytest.fixture
def tick() -> Tick:
    return Tick()


@pytest.fixture
def log(tick: Tick) -> FanoutLog[Recorder]:
    return FanoutLog(tick, limit_bytes=100_000)


def room_of(log: FanoutLog[Recorder], *members: Recorder) -> Room[Recorder]:
    room = Room("room", log)
    for member in members:
        room.add(member)
    return room


def test_a_tick_is_one_write_of_the_same_bytes_for_all_members(log: FanoutLog[Recorder], tick: Tick) -> None:
    a, b = Recorder("a", fast=True), Recorder("b", fast=True)
    room = room_of(log, a, b)
    log.broadcast([room], OutgoingMessage(b"42[1]"))
    log.broadcast([room], OutgoingMessage(b"42[2]"))
    assert a.writes == []
    assert len(tick.callbacks) == 1
    tick.end()
    expected = Frame(Opcode.TEXT, b"42[1]").serialize(mask=False) + Frame(Opcode.TEXT, b"42[2]").serialize(mask=False)
    assert a.writes == [expected]
    assert a.writes[0] is b.writes[0]


def test_members_of_the_same_two_rooms_share_the_merged_buffer(log: FanoutLog[Recorder], tick: Tick) -> None:
    a, b, c = (Recorder(name, fast=True) for name in "abc")
    one, two = room_of(log, a, b, c), room_of(log, a, b)
    for room, text in ((one, b"1"), (two, b"2"), (one, b"3")):
        log.broadcast([room], OutgoingMessage(text))
    tick.end()
    assert a.received() == [b"1", b"2", b"3"]
    assert len(a.writes) == 1
    assert a.writes[0] is b.writes[0]
    assert c.received() == [b"1", b"3"]


def test_a_member_of_two_target_rooms_gets_the_emit_once(log: FanoutLog[Recorder], tick: Tick) -> None:
    a = Recorder("a", fast=True)
    log.broadcast([room_of(log, a), room_of(log, a)], OutgoingMessage(b"x"))
    tick.end()
    assert a.received() == [b"x"]


def test_a_connection_that_joins_after_an_emit_does_not_receive_it(log: FanoutLog[Recorder], tick: Tick) -> None:
    a, late = Recorder("a", fast=True), Recorder("late", fast=True)
    room = room_of(log, a)
    log.broadcast([room], OutgoingMessage(b"before"))
    room.add(late)
    log.broadcast([room], OutgoingMessage(b"after"))
    tick.end()
    assert a.received() == [b"before", b"after"]
    assert late.received() == [b"after"]


def test_a_connection_that_leaves_after_an_emit_still_receives_it(log: FanoutLog[Recorder], tick: Tick) -> None:
    a = Recorder("a", fast=True)
    room = room_of(log, a)
    log.broadcast([room], OutgoingMessage(b"before"))
    room.discard(a)
    log.broadcast([room], OutgoingMessage(b"after"))
    tick.end()
    assert a.received() == [b"before"]


def test_a_room_copies_its_members_only_while_the_log_holds_them(log: FanoutLog[Recorder], tick: Tick) -> None:
    a, b = Recorder("a", fast=True), Recorder("b", fast=True)
    room = room_of(log, a)
    members = room.members
    log.broadcast([room], OutgoingMessage(b"x"))
    tick.end()
    room.add(b)
    assert room.members is members
    log.broadcast([room], OutgoingMessage(b"y"))
    room.discard(b)
    assert room.members is not members


def test_the_log_is_flushed_early_above_its_size_limit(tick: Tick) -> None:
    log: FanoutLog[Recorder] = FanoutLog(tick, limit_bytes=10)
    a = Recorder("a", fast=True)
    room = room_of(log, a)
    for _ in range(2):  # the first flush resets the size
        a.writes.clear()
        log.broadcast([room], OutgoingMessage(b"12345"))
        log.broadcast([room], OutgoingMessage(b"12345"))
        assert a.received() == []
        log.broadcast([room], OutgoingMessage(b"6"))
        assert a.received() == [b"12345", b"12345", b"6"]
    tick.end()
    assert len(a.writes) == 1


def test_attachments_follow_their_text(log: FanoutLog[Recorder], tick: Tick) -> None:
    a = Recorder("a", fast=True)
    log.unicast(a, OutgoingMessage(b"451-", [b"\x00\x01"]))
    tick.end()
    text, binary = Frame(Opcode.TEXT, b"451-"), Frame(Opcode.BINARY, b"\x00\x01")
    assert a.writes == [text.serialize(mask=False) + binary.serialize(mask=False)]


def test_a_batch_without_its_volatile_messages_keeps_the_rest_in_order() -> None:
    keep, drop, last = OutgoingMessage(b"1"), OutgoingMessage(b"2"), OutgoingMessage(b"3")
    batch = Batch([keep, drop, last], [False, True, False])
    assert batch.non_volatile.messages == [keep, last]
    assert batch.non_volatile.non_volatile is batch.non_volatile
    assert Batch([keep], [False]).non_volatile.messages == [keep]


CONNECTIONS = st.integers(0, 5)
ROOMS = st.integers(0, 3)


class FanoutAgainstReference(RuleBasedStateMachine):
    """Random joins, leaves, emits, unicasts and disconnects over several ticks."""

    def __init__(self) -> None:
        super().__init__()
        self.tick = Tick()
        self.log: FanoutLog[Recorder] = FanoutLog(self.tick, limit_bytes=60)
        self.connections = [Recorder(str(i), fast=i % 2 == 0) for i in range(6)]
        self.rooms = [Room(str(i), self.log) for i in range(4)]
        self.joined: list[set[int]] = [set() for _ in self.rooms]
        self.expected: list[list[bytes]] = [[] for _ in self.connections]
        self.alive = set(range(6))
        self.number = 0

    def message(self) -> OutgoingMessage:
        self.number += 1
        return OutgoingMessage(b"%d" % self.number)

    @rule(connection=CONNECTIONS, room=ROOMS)
    def join(self, connection: int, room: int) -> None:
        if connection in self.alive:
            self.rooms[room].add(self.connections[connection])
            self.joined[room].add(connection)

    @rule(connection=CONNECTIONS, room=ROOMS)
    def leave(self, connection: int, room: int) -> None:
        self.rooms[room].discard(self.connections[connection])
        self.joined[room].discard(connection)

    @rule(rooms=st.sets(ROOMS, min_size=1), skip=st.sets(CONNECTIONS, max_size=2), volatile=st.booleans())
    def emit(self, rooms: set[int], skip: set[int], volatile: bool) -> None:
        message = self.message()
        except_ = frozenset(self.connections[i] for i in skip)
        self.log.broadcast([self.rooms[i] for i in rooms], message, except_=except_, volatile=volatile)
        for connection in set().union(*(self.joined[i] for i in rooms)) - skip:
            self.expected[connection].append(message.text)

    @rule(room=ROOMS)
    def emit_to_one_room(self, room: int) -> None:
        self.emit({room}, set(), volatile=False)

    @rule(connection=CONNECTIONS)
    def unicast_or_ack(self, connection: int) -> None:
        if connection in self.alive:
            message = self.message()
            self.log.unicast(self.connections[connection], message)
            self.expected[connection].append(message.text)

    @rule(connection=CONNECTIONS)
    def disconnect(self, connection: int) -> None:
        self.alive.discard(connection)
        for room in range(4):
            self.leave(connection, room)

    @rule()
    def end_of_tick(self) -> None:
        self.tick.end()
        for connection, expected in zip(self.connections, self.expected, strict=True):
            assert connection.received() == expected

    @rule()
    def flush(self) -> None:
        self.log.flush()

    @invariant()
    def writes_are_a_prefix_of_the_expected_messages(self) -> None:
        for connection, expected in zip(self.connections, self.expected, strict=True):
            received = connection.received()
            assert received == expected[: len(received)]

    def teardown(self) -> None:
        self.end_of_tick()


TestFanoutAgainstReference = FanoutAgainstReference.TestCase
TestFanoutAgainstReference.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
