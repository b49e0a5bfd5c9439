from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from roomcast.chat.encoding import event_args
from roomcast.chat.model import ANYONE
from roomcast.chat.ports import Appended, Gap, Head, LogEntry, LogUnavailable, Replay
from roomcast.chat.relay import Relay, RelayOptions
from roomcast.contract.rest import SendMessage
from roomcast.eventlog.memory import MemoryEventLog, MemoryLogOptions
from support.backend import Backend, new_message, open_backend
from support.waiting import until

FAST = RelayOptions(mark_delay_s=0, retry_min_s=0.001, retry_max_s=0.01, seed_entries=5, batch_entries=3)


class UnsteadyLog(MemoryEventLog):
    """Out of reach while ``down``; also forgets on demand, and counts its appends."""

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
            raise LogUnavailable("out of reach")

    async def append(self, chat_id: str, epoch: str, entries: Sequence[LogEntry]) -> Appended | Gap:
        await self._step()
        self.appends.append([entry.seq for entry in entries])
        return await super().append(chat_id, epoch, entries)

    async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
        await self._step()
        return await super().seed(chat_id, head, entries)

    async def head(self, chat_id: str) -> Head | None:
        await self._step()
        return await super().head(chat_id)

    def forget(self) -> None:
        """What a restart of the engine does."""
        self._chats.clear()


