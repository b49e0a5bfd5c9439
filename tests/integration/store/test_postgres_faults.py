"""Several processes on one PostgreSQL; a server that is killed or hangs. The long versions are in tests/chaos/store."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from datetime import timedelta

import pytest

from roomcast.chat.commands import MarkPublished
from roomcast.chat.errors import StoreUnavailable
from roomcast.store.migrating import HEAD
from roomcast.store.opening import open_store
from roomcast.store.options import READERS, DatabaseOptions
from support.backend import START, new_message
from support.postgres_server import PostgresServer
from support.store_load import Tally, check_exact, load, load_from_processes, message, send_until_acknowledged

_MIGRATE = """
import asyncio, sys
from roomcast.store.migrating import migrate
from roomcast.store.options import DatabaseOptions
print(asyncio.run(migrate(DatabaseOptions(url=sys.argv[1]))))
"""


async def test_two_processes_that_write_to_one_chat_produce_one_order(own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.create_database())
    tallies = await load_from_processes(url, ("one", "two"), senders=25, seconds=1)
    async with open_store(DatabaseOptions(url=url)) as store:
        total = await check_exact(store.chats, tallies)
    assert total == sum(len(tally.acknowledged) for tally in tallies)
    assert not any(tally.failed for tally in tallies)
    print([tally.figures for tally in tallies])  # noqa: T201 - figures for runs with -s


async def test_a_killed_server_loses_no_acknowledged_message_and_is_reconnected(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.url(own_postgres.create_database()))
    async with open_store(options) as first, open_store(options) as second:
        loads = [
            asyncio.create_task(load(store.chats, name, senders=10, seconds=2, pause_s=0.005))
            for name, store in (("one", first), ("two", second))
        ]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(own_postgres.kill)
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await first.chats.commit(message("while it is down"))
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await first.chats.chat("busy")
        await asyncio.to_thread(own_postgres.start)
        tallies = await asyncio.gather(*loads)
        assert all(tally.failed for tally in tallies)
        await check_exact(first.chats, tallies)


async def test_dead_idle_connections_are_replaced_without_an_error(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.url(own_postgres.create_database()))
    async with open_store(options) as store:
        await asyncio.gather(*(store.chats.commit(message(f"a{number}")) for number in range(5)))
        await asyncio.gather(*(store.chats.chat("busy") for _ in range(5)))
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(own_postgres.start)
        # A transaction that begins on a dead connection is retried on a new one.
        chats = await asyncio.gather(*(store.chats.chat("busy") for _ in range(5)))
        assert all(chat is not None and chat.last_seq == 5 for chat in chats)
        assert (await store.chats.commit(message("b"))).event.seq == 6


async def test_a_killed_server_forgets_no_claim_so_two_workers_never_hold_one_generation(
    own_postgres: PostgresServer,
) -> None:
    # An asynchronous commit would be lost for sure.
    own_postgres.execute("ALTER SYSTEM SET wal_writer_delay = '10s'")
    own_postgres.execute("SELECT pg_reload_conf()")
    options = DatabaseOptions(url=own_postgres.url(own_postgres.create_database()))
    async with open_store(options) as store:
        await store.chats.commit(new_message(default_responder="demo"))
        first = await store.turns.claim_turn(START, START)
        await asyncio.to_thread(own_postgres.kill)
        await asyncio.to_thread(own_postgres.start)
        second = await store.turns.claim_turn(START + timedelta(seconds=1), START)
        assert first is not None
        assert second is not None
        assert (first.claim.generation, second.claim.generation) == (1, 2)


async def test_calls_to_a_hanging_server_time_out_and_succeed_after_it_resumes(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(
        url=own_postgres.url(own_postgres.create_database()),
        read_timeout_s=0.4,
        write_timeout_s=0.4,
        connect_timeout_s=2,
    )
    async with open_store(options) as store:
        await store.chats.commit(message("before"))
        await store.chats.chat("busy")
        await asyncio.to_thread(own_postgres.pause)
        started = time.perf_counter()
        abandoned = [asyncio.create_task(store.chats.chat("busy")) for _ in range(READERS)]
        await asyncio.sleep(0)
        for task in abandoned:
            task.cancel()
        tally = Tally()
        sends = [asyncio.create_task(send_until_acknowledged(store.chats, f"k{n}", tally)) for n in range(5)]
        with pytest.raises(StoreUnavailable, match="in time"):
            await store.chats.chat("busy")
        with pytest.raises(StoreUnavailable, match="in time"):
            await store.chats.commit(message("while it hangs"))
        assert time.perf_counter() - started < 2
        await asyncio.to_thread(own_postgres.resume)
        await asyncio.gather(*sends)
        assert await check_exact(store.chats, [tally]) in {6, 7}  # the send that timed out may have been committed


async def test_a_process_that_stops_in_mid_transaction_does_not_block_the_others(own_postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=own_postgres.url(own_postgres.create_database()), statement_timeout_s=0.5)
    async with open_store(options) as store, open_store(options) as stopped:
        await store.chats.commit(message("first"))
        locked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(connection: object) -> None:
            connection.exec_driver_sql("SELECT * FROM chats FOR UPDATE")  # type: ignore[attr-defined]
            if not locked.is_set():
                loop.call_soon_threadsafe(locked.set)
                time.sleep(1.2)  # this thread represents a stopped process
            connection.exec_driver_sql("SELECT 1")  # type: ignore[attr-defined]

        stopped_write = asyncio.create_task(stopped.chats._database.write(hold))
        await locked.wait()
        tally = Tally()
        await send_until_acknowledged(store.chats, "second", tally)
        assert not stopped_write.done()
        # The server closed its connection and released its lock; the transaction was retried.
        await stopped_write


async def test_several_processes_can_migrate_one_database_at_the_same_time(own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.create_database())
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _MIGRATE, url, stdout=asyncio.subprocess.PIPE)
        for _ in range(3)
    ]
    outputs = [(await process.communicate())[0].decode().strip() for process in processes]
    assert sorted(outputs) == sorted(["None", HEAD, HEAD])
    name = url.rpartition("/")[2]
    assert own_postgres.execute("SELECT count(*) FROM epochs", name) == [(1,)]


async def test_replicas_that_write_the_same_chats_in_any_order_never_deadlock(postgres: PostgresServer) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")  # noqa: T201 - to reproduce a failure
    chance = random.Random(seed)
    options = DatabaseOptions(url=postgres.url(postgres.create_database()))
    async with open_store(options) as first, open_store(options) as second:
        tallies: dict[str, Tally] = {f"chat-{number}": Tally() for number in range(12)}

        async def sender(number: int) -> None:
            for count in range(10):
                chat_id = chance.choice(list(tallies))
                store = chance.choice([first, second])
                await send_until_acknowledged(store.chats, f"{number}-{count}", tallies[chat_id], chat_id)
                if chance.random() < 0.3:
                    await store.chats.commit(MarkPublished(dict.fromkeys(chance.sample(list(tallies), 6), count)))

        await asyncio.gather(*(sender(number) for number in range(30)))
        for chat_id, tally in tallies.items():
            assert await check_exact(first.chats, [tally], chat_id) == len(tally.acknowledged)
            assert not tally.failed
