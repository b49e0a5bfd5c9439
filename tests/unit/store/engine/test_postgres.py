from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import re
import socket
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    Enum,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    select,
)

from roomcast.chat.commands import EndTurn, StartTurn
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import Ending
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import TurnStatus
from roomcast.store.engine import postgres as postgres_module
from roomcast.store.engine.backend import display_url
from roomcast.store.engine.database import Database
from roomcast.store.engine.statements import Changes
from roomcast.store.errors import DatabaseTooNew, DatabaseUnreadable, ServerTooOld
from roomcast.store.migrating import migrate
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message
from support.databases import fresh_postgres
from support.postgres_server import PostgresServer
from support.tcp_proxy import TcpProxy


@pytest.fixture
def options(postgres: PostgresServer) -> DatabaseOptions:
    return fresh_postgres(postgres)


async def test_an_acknowledged_write_waits_for_the_disk(options: DatabaseOptions) -> None:
    database = await Database.open(options)

    def level(connection: Connection) -> object:
        return connection.exec_driver_sql("SHOW synchronous_commit").scalar()

    assert await database.write(level) == "on"
    assert await database.write(level, durable=False) == "off"
    assert await database.write(level) == "on"
    await database.close()


async def test_the_reading_connections_cannot_write(options: DatabaseOptions) -> None:
    database = await Database.open(options)
    with pytest.raises(StoreUnavailable, match="read-only"):
        await database.read(lambda connection: connection.exec_driver_sql("DELETE FROM outbox"))
    await database.close()


async def test_a_writing_connection_that_became_read_only_is_replaced(options: DatabaseOptions) -> None:
    async with open_store(options) as store:
        database = store.chats._database
        await database.write(lambda connection: connection.exec_driver_sql("SET default_transaction_read_only = on"))
        assert (await store.chats.commit(new_message())).event.seq == 1


async def test_without_a_pooler_frequent_statements_are_prepared(options: DatabaseOptions) -> None:
    database = await Database.open(options)

    def prepared(connection: Connection) -> object:
        for _ in range(8):  # psycopg prepares a statement after five executions
            connection.exec_driver_sql("SELECT id FROM chats")
        return connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar()

    assert await database.read(prepared) == 1
    await database.close()


async def test_a_column_that_a_newer_version_adds_does_not_break_an_older_one(
    postgres: PostgresServer, options: DatabaseOptions
) -> None:
    name = options.url.rpartition("/")[2]
    async with open_store(options) as store:

        async def use_everything() -> None:
            for _ in range(8):  # psycopg prepares a statement after five executions
                await store.chats.commit(new_message(client_msg_id="k"))
                await store.chats.events_after("c", 0, 9)
                await store.chats.messages("c", before=None, after=None, limit=9)
                await store.chats.chat("c")

        await use_everything()
        try:
            for table in ("chats", "events", "messages"):
                postgres.execute(f"ALTER TABLE {table} ADD COLUMN added text", name)
            await use_everything()
        finally:
            for table in ("chats", "events", "messages"):
                postgres.execute(f"ALTER TABLE {table} DROP COLUMN IF EXISTS added", name)


async def test_the_server_ends_a_statement_that_takes_too_long(postgres: PostgresServer) -> None:
    database = await Database.open(DatabaseOptions(url=fresh_postgres(postgres).url, statement_timeout_s=0.1))
    with pytest.raises(StoreUnavailable, match="statement timeout"):
        await database.read(lambda connection: connection.exec_driver_sql("SELECT pg_sleep(5)"))
    await database.close()


async def test_a_start_begins_no_epoch(options: DatabaseOptions) -> None:
    async with open_store(options) as first, open_store(options) as second:
        assert first.chats.epoch == second.chats.epoch


async def holds(store: Store, cursor: Cursor) -> bool:
    return (await store.chats.access("c", None, cursor)).cursor_valid


