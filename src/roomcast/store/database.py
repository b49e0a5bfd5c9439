"""One open database: its connections, their settings, its lineage of epochs, and what its failures mean.

SQLite: one connection writes, a few read. Every write transaction takes the write lock when it begins (a transaction
that upgrades later can fail for reasons that no retry mends).

Layer: store. Source: SQLite documentation, "Write-Ahead Logging", "PRAGMA synchronous".
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import URL, Connection, event, insert, make_url, select, update
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from roomcast.chat.errors import StoreUnavailable
from roomcast.store import tables
from roomcast.store.errors import DatabaseUnreadable
from roomcast.store.exclusive import ExclusiveLock

logger = logging.getLogger(__name__)

#: Turns that a dead process of an embedded database had claimed may be had again at once.
_RUNNING: Final = "running"
_JOURNAL_LIMIT_BYTES: Final = 67_108_864


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """Where the database is and how it is opened.

    Attributes:
        url: ``sqlite:///path`` (or with ``+aiosqlite``).
        synchronous: ``FULL``: an acknowledged message survives a loss of power. ``OFF`` is for tests.
        readers: Connections that read.
        busy_timeout_s: How long a statement waits for a lock of another program (a backup).
        read_timeout_s: How long a read waits for a connection.
        cache_kib: Page cache of each connection.
    """

    url: str
    synchronous: Literal["FULL", "OFF"] = "FULL"
    readers: int = 4
    busy_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    cache_kib: int = 8_192


def sqlite_url(path: Path) -> str:
    """The URL of a database file."""
    return URL.create("sqlite+aiosqlite", database=str(path)).render_as_string()


def async_url(url: str) -> URL:
    """The URL with the asynchronous driver of its database.

    Raises:
        DatabaseUnreadable: no such database is supported.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise DatabaseUnreadable(parsed.render_as_string(), "use sqlite:///path/to/file.db")
    return parsed.set(drivername="sqlite+aiosqlite")


def make_engine(url: URL, options: DatabaseOptions, *, writes: bool) -> AsyncEngine:
    """An engine whose connections are set up for reading, or the one that writes."""
    size = 1 if writes else options.readers
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=options.read_timeout_s,
        connect_args={"timeout": options.busy_timeout_s},
    )

    def set_up(connection: Any, _record: Any) -> None:
        # The driver's own transaction control begins too late and leaves DDL outside.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {round(options.busy_timeout_s * 1000)}")
        if writes:
            cursor.execute("PRAGMA journal_mode = WAL")
            # What a burst made of the log file is given back at the next checkpoint.
            cursor.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}")
        cursor.execute(f"PRAGMA synchronous = {options.synchronous}")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute(f"PRAGMA cache_size = -{options.cache_kib}")
        if not writes:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    event.listen(engine.sync_engine, "connect", set_up)
    event.listen(engine.sync_engine, "begin", begin)
    return engine


@contextmanager
def failures_named() -> Iterator[None]:
    """Let failures of the database leave as `StoreUnavailable`; a bug of ours stays what it is.

    Raises:
        StoreUnavailable: the database is locked, full, damaged or gone.
    """
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnavailable(f"the database did not answer: {reason}") from error
    except DatabaseError as error:
        # Its subclasses are mistakes of ours (a constraint, a statement); itself it is a damaged file.
        if type(error) is not DatabaseError:
            raise
        raise StoreUnavailable(f"the database is damaged: {error.orig}") from error
    except OSError as error:
        raise StoreUnavailable(f"the database did not answer: {error}") from error


class Database:
    """An open database. Made by `open`, ended by `close`."""

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options
        self._url = async_url(options.url)
        self._lock = ExclusiveLock(Path(str(self._url.database)))
        self._writer = make_engine(self._url, options, writes=True)
        self._readers = make_engine(self._url, options, writes=False)
        self._epochs: dict[int, str] = {}
        self._epoch_id = 0

    @classmethod
    async def open(cls, options: DatabaseOptions) -> Database:
        """Open a migrated database for writing and begin a new epoch.

        Raises:
            DataInUse: another process has it.
            DatabaseUnreadable: it cannot be opened.
        """
        database = cls(options)
        database._lock.acquire()
        try:
            await database._begin_epoch()
        except BaseException as error:
            await database.close()
            if isinstance(error, DatabaseError):
                raise DatabaseUnreadable(options.url, str(error.orig)) from None
            raise
        return database

    async def close(self) -> None:
        """Close every connection and give the database free. Closing twice is harmless."""
        await self._readers.dispose()
        await self._writer.dispose()
        self._lock.release()

    @property
    def epoch(self) -> str:
        """The current epoch."""
        return self._epochs[self._epoch_id]

    @property
    def epoch_id(self) -> int:
        """The current epoch's id in the table."""
        return self._epoch_id

    @property
    def epochs(self) -> Mapping[int, str]:
        """Every epoch by id: one for each start, so they are few."""
        return self._epochs

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection inside a read transaction: everything read in it is of one snapshot.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with failures_named():
            async with self._readers.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """The writing connection inside a transaction that is committed at the end, or rolled back at an error.

        Raises:
            StoreUnavailable: the database is out of reach.
        """
        with failures_named():
            async with self._writer.begin() as connection:
                yield connection

    async def _begin_epoch(self) -> None:
        epoch = secrets.token_hex(8)
        async with self._writer.begin() as connection:
            await connection.execute(insert(tables.epochs).values(epoch=epoch, started_at=time.time_ns() // 1_000_000))
            rows = await connection.execute(select(tables.epochs.c.id, tables.epochs.c.epoch))
            self._epochs = {row.id: row.epoch for row in rows}
            # This process has the database alone: whoever held a lease is dead.
            await connection.execute(
                update(tables.turns).where(tables.turns.c.status == _RUNNING).values(lease_until=0)
            )
        self._epoch_id = next(key for key, value in self._epochs.items() if value == epoch)
