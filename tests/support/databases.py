"""Migrated, empty databases of both kinds, for suites that run on each of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roomcast.store.migrating import migrate
from roomcast.store.options import DatabaseOptions
from roomcast.store.tables import METADATA
from support.backend import fresh_database
from support.postgres_server import PostgresServer

KINDS = ("sqlite", "postgresql")
_SHARED = "contract"
# Terminates sessions that a failed test left behind, which may hold locks.
_CLEAR = f"""
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_SHARED}' AND pid <> pg_backend_pid();
    TRUNCATE {", ".join(METADATA.tables)} RESTART IDENTITY;
    INSERT INTO feed_head (id, position) VALUES (1, 0);
    INSERT INTO epochs (epoch, started_at) VALUES (md5(random()::text), 0)
"""  # noqa: S608 - names from the schema


def fresh_postgres(server: PostgresServer) -> DatabaseOptions:
    """A migrated, empty database. It is emptied and reused, since creating one takes longer than most tests."""
    options = DatabaseOptions(url=server.url(_SHARED))
    if (_SHARED,) in server.execute("SELECT datname FROM pg_database"):
        server.execute(_CLEAR, _SHARED)
    else:
        server.execute(f"CREATE DATABASE {_SHARED} TEMPLATE template0")
        with ThreadPoolExecutor(1) as executor:
            executor.submit(asyncio.run, migrate(options)).result()
    return options


def fresh_options(kind: str, request: pytest.FixtureRequest, directory: Path) -> DatabaseOptions:
    """An empty database of this kind. The first one on PostgreSQL starts the server."""
    return fresh_postgres(request.getfixturevalue("postgres")) if kind == "postgresql" else fresh_database(directory)
