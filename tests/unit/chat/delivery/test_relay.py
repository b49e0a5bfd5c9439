from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from roomcast.chat.delivery.encoding import event_args
from roomcast.chat.delivery.relay import Relay, RelayCounters, RelayOptions
from roomcast.chat.model import ANYONE
from roomcast.chat.ports import Appended, Gap, Head, LogEntry, LogNotStored, LogUnavailable, Replay
from roomcast.contract.rest import SendMessage
from roomcast.eventlog.memory import MemoryEventLog, MemoryLogOptions
from support.backend import Backend, new_message, open_backend
from support.waiting import until

FAST = RelayOptions(mark_delay_s=0, retry_min_s=0.001, retry_max_s=0.01, seed_entries=5, batch_entries=3)


class FaultyLog(MemoryEventLog):
    """Unreachable while ``down``, and at random given ``chance``; forgets on demand, and records its appends."""

    def __init__(self, options: MemoryLogOptions | None = None) -> None:
        super().__init__(options)
        self.down = False
        self.appends: list[list[int]] = []
        self.chance: random.Random | None = None
        self.hold: asyncio.Event | None = None

    async def _step(self) -> None:
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(0)
        if self.down or (self.chance is not None and self.chance.random() < 0.3):
            raise LogUnavailable("unreachable")

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        await self._step()
        self.appends.append([entry.seq for entry in entries])
        return super().append_now(chat_id, epoch, entries)

    def append_now(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        raise LogUnavailable("as a log in another process")

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        await self._step()
        return await super().seed(chat_id, head, entries)

    async def head(self, chat_id: str) -> Head | None:
        await self._step()
        return await super().head(chat_id)

    def forget(self) -> None:
        """Lose everything, as a restart of the engine does."""
        self._chats.clear()


class Subscriber:
    """Records every seq that it receives."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self._received = asyncio.Event()

    def __call__(self, _epoch: str, entries: Sequence[LogEntry]) -> None:
        self.seqs.extend(entry.seq for entry in entries)
        self._received.set()

    async def reached(self, seq: int) -> None:
        async with asyncio.timeout(10):
            while seq not in self.seqs:
                self._received.clear()
                await self._received.wait()


async def send(backend: Backend, chat_id: str = "c", count: int = 1) -> None:
    for _ in range(count):
        await backend.writer.send(ANYONE, SendMessage(chatId=chat_id, role="USER", content="hello"))


async def all_marks_are_gone(backend: Backend) -> None:
    async def all_are() -> bool:
        return not await backend.store.chats.unpublished(1)

    await until(all_are)


async def test_sent_events_are_in_the_log_as_in_the_events_table(tmp_path: Path) -> None:
    subscriber = Subscriber()
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await backend.log.subscribe("c", subscriber)
        await send(backend, count=3)
        await subscriber.reached(3)
        events, _ = await backend.store.chats.events_after("c", 0, 9)
        found = await backend.log.read("c", backend.reader.epoch, 0, 9)
        assert isinstance(found, Replay)
        assert [entry.args for entry in found.entries] == [event_args(event) for event in events]
        await all_marks_are_gone(backend)


async def test_the_fast_path_does_not_read_the_table(tmp_path: Path) -> None:
    log = FaultyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the first sweep would read the table as well
        await send(backend, count=3)
        await all_marks_are_gone(backend)
        assert backend.relay.counters == RelayCounters(appended=3)
    assert [seq for seqs in log.appends for seq in seqs] == [1, 2, 3]


async def test_events_committed_during_an_append_are_appended_together(tmp_path: Path) -> None:
    log = FaultyLog()
    log.hold = asyncio.Event()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the first sweep would read the table as well
        await send(backend, count=4)
        log.hold.set()
        await all_marks_are_gone(backend)
        assert backend.relay.counters == RelayCounters(appended=4)
    assert log.appends == [[1], [2, 3, 4]]


class ImmediateLog(MemoryEventLog):
    """Records its immediate appends, and fails on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.appends: list[list[int]] = []
        self.broken = False

    def append_now(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        if self.broken:
            self.broken = False
            raise ZeroDivisionError
        self.appends.append([entry.seq for entry in entries])
        return super().append_now(chat_id, epoch, entries)


async def test_events_of_one_commit_reach_a_log_of_this_process_together_and_without_a_task(tmp_path: Path) -> None:
    log = ImmediateLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the first sweep would read the table as well
        await send(backend)
        assert not backend.relay._queues
        await asyncio.gather(*(send(backend) for _ in range(3)))
        assert not backend.relay._queues
        await all_marks_are_gone(backend)
        assert backend.relay.counters == RelayCounters(appended=4)
    assert log.appends == [[1], [2, 3, 4]]


async def test_events_that_a_log_of_this_process_fails_to_append_are_appended_by_the_task(tmp_path: Path) -> None:
    log, subscriber = ImmediateLog(), Subscriber()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await backend.log.subscribe("c", subscriber)
        await send(backend)
        log.broken = True
        await send(backend)
        log._chats.clear()  # as if it had been dropped
        await send(backend)
        await subscriber.reached(3)
        assert list(dict.fromkeys(subscriber.seqs)) == [1, 2, 3]
        await all_marks_are_gone(backend)


async def test_a_stop_publishes_the_events_that_were_just_committed(tmp_path: Path) -> None:
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        stored = [await backend.store.chats.commit(new_message()) for _ in range(2)]
        for committed in stored:
            backend.relay.offer(committed.events)
        await backend.relay.stop()
        assert await backend.log.head("c") == Head(backend.reader.epoch, 2)


async def test_too_many_waiting_events_are_read_from_the_table_instead(tmp_path: Path) -> None:
    log = FaultyLog()
    log.hold = asyncio.Event()
    options = RelayOptions(mark_delay_s=0, fresh_entries=2)
    async with open_backend(tmp_path, log=log, relay_options=options) as backend:
        await send(backend, count=9)
        log.hold.set()
        await all_marks_are_gone(backend)
        assert await log.head("c") == Head(backend.reader.epoch, 9)


async def test_events_left_by_an_earlier_process_are_published_at_the_start(tmp_path: Path) -> None:
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await backend.relay.stop()
        for chat_id in ("c", "d"):
            await backend.store.chats.commit(new_message(chat_id))
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await all_marks_are_gone(backend)
        assert await backend.log.head("c") == await backend.log.head("d") == Head(backend.reader.epoch, 1)


async def test_events_of_a_process_that_died_before_it_published_are_published_by_a_periodic_sweep(
    tmp_path: Path,
) -> None:
    async with open_backend(tmp_path, relay_options=RelayOptions(mark_delay_s=0, sweep_every_s=0.01)) as backend:
        await send(backend)
        await all_marks_are_gone(backend)
        await backend.store.chats.commit(new_message())  # as another process would

        async def is_published() -> bool:
            return await backend.log.head("c") == Head(backend.reader.epoch, 2)

        await until(is_published)


async def test_a_periodic_sweep_does_not_read_the_events_that_are_being_published(tmp_path: Path) -> None:
    log = FaultyLog()
    log.hold = asyncio.Event()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the first sweep would read the table as well
        await send(backend, count=4)
        assert await backend.store.chats.unpublished(1) == ["c"]
        async with asyncio.timeout(10):  # a sweep that reads them waits for the log
            assert await backend.relay._sweep(periodic=True)
        log.hold.set()
        await all_marks_are_gone(backend)
        assert backend.relay.counters == RelayCounters(appended=4)


async def test_a_sweep_that_is_requested_while_a_periodic_one_falls_due_leaves_out_no_chat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweeps: asyncio.Queue[bool] = asyncio.Queue()

    class Wanted(asyncio.Event):
        async def wait(self) -> Literal[True]:
            try:
                return await super().wait()
            finally:
                self.set()

    async def sweep(*, periodic: bool) -> bool:
        await sweeps.put(periodic)
        return True

    async with open_backend(tmp_path, relay_options=replace(FAST, sweep_every_s=0.001)) as backend:
        await backend.relay.stop()
        monkeypatch.setattr(backend.relay, "_sweep_wanted", Wanted())
        monkeypatch.setattr(backend.relay, "_sweep", sweep)
        async with asyncio.timeout(10):
            await backend.relay.start()
            assert [await sweeps.get() for _ in range(3)] == [False, False, False]


async def test_an_absent_log_is_seeded_with_a_bounded_number_of_recent_events(tmp_path: Path) -> None:
    log = FaultyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await send(backend, count=12)
        await all_marks_are_gone(backend)
        log.forget()
        await send(backend)
        await all_marks_are_gone(backend)
        # The five newest published events, and the unpublished one.
        found = await log.read("c", backend.reader.epoch, 7, 99)
        assert isinstance(found, Replay)
        assert [entry.seq for entry in found.entries] == [8, 9, 10, 11, 12, 13]
        assert not isinstance(await log.read("c", backend.reader.epoch, 6, 99), Replay)


async def test_an_absent_log_is_seeded_with_all_unpublished_events_up_to_a_bound(tmp_path: Path) -> None:
    for count, first in ((20, 6), (60, 31)):
        directory = tmp_path / str(count)
        options = RelayOptions(mark_delay_s=0, retry_min_s=0.001, retry_max_s=0.01, seed_entries=5, max_seed_entries=40)
        log = FaultyLog()
        async with open_backend(directory, log=log, relay_options=options) as backend:
            await send(backend, count=10)
            await all_marks_are_gone(backend)
            log.down = True
            log.forget()
            await send(backend, count=count)
            log.down = False
            await backend.relay.publish_now("c")
            await all_marks_are_gone(backend)
            found = await log.read("c", backend.reader.epoch, first - 1, 100)
            assert isinstance(found, Replay)
            assert [entry.seq for entry in found.entries] == list(range(first, 11 + count))
            # Not more than five published events, and not more than the bound.
            assert not isinstance(await log.read("c", backend.reader.epoch, first - 2, 100), Replay)


async def test_a_log_that_is_behind_catches_up_in_batches(tmp_path: Path) -> None:
    log = FaultyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the first sweep would read the table as well
        await send(backend)
        await all_marks_are_gone(backend)
        # Another process commits these and dies before it publishes them.
        for _ in range(7):
            await backend.store.chats.commit(new_message())
        assert await backend.relay.publish_now("c")
        assert log.appends[1:] == [[2, 3, 4], [5, 6, 7], [8]]
        await all_marks_are_gone(backend)


async def test_sends_succeed_while_the_log_is_down_and_arrive_in_order_afterwards(tmp_path: Path) -> None:
    log, subscriber = FaultyLog(), Subscriber()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await log.subscribe("c", subscriber)
        await send(backend)
        await subscriber.reached(1)
        log.down = True
        await send(backend, count=4)
        assert not await backend.relay.publish_now("c")
        assert subscriber.seqs == [1]
        log.down = False
        await subscriber.reached(5)
        assert subscriber.seqs == [1, 2, 3, 4, 5]
        await all_marks_are_gone(backend)


async def test_a_deletion_while_the_log_is_down_erases_no_event_before_it_is_published(tmp_path: Path) -> None:
    log, subscriber = FaultyLog(), Subscriber()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await log.subscribe("c", subscriber)
        await send(backend)
        await subscriber.reached(1)
        log.down = True
        await send(backend, count=2)
        await backend.writer.keeping.delete(ANYONE, "c")
        assert not await backend.store.chats.erase_deleted(100)
        log.down = False
        await subscriber.reached(4)
        assert subscriber.seqs == [1, 2, 3, 4]
        await all_marks_are_gone(backend)
        assert await backend.store.chats.erase_deleted(100)


async def test_a_log_that_has_lost_events_that_are_erased_goes_on_with_the_deletion(tmp_path: Path) -> None:
    log, subscriber = FaultyLog(), Subscriber()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await send(backend, count=3)
        await backend.writer.keeping.delete(ANYONE, "c")
        await all_marks_are_gone(backend)
        while await backend.store.chats.erase_deleted(100):
            pass
        # As after a failover to a replica that was behind.
        log.forget()
        await log.append("c", backend.store.chats.epoch, [LogEntry(1, b"[]")])
        await log.subscribe("c", subscriber)
        assert await backend.relay.publish_now("c")
        assert subscriber.seqs == [4]


@pytest.mark.parametrize("seed", range(3))
async def test_no_event_is_lost_or_reordered_by_a_log_that_fails_at_random(tmp_path: Path, seed: int) -> None:
    log = FaultyLog()
    chats, sends = [f"c{number}" for number in range(4)], 15
    subscribers = {chat_id: Subscriber() for chat_id in chats}
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        for chat_id, subscriber in subscribers.items():
            await log.subscribe(chat_id, subscriber)
            await send(backend, chat_id)
            await subscriber.reached(1)
        log.chance = random.Random(seed)

        async def sender(chat_id: str) -> None:
            for _ in range(sends):
                await send(backend, chat_id)

        await asyncio.gather(*(sender(chat_id) for chat_id in chats for _ in range(2)))
        for subscriber in subscribers.values():
            await subscriber.reached(2 * sends + 1)
            assert subscriber.seqs == list(range(1, 2 * sends + 2))
        await all_marks_are_gone(backend)


async def test_events_with_a_hole_between_them_are_read_from_the_table(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = FaultyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the first sweep would read the table as well
        first, _, third = [(await backend.store.chats.commit(new_message())).event for _ in range(3)]
        backend.relay.offer((first,))
        backend.relay.offer((third,))
        await all_marks_are_gone(backend)
        assert await log.head("c") == Head(backend.reader.epoch, 3)
    assert [1, 3] not in log.appends
    assert caplog.text == ""  # nothing was left to a sweep


async def test_a_chat_is_left_to_a_sweep_after_too_many_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FaultyLog()
    options = RelayOptions(mark_delay_s=0, retry_min_s=60, retry_max_s=60, max_gaps=3)
    async with open_backend(tmp_path, log=log, relay_options=options) as backend:
        backend.relay._sweep_wanted.clear()  # the first sweep would append, too
        gaps = 0

        async def answer_with_a_gap(*_asked: object) -> Gap:
            nonlocal gaps
            gaps += 1
            return Gap(Head(backend.reader.epoch, 0))

        await send(backend)
        await all_marks_are_gone(backend)
        await backend.store.chats.commit(new_message())
        monkeypatch.setattr(log, "append", answer_with_a_gap)
        assert not await backend.relay.publish_now("c")
        assert gaps == options.max_gaps + 1


async def test_a_restore_appends_the_recent_events_that_the_log_has_lost(tmp_path: Path) -> None:
    log = FaultyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await send(backend, count=3)
        await all_marks_are_gone(backend)
        log.forget()
        backend.relay.restore()

        async def is_restored() -> bool:
            return await log.head("c") == Head(backend.reader.epoch, 3)

        await until(is_restored)


async def test_a_join_creates_the_log_even_of_a_chat_that_does_not_exist(tmp_path: Path) -> None:
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        admitted = await backend.admissions.admit("new", None, None)
        assert admitted.seq == 0
        assert await backend.admissions.request_publish("new")
        assert await backend.log.head("new") == Head(backend.reader.epoch, 0)


async def test_ensuring_a_log_that_is_up_to_date_costs_no_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await send(backend, count=2)
        await all_marks_are_gone(backend)
        await until(lambda: not backend.relay._queues)  # the turn that removed them may still end

        async def unexpected(*_args: object) -> None:
            raise AssertionError("queried the table")

        monkeypatch.setattr(backend.store.chats, "events_after", unexpected)
        await backend.relay.ensure_log("c", 2)
        assert backend.relay._queues == {}


async def test_a_storm_of_joins_reads_the_head_of_a_log_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryEventLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await send(backend, count=2)
        await all_marks_are_gone(backend)
        reads, head = 0, log.head

        async def count(chat_id: str) -> Head | None:
            nonlocal reads
            reads += 1
            return await head(chat_id)

        monkeypatch.setattr(log, "head", count)
        await asyncio.gather(*(backend.relay.ensure_log("c", 2) for _ in range(100)))
        assert reads == 1
        await backend.relay.ensure_log("c", 3)  # a later head
        assert reads == 2
        await backend.relay.publish_now("c")
        reads = 0
        backend.relay.restore()  # the log may have lost entries
        await backend.relay.ensure_log("c", 2)
        assert reads >= 1


async def test_a_sweep_is_a_single_pass_even_while_the_chats_are_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RelayOptions(mark_delay_s=0, sweep_chats=2)
    async with open_backend(tmp_path, relay_options=options) as backend:
        chats = backend.store.chats
        for number in range(5):
            await send(backend, f"c{number}")
        # From here on, no other sweep runs.
        await backend.relay.stop()
        relay = Relay(chats, backend.log, options)
        query, queries = chats.unpublished, 0

        async def query_while_others_write(limit: int, after: str = "") -> Sequence[str]:
            nonlocal queries
            queries += 1
            for number in range(5):
                await chats.commit(new_message(f"c{number}"))
            return await query(limit, after) if queries < 20 else []

        monkeypatch.setattr(chats, "unpublished", query_while_others_write)
        assert await relay._sweep()
        assert queries == 4
        monkeypatch.undo()
        # The next sweep publishes what was committed during the first one.
        assert await relay._sweep()
        assert await chats.unpublished(1) == []


async def test_stop_resolves_every_waiting_publish_now(tmp_path: Path) -> None:
    log = FaultyLog()
    async with open_backend(tmp_path, log=log, relay_options=RelayOptions(stop_limit_s=0.01)) as backend:
        log.hold = asyncio.Event()
        waiting = asyncio.create_task(backend.relay.publish_now("c"))
        await asyncio.sleep(0)
        await backend.relay.stop()
        assert await waiting is False
        late = asyncio.create_task(backend.relay.publish_now("d"))
        await asyncio.sleep(0)
        await backend.relay.stop()
        assert await late is False
    assert isinstance(backend.relay, Relay)


class RefusingLog(FaultyLog):
    """Publishes entries without storing them while ``refuses``; is unreachable for the chats in ``unreachable``."""

    refuses = False
    unreachable: frozenset[str] = frozenset()

    async def head(self, chat_id: str) -> Head | None:
        if chat_id in self.unreachable:
            raise LogUnavailable("unreachable")
        return await super().head(chat_id)

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        await self._step()
        if self.refuses:
            self.appends.append([entry.seq for entry in entries])
            raise LogNotStored("full")
        return await super().append(chat_id, epoch, entries)


async def test_chats_that_always_fail_do_not_keep_the_others_out_of_a_sweep(tmp_path: Path) -> None:
    log = RefusingLog()
    log.down = True
    log.unreachable = frozenset({"c1", "c2"})
    options = RelayOptions(mark_delay_s=0, retry_min_s=0.001, retry_max_s=0.01, sweep_chats=2)
    async with open_backend(tmp_path, log=log, relay_options=options) as backend:
        for chat_id in ("c1", "c2", "c3", "c4", "c5"):
            await send(backend, chat_id)
        log.down = False

        async def others_are_published() -> bool:
            return await backend.store.chats.unpublished(9) == ["c1", "c2"]

        await until(others_are_published)
        log.unreachable = frozenset()
        await all_marks_are_gone(backend)


async def test_missing_events_are_published_together_with_new_ones_while_the_log_refuses_to_store(
    tmp_path: Path,
) -> None:
    log = RefusingLog()
    options = RelayOptions(mark_delay_s=0, retry_min_s=60, retry_max_s=60)
    async with open_backend(tmp_path, log=log, relay_options=options) as backend:
        await send(backend)
        await all_marks_are_gone(backend)
        log.down = True
        await send(backend, count=2)
        await until(lambda: backend.relay.counters.deferred > 0 and not backend.relay._queues)
        log.down, log.refuses = False, True
        log.appends.clear()
        events, _ = await backend.store.chats.events_after("c", 0, 9)
        backend.relay.offer(tuple(events[2:]))
        assert not await backend.relay.publish_now("c")
        assert {seq for seqs in log.appends for seq in seqs} == {2, 3}
