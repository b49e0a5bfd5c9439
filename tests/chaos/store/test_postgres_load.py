"""Long loads on PostgreSQL: two replicas write to one chat, and a server is killed repeatedly."""

from __future__ import annotations

import asyncio
import random

import pytest

from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.postgres_server import PostgresServer
from support.store_load import check_exact, load, load_from_processes

pytestmark = pytest.mark.chaos


async def test_fifty_senders_of_two_processes_into_one_chat(own_postgres: PostgresServer) -> None:
    url = own_postgres.url(own_postgres.create_database())
    tallies = await load_from_processes(url, ("one", "two"), senders=25, seconds=15)
    async with open_store(DatabaseOptions(url=url)) as store:
        total = await check_exact(store.chats, tallies)
    assert total == sum(len(tally.acknowledged) for tally in tallies)
    assert not any(tally.failed for tally in tallies)
    # The tables were empty at the start and were never analysed; even so no plan may scan them.
    statistics = "SELECT max(seq_tup_read) FROM pg_stat_user_tables WHERE relname <> 'epochs'"
    assert own_postgres.execute(statistics, url.rpartition("/")[2])[0][0] < 20 * total
    print(total, [tally.figures for tally in tallies])  # noqa: T201 - figures of the run


async def test_a_server_killed_under_load_loses_no_acknowledged_message(own_postgres: PostgresServer) -> None:
    seed = random.randrange(1_000_000)
    chance = random.Random(seed)
    print(f"seed {seed}")  # noqa: T201 - to reproduce a failure
    options = DatabaseOptions(url=own_postgres.url(own_postgres.create_database()))
    async with open_store(options) as first, open_store(options) as second:
        loads = [
            asyncio.create_task(load(store.chats, name, senders=25, seconds=25, pause_s=0.01))
            for name, store in (("one", first), ("two", second))
        ]
        for _ in range(5):
            await asyncio.sleep(chance.uniform(1, 4))
            await asyncio.to_thread(own_postgres.kill)
            await asyncio.sleep(chance.uniform(0, 1))
            await asyncio.to_thread(own_postgres.start)
        tallies = await asyncio.gather(*loads)
        total = await check_exact(first.chats, tallies)
        assert total >= 5_000
        assert all(tally.failed for tally in tallies)
    print(total, [tally.figures for tally in tallies])  # noqa: T201 - figures of the run
