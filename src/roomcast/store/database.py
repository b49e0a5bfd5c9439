"""One open database: its connections, their settings, its lineage of epochs, and what its failures mean.

Work comes as a function of a connection and runs as one transaction on a thread of the database's own: SQLite's calls
block, and one change of threads for each transaction costs a third of one for each call. The functions know nothing
of that, so a database whose driver is asynchronous can run them as they are (`AsyncConnection.run_sync`).

SQLite: one connection writes, a few read. Every write transaction takes the write lock when it begins (a transaction
that upgrades later can fail for reasons that no retry mends).

Layer: store. Source: SQLite documentation, "Write-Ahead Logging", "PRAGMA synchronous".
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event, insert, make_url, select, update
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

from roomcast.chat.errors import StoreUnavailable
from roomcast.store import tables
from roomcast.store.errors import DatabaseUnreadable
from roomcast.store.exclusive import ExclusiveLock

_T = TypeVar("_T")

#: Turns that a dead process of an embedded database had claimed may be had again at once.
_RUNNING: Final = "running"
_JOURNAL_LIMIT_BYTES: Final = 67_108_864


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """Where the database is and how it is opened.

    Attributes:
        url: ``sqlite:///path``.
        synchronous: ``FULL``: an acknowledged message survives a loss of power. ``OFF`` is for tests.
        readers: Connections that read, each with a thread.
        busy_timeout_s: How long a statement waits for a lock of another program (a backup).
        read_timeout_s: How long a read may take, waiting for a thread included.
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
    return URL.create("sqlite", database=str(path)).render_as_string()


def checked_url(url: str) -> URL:
    """The URL, parsed.

    Raises:
        DatabaseUnreadable: no such database is supported.
    """
    parsed = make_url(url)
    if parsed.drivername != "sqlite" or not parsed.database or parsed.database == ":memory:":
        raise DatabaseUnreadable(parsed.render_as_string(), "use sqlite:///path/to/file.db")
    return parsed


def make_engine(url: URL, options: DatabaseOptions, *, writes: bool) -> Engine:
    """An engine whose connections are set up for reading, or the one that writes.

    A transaction of the execution option ``durable=False`` commits without waiting for the disk.
    """
    engine = create_engine(
        url,
        pool_size=1 if writes else options.readers,
        max_overflow=0,
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
        if not writes:
            connection.exec_driver_sql("BEGIN")
            return
        # In WAL mode NORMAL loses no consistency, only the newest commits, and only with the power; the next FULL
        # commit brings them to the disk as well.
        durable = connection.get_execution_options().get("durable", True)
        level = options.synchronous if durable or options.synchronous == "OFF" else "NORMAL"
        if connection.info.get("synchronous", options.synchronous) != level:
            connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
            connection.info["synchronous"] = level
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", set_up)
    event.listen(engine, "begin", begin)
    return engine


@contextmanager
def failures_named() -> Iterator[None]:
    """Let failures of the database leave as `StoreUnavailable`; a bug of ours stays what it is.

    Raises:
        StoreUnavailable: the database is locked, full, damaged or gone.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(f"the database did not answer: {error.orig}") from error
    except DatabaseError as error:
        # Its subclasses are mistakes of ours (a constraint, a statement); itself it is a damaged file.
        if type(error) is not DatabaseError:
            raise
        raise StoreUnavailable(f"the database is damaged: {error.orig}") from error
    except TimeoutError as error:
        raise StoreUnavailable("the database did not answer in time") from error
    except OSError as error:
        raise StoreUnavailable(f"the database did not answer: {error}") from error


class Database:
    """An open database. Made by `open`, ended by `close`."""

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options
        url = checked_url(options.url)
        self._lock = ExclusiveLock(Path(str(url.database)))
        self._writer = make_engine(url, options, writes=True)
        self._readers = make_engine(url, options, writes=False)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._read_threads = ThreadPoolExecutor(options.readers, thread_name_prefix="store-reader")
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
        try:
            database._lock.acquire()
            await database.write(database._begin_epoch)
        except BaseException as error:
            await database.close()
            if isinstance(error, StoreUnavailable):
                raise DatabaseUnreadable(options.url, str(error)) from None
            raise
        return database

    async def close(self) -> None:
        """Wait for what is under way, close every connection and give the database free. Twice is harmless."""
        await asyncio.to_thread(self._close)

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

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work`` in a read transaction: everything that it reads is of one snapshot.

        Raises:
            StoreUnavailable: the database is out of reach, or the read took too long.
        """

        def run() -> _T:
            with self._readers.connect() as connection:
                return work(connection)

        with failures_named():
            async with asyncio.timeout(self._options.read_timeout_s):
                return await asyncio.get_running_loop().run_in_executor(self._read_threads, run)

    async def write(self, work: Callable[[Connection], _T], *, durable: bool = True) -> _T:
        """Run ``work`` in the one write transaction; it is committed behind it, or rolled back if it raises.

        A caller that is cancelled stops waiting; the transaction goes on.

        Args:
            work: Runs on the writing thread.
            durable: Return when the commit has reached the disk. Else it may be lost together with the power, though
                never with the process.

        Raises:
            StoreUnavailable: the database is out of reach.
        """

        def run() -> _T:
            with self._writer.connect() as plain:
                connection = plain.execution_options(durable=durable)
                with connection.begin():
                    return work(connection)

        with failures_named():
            return await asyncio.get_running_loop().run_in_executor(self._write_thread, run)

    def _close(self) -> None:
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        self._readers.dispose()
        self._writer.dispose()
        self._lock.release()

    def _begin_epoch(self, connection: Connection) -> None:
        epoch = secrets.token_hex(8)
        connection.execute(insert(tables.epochs).values(epoch=epoch, started_at=time.time_ns() // 1_000_000))
        rows = connection.execute(select(tables.epochs.c.id, tables.epochs.c.epoch))
        self._epochs = {row.id: row.epoch for row in rows}
        self._epoch_id = next(key for key, value in self._epochs.items() if value == epoch)
        # This process has the database alone: whoever held a lease is dead.
        connection.execute(update(tables.turns).where(tables.turns.c.status == _RUNNING).values(lease_until=0))
