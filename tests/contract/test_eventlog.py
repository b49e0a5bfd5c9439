"""The contract of `chat.ports.EventLog`, over every implementation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from roomcast.chat.ports import MAX_SIGNAL_BYTES, Appended, CannotReplay, EventLog, Gap, Head, LogEntry, Replay
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.redis import RedisEventLog
from roomcast.redis_client import RedisAddress, RedisOptions
from support.log_watch import Sink
from support.redis_server import RedisServer, running

EPOCH, OTHER_EPOCH = "epoch-a", "epoch-b"
CHAT = "chat-1"


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with running(RedisServer(directory)) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def log(request: pytest.FixtureRequest) -> AsyncIterator[EventLog]:
    """Every implementation, empty."""
    if request.param == "memory":
        yield MemoryEventLog()
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    async with RedisEventLog(RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),))) as redis_log:
        yield redis_log


def entries(first: int, last: int) -> list[LogEntry]:
    return [
        LogEntry(seq, f'["new-msg",{{"seq":{seq}}}]'.encode(), trace=f"trace-{seq}") for seq in range(first, last + 1)
    ]


async def test_an_absent_log_has_no_head_and_cannot_replay(log: EventLog) -> None:
    assert await log.head(CHAT) is None
    assert await log.read(CHAT, EPOCH, 0, 10) == CannotReplay(None)


async def test_an_absent_log_accepts_only_the_first_seq(log: EventLog) -> None:
    assert await log.append(CHAT, EPOCH, entries(2, 3)) == Gap(None)
    assert await log.head(CHAT) is None
    assert await log.append(CHAT, EPOCH, entries(1, 3)) == Appended(Head(EPOCH, 3))


async def test_entries_come_back_as_they_were_given(log: EventLog) -> None:
    given = entries(1, 3)
    await log.append(CHAT, EPOCH, given)
    assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(given), Head(EPOCH, 3))


async def test_known_entries_are_skipped_and_the_rest_appended(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 3))
    assert await log.append(CHAT, EPOCH, entries(2, 5)) == Appended(Head(EPOCH, 5))
    assert await log.append(CHAT, EPOCH, entries(1, 2)) == Appended(Head(EPOCH, 5))
    assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 5)), Head(EPOCH, 5))


async def test_an_append_beyond_a_gap_writes_nothing_and_returns_the_head(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 2))
    assert await log.append(CHAT, EPOCH, entries(4, 5)) == Gap(Head(EPOCH, 2))
    assert await log.head(CHAT) == Head(EPOCH, 2)


@pytest.mark.parametrize("first", [1, 3, 6])
async def test_an_append_does_not_change_a_log_of_another_epoch(log: EventLog, first: int) -> None:
    await log.append(CHAT, EPOCH, entries(1, 5))
    # The relay need not know which of the two epochs is the newer one.
    assert await log.append(CHAT, OTHER_EPOCH, entries(first, 7)) == Gap(None)
    assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 5)), Head(EPOCH, 5))
    assert await log.read(CHAT, OTHER_EPOCH, 0, 10) == CannotReplay(Head(EPOCH, 5))


async def test_a_read_stops_at_its_limit_and_reports_more(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 5))
    assert await log.read(CHAT, EPOCH, 1, 2) == Replay(tuple(entries(2, 3)), Head(EPOCH, 5), more=True)
    assert await log.read(CHAT, EPOCH, 3, 2) == Replay(tuple(entries(4, 5)), Head(EPOCH, 5))
    assert await log.read(CHAT, EPOCH, 5, 2) == Replay((), Head(EPOCH, 5))


async def test_a_read_after_the_head_cannot_replay(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 2))
    assert await log.read(CHAT, EPOCH, 3, 10) == CannotReplay(Head(EPOCH, 2))


async def test_a_seed_creates_a_log_that_replays_from_where_it_starts(log: EventLog) -> None:
    assert await log.seed(CHAT, Head(EPOCH, 9), entries(7, 9)) == Head(EPOCH, 9)
    assert await log.read(CHAT, EPOCH, 6, 10) == Replay(tuple(entries(7, 9)), Head(EPOCH, 9))
    assert await log.read(CHAT, EPOCH, 5, 10) == CannotReplay(Head(EPOCH, 9))
    assert await log.append(CHAT, EPOCH, entries(10, 10)) == Appended(Head(EPOCH, 10))


async def test_a_seed_without_entries_replays_from_its_head_only(log: EventLog) -> None:
    assert await log.seed(CHAT, Head(EPOCH, 4), []) == Head(EPOCH, 4)
    assert await log.read(CHAT, EPOCH, 4, 10) == Replay((), Head(EPOCH, 4))
    assert await log.read(CHAT, EPOCH, 3, 10) == CannotReplay(Head(EPOCH, 4))


async def test_a_seed_of_an_empty_chat_makes_a_log_that_accepts_its_first_event(log: EventLog) -> None:
    assert await log.seed(CHAT, Head(EPOCH, 0), []) == Head(EPOCH, 0)
    assert await log.append(CHAT, EPOCH, entries(1, 1)) == Appended(Head(EPOCH, 1))


async def test_a_seed_extends_a_shorter_log_and_does_not_change_a_longer_one(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 5))
    assert await log.seed(CHAT, Head(EPOCH, 4), entries(3, 4)) == Head(EPOCH, 5)
    assert await log.seed(CHAT, Head(EPOCH, 7), entries(4, 7)) == Head(EPOCH, 7)
    assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 7)), Head(EPOCH, 7))


async def test_a_seed_beyond_a_gap_never_causes_a_partial_replay(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 2))
    assert await log.seed(CHAT, Head(EPOCH, 8), entries(6, 8)) == Head(EPOCH, 8)
    assert await log.read(CHAT, EPOCH, 2, 10) == CannotReplay(Head(EPOCH, 8))
    assert await log.read(CHAT, EPOCH, 5, 10) == Replay(tuple(entries(6, 8)), Head(EPOCH, 8))


async def test_a_seed_replaces_a_log_of_another_epoch(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 9))
    assert await log.seed(CHAT, Head(OTHER_EPOCH, 3), entries(1, 3)) == Head(OTHER_EPOCH, 3)


async def test_a_confirmed_subscription_gets_every_entry_in_order_and_once(log: EventLog) -> None:
    await log.append(CHAT, EPOCH, entries(1, 2))
    sink = Sink()
    subscription = await log.subscribe(CHAT, sink)
    await log.append(CHAT, EPOCH, entries(2, 4))
    await log.append(CHAT, EPOCH, entries(3, 4))
    await log.append(CHAT, EPOCH, entries(6, 7))
    await log.append(CHAT, EPOCH, entries(5, 5))
    assert await sink.reached(5) == [3, 4, 5]
    await subscription.close()


async def test_subscriptions_get_the_seeded_entries_that_the_log_did_not_have(log: EventLog) -> None:
    sink = Sink()
    subscription = await log.subscribe(CHAT, sink)
    await log.seed(CHAT, Head(EPOCH, 3), entries(2, 3))
    await log.seed(CHAT, Head(EPOCH, 4), entries(2, 4))
    assert await sink.reached(4) == [2, 3, 4]
    await subscription.close()


async def test_a_closed_subscription_gets_nothing_and_may_be_closed_twice(log: EventLog) -> None:
    closed, other = Sink(), Sink()
    subscription = await log.subscribe(CHAT, closed)
    kept = await log.subscribe(CHAT, other)
    await subscription.close()
    await subscription.close()
    await log.append(CHAT, EPOCH, entries(1, 1))
    await other.reached(1)
    assert closed.seqs == []
    await kept.close()


async def test_subscriptions_get_only_entries_of_their_chat(log: EventLog) -> None:
    here, there = Sink(), Sink()
    subscriptions = [await log.subscribe("here", here), await log.subscribe("there", there)]
    await log.append("there", EPOCH, entries(1, 1))
    await log.append("here", EPOCH, entries(1, 2))
    assert await here.reached(2) == [1, 2]
    assert await there.reached(1) == [1]
    for subscription in subscriptions:
        await subscription.close()


async def test_a_sink_that_raises_does_not_affect_other_sinks(log: EventLog, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_epoch: str, _entries: Sequence[LogEntry]) -> None:
        raise RuntimeError("broken sink")

    sink = Sink()
    subscriptions = [await log.subscribe(CHAT, broken), await log.subscribe(CHAT, sink)]
    assert await log.append(CHAT, EPOCH, entries(1, 1)) == Appended(Head(EPOCH, 1))
    assert await sink.reached(1) == [1]
    assert "raised" in caplog.text
    for subscription in subscriptions:
        await subscription.close()


@pytest.mark.parametrize("seed", range(5))
async def test_concurrent_publishers_that_retry_at_a_gap_deliver_every_seq_once_in_order(
    log: EventLog, seed: int
) -> None:
    chance = random.Random(seed)
    total = 60
    sink = Sink()
    subscription = await log.subscribe(CHAT, sink)

    async def publish(seq: int) -> None:
        first = seq
        await asyncio.sleep(chance.random() / 200)  # the test is about racing publishers: their order is random
        while True:
            match await log.append(CHAT, EPOCH, entries(first, seq)):
                case Gap(head):
                    first = 1 if head is None else head.seq + 1
                case Appended():
                    return

    await asyncio.gather(*(publish(seq) for seq in chance.sample(range(1, total + 1), total)))
    assert await sink.reached(total) == list(range(1, total + 1))
    await subscription.close()


class Signals:
    """Records signals."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self._changed = asyncio.Event()

    def __call__(self, payload: bytes) -> None:
        self.payloads.append(payload)
        self._changed.set()

    async def reached(self, payload: bytes) -> list[bytes]:
        async with asyncio.timeout(5):
            while payload not in self.payloads:
                self._changed.clear()
                await self._changed.wait()
        return self.payloads


