from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from roomcast.store.errors import DatabaseTooNew
from roomcast.store.migrating import HEAD, MIGRATIONS, migrate
from roomcast.store.options import DatabaseOptions
from roomcast.store.tables import METADATA
from support.backend import database_options
from support.postgres_server import PostgresServer


def test_head_is_the_newest_script() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_the_migrations_create_the_schema_that_the_code_expects(tmp_path: Path) -> None:
    await migrate(database_options(tmp_path))
    engine = create_engine(f"sqlite:///{tmp_path / 'roomcast.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


async def test_the_migrations_create_the_same_schema_on_postgresql(postgres: PostgresServer) -> None:
    options = DatabaseOptions(url=postgres.url(postgres.create_database()))
    await migrate(options)
    engine = create_engine(options.url.replace("postgresql", "postgresql+psycopg", 1))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
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
