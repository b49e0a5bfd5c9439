"""What only the memory log can show: its bounds."""

from __future__ import annotations

from roomcast.chat.ports import CannotReplay, Head, LogEntry, Replay
from roomcast.eventlog.memory import MemoryEventLog, MemoryLogOptions

EPOCH = "epoch-a"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def entry(seq: int, size: int = 10) -> LogEntry:
    return LogEntry(seq, b"x" * size)


async def test_the_oldest_entries_go_at_the_entry_limit() -> None:
    log = MemoryEventLog(MemoryLogOptions(max_entries=3))
    await log.append("a", EPOCH, [entry(seq) for seq in range(1, 6)])
    assert await log.read("a", EPOCH, 1, 10) == CannotReplay(Head(EPOCH, 5))
    assert await log.read("a", EPOCH, 2, 10) == Replay((entry(3), entry(4), entry(5)), Head(EPOCH, 5))


async def test_the_oldest_entries_go_at_the_byte_limit_even_all_of_them() -> None:
    log = MemoryEventLog(MemoryLogOptions(max_bytes=25))
    await log.append("a", EPOCH, [entry(1), entry(2), entry(3)])
    assert await log.read("a", EPOCH, 0, 10) == CannotReplay(Head(EPOCH, 3))
    assert await log.read("a", EPOCH, 1, 10) == Replay((entry(2), entry(3)), Head(EPOCH, 3))
    await log.append("a", EPOCH, [entry(4, size=26)])
    assert await log.read("a", EPOCH, 3, 10) == CannotReplay(Head(EPOCH, 4))
    assert await log.read("a", EPOCH, 4, 10) == Replay((), Head(EPOCH, 4))


async def test_the_longest_unused_chat_goes_when_there_are_too_many() -> None:
    log = MemoryEventLog(MemoryLogOptions(max_chats=2))
    await log.append("a", EPOCH, [entry(1)])
    await log.append("b", EPOCH, [entry(1)])
    await log.head("a")
    await log.append("c", EPOCH, [entry(1)])
    assert await log.head("a") is not None
    assert await log.head("b") is None


async def test_an_idle_chat_is_dropped_after_its_time_and_not_before() -> None:
    clock = Clock()
    log = MemoryEventLog(MemoryLogOptions(idle_ttl_s=10), clock=clock)
    await log.append("a", EPOCH, [entry(1)])
    clock.now = 9
    assert await log.head("a") is not None
    clock.now = 19
    assert await log.head("a") is None