async def test_a_signal_reaches_every_subscription_of_its_chat_once_and_no_other(log: EventLog) -> None:
    sinks, signals = [Sink(), Sink(), Sink()], [Signals(), Signals(), Signals()]
    await log.subscribe(CHAT, sinks[0], signals[0])
    await log.subscribe(CHAT, sinks[1], signals[1])
    await log.subscribe("other", sinks[2], signals[2])
    without_signals = Sink()
    await log.subscribe(CHAT, without_signals)
    payloads = [b"", b"{}", bytes(range(256)), b"RC1 x\n", b"x" * MAX_SIGNAL_BYTES, b"last"]
    for payload in payloads:
        await log.signal(CHAT, payload)
    await log.signal("other", b"last")
    for received in signals[:2]:
        assert await received.reached(b"last") == payloads
    assert await signals[2].reached(b"last") == [b"last"]
    await log.append(CHAT, EPOCH, entries(1, 1))
    assert [await sink.reached(1) for sink in (sinks[0], sinks[1], without_signals)] == [[1]] * 3


async def test_a_signal_is_not_stored_and_an_absent_log_stays_absent(log: EventLog) -> None:
    await log.signal(CHAT, b"not delivered")
    signals = Signals()
    await log.subscribe(CHAT, Sink(), signals)
    await log.signal(CHAT, b"this")
    assert await signals.reached(b"this") == [b"this"]
    assert await log.head(CHAT) is None


async def test_a_signal_that_is_too_large_is_rejected(log: EventLog) -> None:
    with pytest.raises(ValueError, match=f"the limit is {MAX_SIGNAL_BYTES}"):
        await log.signal(CHAT, b"x" * (MAX_SIGNAL_BYTES + 1))


async def test_a_closed_subscription_gets_no_signal_and_a_sink_that_raises_does_not_affect_others(
    log: EventLog,
) -> None:
    def broken(_payload: bytes) -> None:
        raise RuntimeError("broken sink")

    closed, open_ = Signals(), Signals()
    subscription = await log.subscribe(CHAT, Sink(), closed)
    await log.subscribe(CHAT, Sink(), broken)
    await log.subscribe(CHAT, Sink(), open_)
    await subscription.close()
    await log.signal(CHAT, b"one")
    assert await open_.reached(b"one") == [b"one"]
    assert closed.payloads == []
