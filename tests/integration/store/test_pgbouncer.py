"""The store behind a real PgBouncer in transaction mode, which forgets settings and prepared statements."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from roomcast.store.opening import open_store
from roomcast.store.options import DatabaseOptions
from support.pgbouncer import pgbouncer
from support.postgres_server import PostgresServer
from support.store_load import check_exact, load


@pytest.fixture(params=["", "ignore_startup_parameters = options"], ids=["as installed", "options ignored"])
def options(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[DatabaseOptions]:
    with pgbouncer(postgres, request.param) as port:
        name = postgres.create_database()
        yield DatabaseOptions(url=postgres.url(name).replace(f":{postgres.port}/", f":{port}/"))


async def test_reads_and_writes_in_any_order_succeed(
    options: DatabaseOptions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_store(options) as first, open_store(options) as second:
        stores = first, second
        loads = [load(store.chats, name, senders=5, seconds=0.5) for store, name in zip(stores, "ab", strict=True)]

        async def read(number: int) -> None:
            chats = stores[number % 2].chats
            for _ in range(20):  # psycopg prepares a statement after five executions
                await chats.events_after("busy", 0, 9)
                await chats.access("busy", "ann", None)
                await chats.chats(9, None, None)

        tallies, _ = await asyncio.gather(asyncio.gather(*loads), asyncio.gather(*map(read, range(10))))
        await check_exact(first.chats, tallies)
        assert not any(tally.failed for tally in tallies)
        assert await first.turns.next_lease_end() is None
    assert "the database is behind a connection pooler" in caplog.text


async def test_a_write_sets_its_time_limits_and_durability_itself(options: DatabaseOptions) -> None:
    names = ("statement_timeout", "idle_in_transaction_session_timeout", "synchronous_commit")

    def settings(connection: Connection) -> list[object]:
        return [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names]

    async with open_store(options) as store:
        database = store.chats._database
        assert await database.write(settings) == ["8s", "4s", "on"]
        assert await database.write(settings, durable=False) == ["8s", "4s", "off"]
