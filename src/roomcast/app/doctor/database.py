"""The checks of the database: PostgreSQL, or the file of SQLite. They change nothing.

Layer: app.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from roomcast.app.backend import database_options
from roomcast.app.doctor.clock import check_clock
from roomcast.app.doctor.findings import Finding, fault, ok, warning
from roomcast.store.backups.sqlite import opened_read_only
from roomcast.store.engine.backend import driver_message
from roomcast.store.engine.database import backend_for
from roomcast.store.engine.exclusive import ExclusiveLock
from roomcast.store.errors import DataInUse, StoreError
from roomcast.store.migrating import HEAD
from roomcast.store.options import READERS

_CORRECT: Final = "start PostgreSQL, or correct host, user, password and name in DATABASE_URL"
_FEW_BYTES: Final = 100_000_000
_DIRECTORY: Final = "choose a directory on a local disk that this user can write: --data or ROOMCAST_DATA"


def check_database(database: Path | str, *, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Check the database. Blocks for as long as the connection attempt takes, which has a time limit.

    Args:
        database: The file, or the URL of PostgreSQL.
        now: This machine's clock, in Unix seconds.
    """
    yield from _check_file(database) if isinstance(database, Path) else _check_postgres(database, now)


def _check_postgres(url: str, now: Callable[[], float]) -> Iterator[Finding]:
    try:
        backend = backend_for(database_options(url))
        engine = backend.engine(writes=False)
        try:
            with engine.connect() as connection:
                version = connection.execute(text("SHOW server_version")).scalar_one()
                yield ok("database", f"{backend.location} accepts the login; PostgreSQL {version}")
                yield from _postgres_findings(connection, now)
        finally:
            engine.dispose()
    except StoreError as error:
        yield fault("database", str(error), "use PostgreSQL 15 or newer, with a database in UTF8; correct DATABASE_URL")
    except DBAPIError as error:
        yield fault("database", driver_message(error), _CORRECT)


def _postgres_findings(connection: Connection, now: Callable[[], float]) -> Iterator[Finding]:
    if connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one():
        yield fault("database", "this server is a standby and accepts no writes", "name the primary in DATABASE_URL")
    before = now()
    server: float = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())::float8")).scalar_one()
    yield check_clock("the database server", server - (before + now()) / 2)
    tables = set(inspect(connection).get_table_names())
    revision = None
    if "alembic_version" in tables:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    yield _schema(revision)
    if (
        revision != HEAD
        and not connection.execute(text("SELECT has_schema_privilege(current_schema(), 'CREATE')")).scalar_one()
    ):
        yield fault(
            "database privileges", "the user may not create tables", "GRANT CREATE ON SCHEMA public TO the user"
        )
    denied = [
        table
        for table in sorted(tables)
        if table != "alembic_version"
        and not connection.execute(
            text(
                "SELECT has_table_privilege(quote_ident(:name), 'SELECT') AND has_table_privilege(quote_ident(:name),"
                " 'INSERT') AND has_table_privilege(quote_ident(:name), 'UPDATE')"
            ),
            {"name": table},
        ).scalar_one()
    ]
    if denied:
        remedy = "GRANT SELECT, INSERT, UPDATE, DELETE on these tables to the user of DATABASE_URL"
        yield fault("database privileges", f"the user may not write: {', '.join(denied)}", remedy)
    most, used = connection.execute(
        text("SELECT current_setting('max_connections')::int, (SELECT count(*) FROM pg_stat_activity)")
    ).one()
    own = READERS + 1
    summary = f"{used} of {most} in use; each API, worker or `up` takes {own}"
    if most - used < own:
        yield warning("database connections", summary, "raise max_connections of PostgreSQL, or use a pooler")
    else:
        yield ok("database connections", summary)


def _schema(revision: str | None) -> Finding:
    if revision == HEAD:
        return ok("schema", f"{revision}, up to date")
    if revision is not None and revision > HEAD:
        text_ = f"{revision} is newer than {HEAD} of this version"
        return fault("schema", text_, "update roomcast to the version that migrated it, or restore a backup")
    text_ = "the database is new" if revision is None else f"{revision}; this version has {HEAD}"
    return warning("schema", text_, "run `roomcast migrate`; `up`, `api` and `worker` also do so at their start")


def _check_file(path: Path) -> Iterator[Finding]:
    directory = path.resolve().parent
    there = next(parent for parent in (directory, *directory.parents) if parent.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".roomcast-doctor-", dir=there) as probe:
            mode = _journal_mode(Path(probe) / "probe.db")
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        yield fault("data directory", f"{directory} cannot be used: {reason}", _DIRECTORY)
        return
    if mode != "wal":
        yield fault("data directory", f"the file system of {directory} has no shared memory for SQLite", _DIRECTORY)
    free = shutil.disk_usage(there).free
    if free < _FEW_BYTES:
        yield warning("data directory", f"{free // 1_000_000} MB are free", "free some space, or move it with --data")
    else:
        yield ok("data directory", f"{directory}, {free // 1_000_000} MB free")
    if not path.exists():
        return
    lock = ExclusiveLock(path.resolve())
    try:
        # A missing one would be created, and belong to this user.
        if lock.path.exists():
            lock.acquire()
            lock.release()
    except DataInUse as error:
        yield warning("database", str(error), "no fault if it is the process that this configuration belongs to")
        return
    except StoreError as error:
        yield fault("database", str(error), _DIRECTORY)
        return
    try:
        yield _schema(_file_revision(path))
    except sqlite3.Error as error:
        yield fault("database", f"{path} is no usable database: {error}", "restore a backup, or choose another --data")


def _journal_mode(path: Path) -> Any:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    finally:
        connection.close()


def _file_revision(path: Path) -> str | None:
    with opened_read_only(path) as connection:
        names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if "alembic_version" not in names:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return None if row is None else str(row[0])