class Listener:
    """Every seq that a subscriber of one chat was fed."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self._news = asyncio.Event()

    def __call__(self, _epoch: str, entries: Sequence[LogEntry]) -> None:
        self.seqs.extend(entry.seq for entry in entries)
        self._news.set()

    async def reached(self, seq: int) -> None:
        async with asyncio.timeout(10):
            while seq not in self.seqs:
                self._news.clear()
                await self._news.wait()


async def send(backend: Backend, chat_id: str = "c", count: int = 1) -> None:
    for _ in range(count):
        await backend.writer.send(ANYONE, SendMessage(chatId=chat_id, role="USER", content="hello"))


async def all_marks_are_gone(backend: Backend) -> None:
    async def all_are() -> bool:
        return not await backend.store.chats.unpublished(1)

    await until(all_are)


async def test_what_was_sent_is_in_the_log_as_it_is_in_the_table(tmp_path: Path) -> None:
    listener = Listener()
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await backend.log.subscribe("c", listener)
        await send(backend, count=3)
        await listener.reached(3)
        events, _ = await backend.store.chats.events_after("c", 0, 9)
        found = await backend.log.read("c", backend.reader.epoch, 0, 9)
        assert isinstance(found, Replay)
        assert [entry.args for entry in found.entries] == [event_args(event) for event in events]
        await all_marks_are_gone(backend)


async def test_the_fast_path_reads_nothing(tmp_path: Path) -> None:
    log = UnsteadyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the sweep at the start would look as well
        await send(backend, count=3)
        await all_marks_are_gone(backend)
    assert [seq for seqs in log.appends for seq in seqs] == [1, 2, 3]


async def test_events_that_come_while_one_append_is_under_way_go_together(tmp_path: Path) -> None:
    log = UnsteadyLog()
    log.hold = asyncio.Event()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the sweep at the start would look as well
        await send(backend, count=4)
        log.hold.set()
        await all_marks_are_gone(backend)
    assert log.appends == [[1], [2, 3, 4]]


async def test_too_many_waiting_events_are_read_from_the_table_instead(tmp_path: Path) -> None:
    log = UnsteadyLog()
    log.hold = asyncio.Event()
    options = RelayOptions(mark_delay_s=0, fresh_entries=2)
    async with open_backend(tmp_path, log=log, relay_options=options) as backend:
        await send(backend, count=9)
        log.hold.set()
        await all_marks_are_gone(backend)
        assert await log.head("c") == Head(backend.reader.epoch, 9)


async def test_what_an_earlier_process_left_is_published_at_the_start(tmp_path: Path) -> None:
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await backend.relay.stop()
        for chat_id in ("c", "d"):
            await backend.store.chats.append_message(new_message(chat_id))
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await all_marks_are_gone(backend)
        assert await backend.log.head("c") == await backend.log.head("d") == Head(backend.reader.epoch, 1)


async def test_an_absent_log_gets_the_bounded_recent_past(tmp_path: Path) -> None:
    log = UnsteadyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await send(backend, count=12)
        await all_marks_are_gone(backend)
        log.forget()
        await send(backend)
        await all_marks_are_gone(backend)
        # The last five that had been published, and the one that had not.
        found = await log.read("c", backend.reader.epoch, 7, 99)
        assert isinstance(found, Replay)
        assert [entry.seq for entry in found.entries] == [8, 9, 10, 11, 12, 13]
        assert not isinstance(await log.read("c", backend.reader.epoch, 6, 99), Replay)


async def test_an_absent_log_gets_all_that_was_never_published_up_to_a_bound(tmp_path: Path) -> None:
    for count, first in ((20, 6), (60, 31)):
        directory = tmp_path / str(count)
        options = RelayOptions(mark_delay_s=0, retry_min_s=0.001, retry_max_s=0.01, seed_entries=5, max_seed_entries=40)
        log = UnsteadyLog()
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
            # Five further back than what was never published, and no more than the bound.
            assert not isinstance(await log.read("c", backend.reader.epoch, first - 2, 100), Replay)


async def test_a_log_that_is_behind_is_mended_in_batches(tmp_path: Path) -> None:
    log = UnsteadyLog()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        backend.relay._sweep_wanted.clear()  # the sweep at the start would look as well
        await send(backend)
        await all_marks_are_gone(backend)
        # Another process committed these and died before it could publish.
        for _ in range(7):
            await backend.store.chats.append_message(new_message())
        assert await backend.relay.publish_now("c")
        assert log.appends[1:] == [[2, 3, 4], [5, 6, 7], [8]]
        await all_marks_are_gone(backend)


async def test_sends_succeed_while_the_log_is_down_and_arrive_in_order_afterwards(tmp_path: Path) -> None:
    log, listener = UnsteadyLog(), Listener()
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        await log.subscribe("c", listener)
        await send(backend)
        await listener.reached(1)
        log.down = True
        await send(backend, count=4)
        assert not await backend.relay.publish_now("c")
        assert listener.seqs == [1]
        log.down = False
        await listener.reached(5)
        assert listener.seqs == [1, 2, 3, 4, 5]
        await all_marks_are_gone(backend)


@pytest.mark.parametrize("seed", range(3))
async def test_nothing_is_lost_or_reordered_over_a_log_that_fails_at_random(tmp_path: Path, seed: int) -> None:
    log = UnsteadyLog()
    chats, sends = [f"c{number}" for number in range(4)], 15
    listeners = {chat_id: Listener() for chat_id in chats}
    async with open_backend(tmp_path, log=log, relay_options=FAST) as backend:
        for chat_id, listener in listeners.items():
            await log.subscribe(chat_id, listener)
            await send(backend, chat_id)
            await listener.reached(1)
        log.chance = random.Random(seed)

        async def sender(chat_id: str) -> None:
            for _ in range(sends):
                await send(backend, chat_id)

        await asyncio.gather(*(sender(chat_id) for chat_id in chats for _ in range(2)))
        for listener in listeners.values():
            await listener.reached(2 * sends + 1)
            assert listener.seqs == list(range(1, 2 * sends + 2))
        await all_marks_are_gone(backend)


async def test_a_join_finds_a_log_even_of_a_chat_that_does_not_exist(tmp_path: Path) -> None:
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        admitted = await backend.admissions.admit("new", None, None)
        assert admitted.seq == 0
        assert await backend.admissions.request_publish("new")
        assert await backend.log.head("new") == Head(backend.reader.epoch, 0)


async def test_expecting_what_the_log_has_costs_no_query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_backend(tmp_path, relay_options=FAST) as backend:
        await send(backend, count=2)
        await all_marks_are_gone(backend)

        async def unexpected(*_args: object) -> None:
            raise AssertionError("asked the table")

        monkeypatch.setattr(backend.store.chats, "events_after", unexpected)
        await backend.relay.ensure_log("c", 2)
        assert backend.relay._lanes == {}


async def test_a_sweep_goes_once_through_all_chats_however_many_are_just_being_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = RelayOptions(mark_delay_s=0, sweep_chats=2)
    async with open_backend(tmp_path, relay_options=options) as backend:
        chats = backend.store.chats
        for number in range(5):
            await send(backend, f"c{number}")
        # From here on nobody else looks.
        await backend.relay.stop()
        relay = Relay(chats, backend.log, options)
        look, looks = chats.unpublished, 0

        async def look_while_others_write(limit: int, after: str = "") -> Sequence[str]:
            nonlocal looks
            looks += 1
            for number in range(5):
                await chats.append_message(new_message(f"c{number}"))
            return await look(limit, after) if looks < 20 else []

        monkeypatch.setattr(chats, "unpublished", look_while_others_write)
        assert await relay._sweep()
        assert looks == 4
        monkeypatch.undo()
        # What came behind it is for the next one.
        assert await relay._sweep()
        assert await chats.unpublished(1) == []


async def test_a_stop_answers_whoever_waits(tmp_path: Path) -> None:
    log = UnsteadyLog()
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
