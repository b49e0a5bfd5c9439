"""A new epoch while replicas run (docs/decisions/0001): two back ends with one PostgreSQL and one log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import product

import pytest

from roomcast.chat.delivery.relay import Relay, RelayOptions
from roomcast.chat.model import ANYONE
from roomcast.chat.ports import ChatStore, EventLog, Head, LogEntry
from roomcast.chat.use_cases.admission import Admissions
from roomcast.chat.use_cases.reading import ChatReader
from roomcast.contract.cursor import Cursor
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.store.migrating import migrate
from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.backend import new_message
from support.databases import fresh_postgres
from support.postgres_server import PostgresServer


@dataclass(frozen=True)
class Replica:
    """The back end of one process."""

    store: ChatStore
    relay: Relay

    @property
    def admissions(self) -> Admissions:
        return Admissions(self.store, self.relay)

    async def send(self, chat_id: str) -> Head:
        """Write and publish a message; returns the head."""
        event = (await self.store.commit(new_message(chat_id))).event
        assert await self.relay.publish_now(chat_id)
        return Head(event.epoch, event.seq)

    async def join(self, chat_id: str, since: Cursor | None = None) -> tuple[Head, bool]:
        """Join and wait for the publishing that it causes; returns the head, and whether the client has to reset."""
        admitted = await self.admissions.admit(chat_id, None, since)
        assert await self.relay.publish_now(chat_id)
        return Head(admitted.epoch, admitted.seq), admitted.reset


@pytest.fixture
def options(postgres: PostgresServer) -> DatabaseOptions:
    return fresh_postgres(postgres)


@asynccontextmanager
async def replicas(options: DatabaseOptions, log: EventLog) -> AsyncIterator[tuple[Replica, Replica]]:
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(2):
            store = (await stack.enter_async_context(open_store(options))).chats
            relay = Relay(store, log, RelayOptions(mark_delay_s=0))
            # Not started, so that no sweep interferes.
            stack.push_async_callback(relay.stop)
            opened.append(Replica(store, relay))
        yield opened[0], opened[1]


async def test_a_replica_that_only_serves_joins_keeps_logs_in_the_new_epoch(options: DatabaseOptions) -> None:
    log = MemoryEventLog()
    async with replicas(options, log) as (stale, fresh):
        old = (await stale.send("quiet")).epoch
        await migrate(options, new_epoch=True)
        new = (await fresh.send("other")).epoch
        assert new != old
        for _ in range(2):
            for replica in (fresh, stale):
                assert await replica.join("quiet") == (Head(new, 1), False)
                assert await log.head("quiet") == Head(new, 1)


async def test_no_log_of_an_old_epoch_contains_an_event_of_a_new_one(options: DatabaseOptions) -> None:
    log = MemoryEventLog()
    async with replicas(options, log) as (stale, fresh):
        old = (await stale.send("c")).epoch
        await migrate(options, new_epoch=True)
        # Committed by the other replica and not published yet.
        new = (await fresh.store.commit(new_message())).event.epoch
        assert await stale.relay.publish_now("c")
        assert await log.head("c") == Head(new, 2)
        # The cursor of a client that received another event 2, which the restore lost.
        assert await stale.join("c", Cursor(epoch=old, seq=2)) == (Head(new, 2), True)


@pytest.mark.parametrize("chat_id", ["quiet", "unknown"])
async def test_an_absent_log_is_seeded_in_the_newest_epoch(options: DatabaseOptions, chat_id: str) -> None:
    seeded: list[str] = []

    class RecordingLog(MemoryEventLog):
        async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
            seeded.append(head.epoch)
            return await super().seed(chat_id, head, entries)

    async with replicas(options, RecordingLog()) as (stale, fresh):
        await stale.store.commit(new_message("quiet"))
        await migrate(options, new_epoch=True)
        head, _ = await stale.join(chat_id)
        assert seeded == [head.epoch]
        await fresh.send("other")
        assert head.epoch == fresh.store.epoch


async def test_an_epoch_that_begins_during_a_seed_is_the_epoch_of_the_log_in_the_end(options: DatabaseOptions) -> None:
    class DelayedSeedLog(MemoryEventLog):
        """The first seed arrives after a new epoch and everything that follows from it."""

        delayed = False

        async def seed(self, chat_id: str, head: Head, entries: Sequence[LogEntry]) -> Head:
            if not self.delayed:
                self.delayed = True
                await migrate(options, new_epoch=True)
                await fresh.send("other")
                await fresh.join(chat_id)
            return await super().seed(chat_id, head, entries)

    log = DelayedSeedLog()
    async with replicas(options, log) as (slow, fresh):
        await slow.store.commit(new_message())
        assert await slow.relay.publish_now("c")
        assert await log.head("c") == Head(fresh.store.epoch, 1)
        assert log.delayed


@pytest.mark.parametrize(
    ("what", "chat_id"),
    [*product(("access", "events", "messages"), ("c", "unknown")), ("chats", "c")],
)
async def test_a_replica_that_is_only_read_names_the_new_epoch(
    options: DatabaseOptions, what: str, chat_id: str
) -> None:
    async with open_store(options) as store, open_store(options) as other:
        await store.chats.commit(new_message())
        await migrate(options, new_epoch=True)
        await other.chats.commit(new_message("d"))
        reader = ChatReader(store.chats)
        match what:
            case "access":
                await store.chats.access(chat_id, None, None)
            case "events":
                # None of the events was written since.
                assert (await reader.events(ANYONE, chat_id, 0, 9, None)).epoch == other.chats.epoch
            case "messages":
                page = await reader.messages(ANYONE, chat_id, before=None, after=None, limit=9)
                assert page.epoch == other.chats.epoch
            case "chats":
                assert (await reader.chats(ANYONE, 9, None)).epoch == other.chats.epoch
        assert store.chats.epoch == other.chats.epoch


async def test_the_epochs_of_a_second_and_older_backup_replace_those_of_the_first(
    postgres: PostgresServer, options: DatabaseOptions
) -> None:
    name = options.url.rpartition("/")[2]
    async with open_store(options) as store:
        await store.chats.commit(new_message())
        await migrate(options, new_epoch=True)
        await store.chats.access("c", None, None)
        lost = store.chats.epoch
        # As after a second restore: as many epochs, with another one at the end.
        postgres.execute(f"UPDATE epochs SET epoch = 'another' WHERE epoch = '{lost}'", name)  # noqa: S608 - a value of this test
        assert not (await store.chats.access("c", None, Cursor(epoch=lost, seq=0))).cursor_valid
        assert store.chats.epoch == "another"
        # As after the restore of an older backup.
        postgres.execute("DELETE FROM epochs WHERE epoch = 'another'", name)
        assert not (await store.chats.access("c", None, Cursor(epoch="another", seq=0))).cursor_valid