async def test_every_process_writes_and_reads_in_a_new_epoch_without_a_restart(options: DatabaseOptions) -> None:
    async with open_store(options) as first, open_store(options) as second:
        old = first.chats.epoch
        for _ in range(2):
            await first.chats.commit(new_message())
        await migrate(options, new_epoch=True)
        event = (await first.chats.commit(new_message())).event
        new = event.epoch
        assert new != old
        events, _ = await second.chats.events_after("c", 0, 9)
        assert [event.epoch for event in events] == [old, old, new]
        assert await holds(second, Cursor(epoch=old, seq=2))
        assert not await holds(second, Cursor(epoch=old, seq=3))
        assert await holds(second, Cursor(epoch=new, seq=3))
        assert second.chats.epoch == new


async def test_a_cursor_of_an_epoch_that_another_process_met_first_holds(options: DatabaseOptions) -> None:
    async with open_store(options) as store:
        await migrate(options, new_epoch=True)
        async with open_store(options) as other:
            newest = other.chats.epoch
        assert store.chats.epoch != newest
        assert await holds(store, Cursor(epoch=newest, seq=0))


async def test_a_column_of_any_type_can_be_written(options: DatabaseOptions) -> None:
    columns: list[Column[Any]] = [
        Column("id", String(3)),
        Column("text", Text),
        Column("done", Boolean),
        Column("at", DateTime(timezone=True)),
        Column("size", Numeric(9, 2)),
        Column("kind", Enum("a", "b", name="sample_kind")),
        Column("raw", LargeBinary),
    ]
    table = Table("sample", MetaData(), *columns)
    rows = [
        {"id": "r1", "text": "x", "done": True, "at": START, "size": Decimal("1.5"), "kind": "a", "raw": b"\x00"},
        {"id": "r2", "text": None, "done": None, "at": None, "size": None, "kind": None, "raw": None},
    ]
    database = await Database.open(options)

    def write(connection: Connection) -> list[dict[str, Any]]:
        table.create(connection)
        database.statements.write(connection, Changes(inserts={table: rows}), last=False)
        found = [dict(row._mapping) for row in connection.execute(select(table).order_by(table.c.id))]
        table.drop(connection)
        return found

    assert await database.write(write) == rows
    await database.close()


async def test_a_server_that_is_too_old_is_reported(options: DatabaseOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "MIN_VERSION", 99)
    with pytest.raises(ServerTooOld, match=r"is PostgreSQL \d+; roomcast needs 99 or newer"):
        await migrate(options)
    with pytest.raises(ServerTooOld):
        await Database.open(options)


async def test_a_database_of_a_newer_version_is_rejected(postgres: PostgresServer, options: DatabaseOptions) -> None:
    name = options.url.rpartition("/")[2]
    (before,) = postgres.execute("SELECT version_num FROM alembic_version", name)
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", name)
    with pytest.raises(DatabaseTooNew, match="update roomcast"):
        await migrate(options)
    postgres.execute(f"UPDATE alembic_version SET version_num = '{before[0]}'", name)  # noqa: S608 - the previous value


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_another_encoding_is_rejected(postgres: PostgresServer, encoding: str) -> None:
    postgres.execute(f"CREATE DATABASE {encoding} ENCODING '{encoding}' TEMPLATE template0")
    with pytest.raises(DatabaseUnreadable, match=f"its encoding is {encoding}; create .* in DATABASE_URL"):
        await migrate(DatabaseOptions(url=postgres.url(encoding.lower())))


async def test_the_environment_does_not_choose_the_encoding_of_texts(
    options: DatabaseOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "SQL_ASCII")
    async with open_store(options) as store:
        assert (await store.chats.commit(new_message(content="資料"))).event.seq == 1


async def test_an_unreachable_server_is_reported_on_one_line_without_the_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://ann:secret@127.0.0.1:{taken.getsockname()[1]}/db?sslpassword=hidden"
        with pytest.raises(DatabaseUnreadable) as caught:
            await migrate(DatabaseOptions(url=url))
    message = str(caught.value)
    assert "connection refused" in message.lower()
    assert "\n" not in message
    assert "secret" not in message
    assert "hidden" not in message


