from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from roomcast.chat.model import ChatAi
from roomcast.store.engine import postgres as postgres_engine
from roomcast.store.engine.database import backend_for
from roomcast.store.errors import DatabaseTooNew, DatabaseUnreadable
from roomcast.store.migrating import HEAD, MIGRATIONS, migrate
from roomcast.store.options import DatabaseOptions
from roomcast.store.rows import encode_ai
from roomcast.store.tables import METADATA
from support.backend import database_options
from support.postgres_server import PostgresServer
from support.waiting import until


def is_described(_object: object, name: str | None, *_: object) -> bool:
    """Whether SQLAlchemy can describe it; it knows neither virtual tables nor indexes of expressions."""
    return not str(name).startswith(("search_terms", "search_vocabulary", "ix_search_terms"))


COMPARED: dict[str, Any] = {"compare_type": True, "include_object": is_described}


def test_head_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_the_migrations_create_the_schema_that_the_code_expects(tmp_path: Path) -> None:
    await migrate(database_options(tmp_path))
    engine = create_engine(f"sqlite:///{tmp_path / 'roomcast.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=COMPARED)
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


async def test_the_migrations_create_the_same_schema_on_postgresql(postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=postgres.url(postgres.create_database()))
    await migrate(options)
    engine = create_engine(options.url.replace("postgresql", "postgresql+psycopg", 1))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=COMPARED)
        assert compare_metadata(context, METADATA) == []
        collated = (
            "SELECT count(*) FROM information_schema.columns WHERE column_name LIKE '%%id' AND collation_name = 'C'"
        )
        assert connection.exec_driver_sql(collated).scalar_one() > 10
    engine.dispose()


async def test_migrate_returns_the_previous_revision(tmp_path: Path) -> None:
    assert await migrate(database_options(tmp_path)) is None
    assert await migrate(database_options(tmp_path)) == HEAD


