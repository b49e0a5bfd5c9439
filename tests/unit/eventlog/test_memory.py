"""Bounds of the memory log, and a model of the port."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.chat.ports import Appended, CannotReplay, Gap, Head, LogEntry, Replay
from roomcast.eventlog.memory import MemoryEventLog, MemoryLogOptions

EPOCH = "epoch-a"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def entry(seq: int, size: int = 10) -> LogEntry:
    return LogEntry(seq, b"x" * size)


async def test_the_oldest_entries_are_dropped_at_the_entry_limit() -> None:
    log = MemoryEventLog(MemoryLogOptions(max_entries=3))
    await log.append("a", EPOCH, [entry(seq) for seq in range(1, 6)])
    assert await log.read("a", EPOCH, 1, 10) == CannotReplay(Head(EPOCH, 5))
    assert await log.read("a", EPOCH, 2, 10) == Replay((entry(3), entry(4), entry(5)), Head(EPOCH, 5))


async def test_the_oldest_entries_are_dropped_at_the_byte_limit_even_all_of_them() -> None:
    log = MemoryEventLog(MemoryLogOptions(max_bytes=25))
    await log.append("a", EPOCH, [entry(1), entry(2), entry(3)])
    assert await log.read("a", EPOCH, 0, 10) == CannotReplay(Head(EPOCH, 3))
    assert await log.read("a", EPOCH, 1, 10) == Replay((entry(2), entry(3)), Head(EPOCH, 3))
    await log.append("a", EPOCH, [entry(4, size=26)])
    assert await log.read("a", EPOCH, 3, 10) == CannotReplay(Head(EPOCH, 4))
    assert await log.read("a", EPOCH, 4, 10) == Replay((), Head(EPOCH, 4))


async def test_the_least_recently_used_chat_is_dropped_beyond_the_limit() -> None:
    log = MemoryEventLog(MemoryLogOptions(max_chats=2))
    await log.append("a", EPOCH, [entry(1)])
    await log.append("b", EPOCH, [entry(1)])
    await log.head("a")
    await log.append("c", EPOCH, [entry(1)])
    assert await log.head("a") is not None
    assert await log.head("b") is None


async def test_an_idle_chat_is_dropped_at_its_time_to_live_and_not_before() -> None:
    clock = Clock()
    log = MemoryEventLog(MemoryLogOptions(idle_ttl_s=10), clock=clock)
    await log.append("a", EPOCH, [entry(1)])
    clock.now = 9
    assert await log.head("a") is not None
    clock.now = 19
    assert await log.head("a") is None


async def test_a_chat_with_a_subscription_is_never_dropped() -> None:
    clock = Clock()
    log = MemoryEventLog(MemoryLogOptions(max_chats=2, idle_ttl_s=10), clock=clock)
    followed = [await log.subscribe(chat_id, lambda _epoch, _entries: None) for chat_id in "ab"]
    for chat_id in "abcd":
        await log.append(chat_id, EPOCH, [entry(1)])
    # The newest may be one too many, but is not dropped by its own creation.
    assert [await log.head(chat_id) is not None for chat_id in "abcd"] == [True, True, False, True]
    clock.now = 99
    assert [await log.head(chat_id) is not None for chat_id in "abd"] == [True, True, False]
    for subscription in followed:
        await subscription.close()
    clock.now = 999
    assert await log.head("a") is None


async def test_skipping_subscribed_chats_is_bounded_work() -> None:
    log = MemoryEventLog(MemoryLogOptions(max_chats=50))
    for number in range(200):
        await log.subscribe(f"c{number}", lambda _epoch, _entries: None)
        await log.append(f"c{number}", EPOCH, [entry(1)])
    assert await log.head("c0") is not None


class Model:
    """The guarantees of the port, without bounds."""

    def __init__(self) -> None:
        self.head: Head | None = None
        self.start = 0  # replays are possible from here

    def append(self, epoch: str, first: int, last: int) -> Appended | Gap:
        head = self.head
        if (head is None and first != 1) or (head is not None and head.epoch != epoch):
            return Gap(None)
        if head is not None and first > head.seq + 1:
            return Gap(head)
        if head is None:
            self.start = 0
        self.head = Head(epoch, max(last, head.seq if head else 0))
        return Appended(self.head)

    def seed(self, epoch: str, first: int, last: int) -> Head:
        head = self.head if self.head is not None and self.head.epoch == epoch else None
        if head is None or first > head.seq + 1:
            self.start = first - 1
        self.head = Head(epoch, max(last, head.seq if head else 0))
        return self.head


SPANS = st.tuples(st.integers(1, 12), st.integers(0, 5)).map(lambda span: (span[0], span[0] + span[1]))


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["append", "seed", "read"]), st.sampled_from(["e1", "e2"]), SPANS), max_size=30
    )
)
async def test_the_log_behaves_as_its_model(steps: list[tuple[str, str, tuple[int, int]]]) -> None:
    log, model = MemoryEventLog(), Model()
    fed: list[tuple[str, int]] = []
    subscription = await log.subscribe("a", lambda epoch, entries: fed.extend((epoch, each.seq) for each in entries))
    for action, epoch, (first, last) in steps:
        span = [entry(seq) for seq in range(first, last + 1)]
        if action == "append":
            assert await log.append("a", epoch, span) == model.append(epoch, first, last)
        elif action == "seed":
            assert await log.seed("a", Head(epoch, last), span) == model.seed(epoch, first, last)
        else:
            found = await log.read("a", epoch, first, 3)
            head = model.head
            if head is None or head.epoch != epoch or not model.start <= first <= head.seq:
                assert found == CannotReplay(head)
            else:
                wanted = tuple(entry(seq) for seq in range(first + 1, min(first + 3, head.seq) + 1))
                assert found == Replay(wanted, head, more=first + 3 < head.seq)
        assert await log.head("a") == model.head
    await subscription.close()
    # While the epoch does not change a subscriber never gets a seq twice or out of order.
    for (epoch, seq), (next_epoch, next_seq) in pairwise(fed):
        assert next_epoch != epoch or next_seq > seq