async def test_an_unknown_database_is_reported(postgres: PostgresServer) -> None:
    with pytest.raises(DatabaseUnreadable, match='database "nowhere" does not exist'):
        await migrate(DatabaseOptions(url=postgres.url("nowhere")))


async def test_a_database_without_tables_is_reported(postgres: PostgresServer) -> None:
    name = postgres.create_database()
    with pytest.raises(DatabaseUnreadable, match="epochs"):
        await Database.open(DatabaseOptions(url=postgres.url(name)))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
async def test_the_usual_schemes_are_accepted(postgres: PostgresServer, scheme: str) -> None:
    url = fresh_postgres(postgres).url.replace("postgresql", scheme, 1)
    async with open_store(DatabaseOptions(url=f"{url}?application_name=mine&options=-c%20work_mem%3D8MB")) as store:

        def settings(connection: Connection) -> list[object]:
            return [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("application_name", "work_mem")]

        assert await store.chats._database.read(settings) == ["mine", "8MB"]


@pytest.mark.parametrize(
    "form",
    [
        "postgresql://roomcast@127.0.0.1:{closed},127.0.0.1:{port}/{name}",
        "postgres://roomcast@127.0.0.1:{port},127.0.0.1:{port}/{name}?target_session_attrs=read-write",
        "postgresql:///{name}?host=127.0.0.1&port={port}&user=roomcast",
        "postgresql:///{name}?host={directory}&port={port}&user=roomcast",
        "postgresql://roomcast@{quoted}:{port}/{name}",
    ],
)
async def test_every_form_of_libpq_is_accepted(postgres: PostgresServer, options: DatabaseOptions, form: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = form.format(
            closed=closed.getsockname()[1],
            port=postgres.port,
            name=options.url.rpartition("/")[2],
            directory=postgres.directory,
            quoted=quote(str(postgres.directory), safe=""),
        )
        async with open_store(DatabaseOptions(url=url)) as store:
            assert (await store.chats.commit(new_message())).event.seq == 1


async def test_the_second_host_of_the_url_takes_over(postgres: PostgresServer, options: DatabaseOptions) -> None:
    name = options.url.rpartition("/")[2]
    async with TcpProxy(postgres.port) as first, TcpProxy(postgres.port) as second:
        url = f"postgresql://roomcast@127.0.0.1:{first.port},127.0.0.1:{second.port}/{name}"
        async with open_store(DatabaseOptions(url=url)) as store:
            await store.chats.commit(new_message())
            first.close()
            assert (await store.chats.commit(new_message())).event.seq == 2
            assert (await store.chats.events_after("c", 0, 9))[1] == 2


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://h/db",
        "no url",
        "postgresql://h:port/db",
        "postgresql://h/db?sslmod=require",
        "postgresql://ann:p@ss@h/db",
        "postgresql://ann:100%@h/db",
    ],
)
async def test_other_urls_are_rejected(url: str) -> None:
    with pytest.raises(DatabaseUnreadable, match="postgresql://user:password@host") as caught:
        await migrate(DatabaseOptions(url=url))
    assert not re.search("p@ss|ss@h|100%", str(caught.value))


@pytest.mark.parametrize("password", ["secret", "", "se?cret", "se#cret", "se:cret"])
def test_neither_repr_nor_display_url_shows_a_password(password: str) -> None:
    url = f"postgresql://ann:{password}@host/db?password=secret&sslpassword=secret"
    assert conninfo_to_dict(url)["host"] == "host"
    assert "cret" not in repr(DatabaseOptions(url=url))
    assert display_url(url) == "postgresql://ann:***@host/db"


def test_display_url_keeps_what_is_no_password() -> None:
    for url in ("postgresql://ann@host:5432/db", "postgresql://[::1]:5432/db", "postgresql:///db"):
        assert display_url(url) == display_url(f"{url}?host=a:b@c") == url