async def test_a_database_of_a_newer_version_is_rejected_and_not_changed(tmp_path: Path) -> None:
    await migrate(database_options(tmp_path))
    connection = sqlite3.connect(tmp_path / "roomcast.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    with pytest.raises(DatabaseTooNew, match="update roomcast"):
        await migrate(database_options(tmp_path))
    assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


#: A chat of the demo with an answered, a failed, a running and a waiting question, and a chat that does not answer.
OLD_ROWS = """
    INSERT INTO epochs (id, epoch, started_at) VALUES (9, 'e', 0);
    INSERT INTO chats (id, responder, created_at, last_activity_at, last_seq)
        VALUES ('demo', 'demo', 0, 0, 5), ('mute', NULL, 0, 0, 0);
    INSERT INTO messages (id, chat_id, seq, epoch_id, role, content, client_msg_id, status, created_at) VALUES
        ('q1', 'demo', 1, 9, 'USER', 'one', 'k', 'sent', 0), ('a1', 'demo', 2, 9, 'AI', 'answer', 'turn:t1', 'sent', 7),
        ('q2', 'demo', 3, 9, 'USER', 'two', NULL, 'sent', 0), ('q3', 'demo', 4, 9, 'USER', 'three', NULL, 'sent', 0),
        ('q4', 'demo', 5, 9, 'USER', 'four', NULL, 'sent', 0);
    INSERT INTO turns (id, chat_id, message_id, seq, responder, status, generation, lease_until, reason, created_at)
        VALUES ('t1', 'demo', 'q1', 1, 'demo', 'done', 1, 50, NULL, 1),
        ('t2', 'demo', 'q2', 3, 'demo', 'failed', 2, 50, 'no model today', 2),
        ('t3', 'demo', 'q3', 4, 'demo', 'running', 1, 50, NULL, 3),
        ('t4', 'demo', 'q4', 5, 'demo', 'pending', 0, 0, NULL, 4)
"""


async def run_on(options: DatabaseOptions, work: Callable[[Connection], None]) -> None:
    """Runs ``work`` in one transaction, as `migrate` does."""
    engine = backend_for(options).engine(writes=True)
    try:
        with engine.begin() as connection:
            await asyncio.to_thread(work, connection)
    finally:
        engine.dispose()


def revise(connection: Connection, change: Callable[[Config, str], None], revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    change(config, revision)


def read(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(query)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_answers_of_the_old_schema_become_turns_and_return(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    options = database_options(tmp_path)
    if kind == "postgresql":
        server = request.getfixturevalue("postgres")
        options = DatabaseOptions(url=server.url(server.create_database()))

    def upgrade(connection: Connection) -> None:
        revise(connection, command.upgrade, "0002")
        for statement in OLD_ROWS.split(";\n"):
            connection.exec_driver_sql(statement)
        revise(connection, command.upgrade, "0003")

    def check(connection: Connection) -> None:
        assert read(connection, "SELECT id, ai FROM chats ORDER BY id") == [
            ("demo", None),
            ("mute", encode_ai(ChatAi(answers="never"))),
        ]
        assert read(connection, "SELECT id, seq, place, version, turn_id FROM messages ORDER BY seq") == [
            ("q1", 1, 1, 1, "a1"),
            ("a1", 2, 2, 1, "a1"),
            ("q2", 3, 3, 1, "t2"),
            ("q3", 4, 4, 1, "t3"),
            ("q4", 5, 5, 1, "t4"),
        ]
        columns = "id, question_id, seq, event_seq, place, status, reason, generation, attempts, lease_until, ended_at"
        assert read(connection, f"SELECT {columns} FROM turns ORDER BY seq") == [  # noqa: S608 - constant
            ("a1", "q1", 1, 2, 2, "complete", None, 1, 1, 0, 7),
            ("t2", "q2", 3, 3, None, "failed", "responder-error", 2, 2, 0, 2),
            ("t3", "q3", 4, 4, None, "queued", None, 1, 1, 0, None),
            ("t4", "q4", 5, 5, None, "queued", None, 0, 0, 0, None),
        ]
        # A turn that has begun, with a part of its answer.
        connection.exec_driver_sql("UPDATE turns SET status = 'streaming', place = 6 WHERE id = 't3'")
        connection.exec_driver_sql("""
            INSERT INTO messages
                (id, chat_id, seq, place, version, epoch_id, role, content, turn_id, status, created_at)
            VALUES ('t3', 'demo', 6, 6, 1, 9, 'AI', 'half', 't3', 'sent', 0)
        """)
        revise(connection, command.downgrade, "0002")
        assert read(connection, "SELECT id, responder FROM chats ORDER BY id") == [("demo", "demo"), ("mute", None)]
        assert read(connection, "SELECT id, client_msg_id FROM messages ORDER BY seq") == [
            ("q1", "k"),
            ("a1", "turn:t1"),
            ("q2", None),
            ("q3", None),
            ("q4", None),
        ]
        assert read(connection, "SELECT id, message_id, status FROM turns ORDER BY seq") == [
            ("a1", "q1", "done"),
            ("t2", "q2", "failed"),
            ("t3", "q3", "pending"),
            ("t4", "q4", "pending"),
        ]
        revise(connection, command.upgrade, "0003")

    await run_on(options, upgrade)
    await run_on(options, check)
    assert await migrate(options) == "0003"


async def test_each_step_is_reported_as_it_runs(tmp_path: Path) -> None:
    steps: list[tuple[str, str]] = []
    options = database_options(tmp_path)
    await migrate(options, on_step=lambda revision, what: steps.append((revision, what)))
    assert [revision for revision, _ in steps] == [f"{number:04}" for number in range(1, int(HEAD) + 1)]
    assert all(what for _, what in steps)
    steps.clear()
    await migrate(options, on_step=lambda revision, what: steps.append((revision, what)))
    assert steps == []


async def test_a_migration_waits_for_readers_without_a_table_that_they_still_need(postgres: PostgresServer) -> None:
    name = postgres.create_database()
    options = DatabaseOptions(url=postgres.url(name))
    await run_on(options, lambda connection: revise(connection, command.upgrade, "0006"))
    waiting = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"  # noqa: S608 - of this test
    async with await psycopg.AsyncConnection.connect(options.url) as reader:
        await reader.execute("SELECT 1 FROM chats")
        migration = asyncio.create_task(migrate(options))
        await until(lambda: postgres.execute(waiting))
        # The migration has locked the first table. Without a deadlock it gives way.
        await reader.execute("SELECT 1 FROM epochs")
        assert not migration.done()
    assert await migration == "0006"
    assert f"deadlock detected\n{name}" not in (postgres.directory / "server.log").read_text()
    assert postgres.execute(f"SELECT deadlocks FROM pg_stat_database WHERE datname = '{name}'") == [(0,)]  # noqa: S608 - of this test


async def test_a_migration_that_never_gets_its_tables_says_so(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "_LOCK_LIMITS_S", (0.01, 0.01))
    options = DatabaseOptions(url=postgres.url(postgres.create_database()))
    await run_on(options, lambda connection: revise(connection, command.upgrade, "0006"))
    async with await psycopg.AsyncConnection.connect(options.url) as dump:
        await dump.execute("SELECT 1 FROM turns")
        with pytest.raises(DatabaseUnreadable, match="its tables are in use: end the transactions"):
            await migrate(options)
        await dump.execute("SELECT 1 FROM epochs")
    assert await migrate(options) == "0006"


async def test_a_database_of_a_newer_version_is_not_locked(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_engine, "_LOCK_LIMITS_S", (0.01,))
    options = DatabaseOptions(url=postgres.url(postgres.create_database()))
    await migrate(options)
    async with await psycopg.AsyncConnection.connect(options.url) as reader:
        await reader.execute("UPDATE alembic_version SET version_num = '9999'")
        await reader.commit()
        await reader.execute("SELECT 1 FROM chats")
        # Restarts of an earlier version during an update keep no request waiting.
        with pytest.raises(DatabaseTooNew, match="update roomcast"):
            await migrate(options)
