"""Databases of both kinds, migrated and empty, for suites that run over each of them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roomcast.store.database import DatabaseOptions
from roomcast.store.migrating import migrate
from roomcast.store.tables import METADATA
from support.backend import fresh_database
from support.postgres_server import PostgresServer

KINDS = ("sqlite", "postgresql")
_SHARED = "contract"


def fresh_postgres(server: PostgresServer) -> DatabaseOptions:
    """A migrated and empty database: the same one each time, since making one takes longer than most tests."""
    options = DatabaseOptions(url=server.url(_SHARED))
    if not server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{_SHARED}'"):  # noqa: S608 - a name of ours
        server.execute(f"CREATE DATABASE {_SHARED} TEMPLATE template0")
    else:
        # What a failed test left behind must not hold a lock now.
        server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_SHARED}'")  # noqa: S608 - likewise
        if server.execute("SELECT to_regclass('epochs')", _SHARED) != [(None,)]:
            server.execute(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY", _SHARED)
    with ThreadPoolExecutor(1) as elsewhere:
        elsewhere.submit(asyncio.run, migrate(options)).result()
    return options


def fresh_options(kind: str, request: pytest.FixtureRequest, directory: Path) -> DatabaseOptions:
    """An empty database of this kind; a server is started for the first one that needs it."""
    return fresh_postgres(request.getfixturevalue("postgres")) if kind == "postgresql" else fresh_database(directory)