async def test_u_0000_is_rejected_and_the_other_sends_succeed(options: DatabaseOptions) -> None:
    async with open_store(options) as store:
        outcomes = await asyncio.gather(
            store.chats.commit(new_message()),
            store.chats.commit(new_message(content="a\x00b")),
            store.chats.commit(new_message()),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], Exception)
        assert [outcome.event.seq for outcome in (outcomes[0], outcomes[2])] == [1, 2]  # type: ignore[union-attr]


async def test_workers_of_two_processes_claim_each_turn_once(options: DatabaseOptions) -> None:
    async with open_store(options) as first, open_store(options) as second:
        for number in range(10):
            await first.chats.commit(new_message(f"c{number}", default_responder="demo"))
        claims = [store.turns.claim_turn(START, START) for _ in range(10) for store in (first, second)]
        turns = [turn.claim.turn_id for turn in await asyncio.gather(*claims) if turn is not None]
        assert len(turns) == len(set(turns)) == 10


async def test_workers_of_two_processes_never_stream_two_turns_of_a_chat_at_once(options: DatabaseOptions) -> None:
    async with open_store(options) as first, open_store(options) as second:
        answered: list[str] = []

        async def work(store: Store) -> None:
            while len(answered) < 12:
                turn = await store.turns.claim_turn(START, START + timedelta(seconds=30))
                if turn is not None:
                    await store.turns.commit(StartTurn(turn.claim, START))
                    await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content="x"), START))
                    answered.append(turn.message.content)

        async def send(store: Store, name: str) -> None:
            for number in range(6):
                await store.chats.commit(new_message(content=f"{name}{number}", default_responder="demo"))

        await asyncio.gather(work(first), work(second), send(first, "a"), send(second, "b"))
        found, _ = await first.chats.events_after("c", 0, 100)
        bodies = [json.loads(event.payload) for event in found]
        asked = [body["content"] for body in bodies if body.get("role") == "USER"]
        states = [body["turn"]["status"] for body in bodies if body.get("role") != "USER"]
    assert answered == asked
    assert states == ["streaming", "complete"] * 12


async def test_a_cancelled_read_leaves_no_result_for_the_next_one(options: DatabaseOptions) -> None:
    async with open_store(options) as store:
        for number in range(8):
            await store.chats.commit(new_message(f"c{number}", content=f"only in {number}"))

        async def read(number: int) -> None:
            messages, _ = await store.chats.messages(f"c{number}", before=None, after=None, limit=9)
            assert [message.content for message in messages] == [f"only in {number}"]

        for _ in range(20):
            tasks = [asyncio.create_task(read(random.randrange(8))) for _ in range(12)]
            await asyncio.sleep(random.uniform(0, 0.004))
            for task in random.sample(tasks, 6):
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert outcome is None or isinstance(outcome, asyncio.CancelledError)


async def test_a_write_that_timed_out_while_connecting_is_not_executed(
    postgres: PostgresServer, options: DatabaseOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = await Database.open(dataclasses.replace(options, write_timeout_s=0.5))
    connecting, resume = threading.Event(), threading.Event()
    connect = psycopg.connect

    def connect_slowly(*given: Any, **parameters: Any) -> psycopg.Connection[Any]:
        connecting.set()
        resume.wait()
        return connect(*given, **parameters)

    monkeypatch.setattr(psycopg, "connect", connect_slowly)
    database._writer.dispose()
    with pytest.raises(StoreUnavailable, match="in time"):
        await database.write(lambda connection: connection.exec_driver_sql("CREATE TABLE written_late (x int)"))
    assert connecting.is_set()
    resume.set()
    await database.close()  # waits for the thread
    name = options.url.rpartition("/")[2]
    found = postgres.execute("SELECT tablename FROM pg_tables WHERE tablename = 'written_late'", name)
    postgres.execute("DROP TABLE IF EXISTS written_late", name)
    assert found == []
