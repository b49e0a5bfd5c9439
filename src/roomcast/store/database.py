"""One open database: its threads and connections, its lineage of epochs, and what its failures mean.

Work comes as a function of a connection and runs as one transaction on a thread of the database's own: the drivers'
calls block, and one change of threads for each transaction costs a third of one for each call. What one kind of
database has of its own is its `Backing`.

Layer: store. Source: docs/decisions/0003, 0005.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from roomcast.chat.errors import StoreUnavailable
from roomcast.store.backing import Backing, display_url
from roomcast.store.errors import DatabaseUnreadable
from roomcast.store.lineage import Lineage, read_epochs
from roomcast.store.options import READERS, DatabaseOptions
from roomcast.store.sqlite import SqliteBacking

_T = TypeVar("_T")

#: How often a transaction is begun again that another process got in the way of.
_MAX_ATTEMPTS: Final = 6
_POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def sqlite_url(path: Path) -> str:
    """The URL of a database file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def backing_for(options: DatabaseOptions) -> Backing:
    """The kind of database that the URL names.

    Raises:
        DatabaseUnreadable: no such database is supported.
    """
    try:
        url = make_url(options.url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        # Not shown: what cannot be parsed cannot be cleared of its password.
        raise DatabaseUnreadable("of DATABASE_URL", "it is no URL; use postgresql://user:password@host/name") from None
    if url.drivername in _POSTGRES:
        from roomcast.store.postgres import PostgresBacking

        return PostgresBacking(url, options)
    if url.drivername != "sqlite" or not url.database or url.database == ":memory:":
        raise DatabaseUnreadable(
            display_url(url), "use sqlite:///path/to/file.db or postgresql://user:password@host/name"
        )
    return SqliteBacking(url, options)


def reason_of(error: DBAPIError) -> str:
    """What the driver said, on one line."""
    return " ".join(str(error.orig).split())


@contextmanager
def failures_named() -> Iterator[None]:
    """Let failures of the database leave as `StoreUnavailable`; a bug of ours stays what it is.

    Raises:
        StoreUnavailable: the database is locked, full, damaged or gone.
    """
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:
        raise StoreUnavailable(f"the database did not answer: {reason_of(error)}") from error
    except DatabaseError as error:
        # Its subclasses are mistakes of ours (a constraint, a statement); itself it is a damaged file.
        if type(error) is not DatabaseError:
            raise
        raise StoreUnavailable(f"the database is damaged: {reason_of(error)}") from error
    except (TimeoutError, PoolTimeoutError) as error:
        raise StoreUnavailable("the database did not answer in time") from error
    except OSError as error:
        raise StoreUnavailable(f"the database did not answer: {error}") from error


class _Call:
    """One transaction under way, which the event loop may give up while a thread is busy with it."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.committing = False
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._given_up = False

    @property
    def in_time(self) -> bool:
        """Whether anybody still waits, so that an attempt is worth it."""
        return not self._given_up and (self._deadline is None or time.monotonic() < self._deadline)

    @contextmanager
    def using(self, connection: Connection) -> Iterator[None]:
        """The connection is this call's own for so long.

        Raises:
            TimeoutError: it was given up while it waited for the connection: what it does now, nobody would expect.
        """
        with self._guard:
            if not self.in_time:
                raise TimeoutError
            self._connection = connection
        try:
            yield
        finally:
            with self._guard:
                self._connection = None

    def abort(self, backing: Backing) -> None:
        """Break off whatever the thread waits for, and let it begin nothing more."""
        with self._guard:
            self._given_up = True
            if self._connection is not None:
                backing.abort(self._connection)


class Database:
    """An open database. Made by `open`, ended by `close`.

    Attributes:
        lineage: Its epochs.
        shared: Whether other processes may have it open, too.
        statements: How a batch of writes gets at its rows.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options
        self._backing = backing_for(options)
        self.shared: Final = self._backing.shared
        self.statements: Final = self._backing.statements
        self._writer = self._backing.engine(writes=True)
        self._readers = self._backing.engine(writes=False)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self.lineage: Final = Lineage()

    @classmethod
    async def open(cls, options: DatabaseOptions) -> Database:
        """Open a migrated database for writing; an embedded one begins a new epoch.

        Raises:
            DataInUse: another process has it, and it is not for several.
            ServerTooOld: its server is too old.
            DatabaseUnreadable: it cannot be opened.
        """
        database = cls(options)
        try:
            database._backing.acquire()
            await database.write(database._start)
        except BaseException as error:
            await database.close()
            if isinstance(error, StoreUnavailable):
                raise DatabaseUnreadable(database._backing.place, str(error)) from None
            if isinstance(error, DBAPIError):
                raise DatabaseUnreadable(database._backing.place, reason_of(error)) from None
            raise
        return database

    async def close(self) -> None:
        """Wait for what is under way, close every connection and give the database free. Twice is harmless."""
        await asyncio.to_thread(self._close)

    async def know_epochs(self, ids: Collection[int] = (), *, newest: str | None = None) -> None:
        """See to it that these epochs are known.

        Args:
            ids: As rows name them.
            newest: What a statement found to be the current one: with it, all of that statement's are known.
        """
        unknown = not self.lineage.epochs.keys() >= set(ids) or newest not in {None, self.lineage.current}
        # Only another process can have begun one.
        if unknown and self.shared:
            await self.read(self._load_epochs)

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work``: one statement, so that everything that it reads is of one snapshot.

        Raises:
            StoreUnavailable: the database is out of reach, or the read took too long.
        """
        call = _Call(self._options.read_timeout_s)

        def transact() -> _T:
            with self._readers.connect() as connection, call.using(connection):
                return work(connection)

        return await self._perform(self._read_threads, transact, call)

    async def write(self, work: Callable[[Connection], _T], *, durable: bool = True) -> _T:
        """Run ``work`` in one write transaction; it is committed behind it, or rolled back if it raises.

        A caller that is cancelled stops waiting; the transaction goes on.

        Args:
            work: Runs on the writing thread; again from its start if another process got in its way.
            durable: Return when the commit has reached the disk. Else it may be lost together with the power, though
                never with the process.

        Raises:
            StoreUnavailable: the database is out of reach. It was not written, unless the connection was lost between
                the commit and its answer: nobody can know then.
        """
        call = _Call(self._options.write_timeout_s if self.shared else None)

        def transact() -> _T:
            with self._writer.connect() as plain, call.using(plain):
                call.committing = False
                connection = plain.execution_options(durable=durable)
                with connection.begin():
                    result = work(connection)
                    call.committing = True
                return result

        return await self._perform(self._write_thread, transact, call)

    async def _perform(self, threads: ThreadPoolExecutor, transact: Callable[[], _T], call: _Call) -> _T:
        loop = asyncio.get_running_loop()
        with failures_named():
            try:
                async with asyncio.timeout(call.timeout_s):
                    return await loop.run_in_executor(threads, self._repeat, transact, call)
            except TimeoutError:
                call.abort(self._backing)
                raise
            except asyncio.CancelledError:
                # Nobody waits any more, but a thread does, and not for ever.
                if call.timeout_s is not None:
                    loop.call_later(call.timeout_s, call.abort, self._backing)
                raise

    def _repeat(self, transact: Callable[[], _T], call: _Call) -> _T:
        """Do it until it is done, or cannot be, on a thread."""
        for attempt in itertools.count(1):
            try:
                return transact()
            except DBAPIError as error:
                # A connection that had died while nobody looked; the whole pool has been emptied of its like.
                lost = error.connection_invalidated and not call.committing
                may = lost or self._backing.may_repeat(error)
                if not may or attempt == _MAX_ATTEMPTS or not call.in_time:
                    raise
        raise AssertionError  # unreachable: the count has no end

    def _start(self, connection: Connection) -> None:
        self._backing.start(connection)
        self._load_epochs(connection)

    def _load_epochs(self, connection: Connection) -> None:
        known = self.lineage.epochs
        self.lineage.learn(read_epochs(connection), instead_of=known)

    def _close(self) -> None:
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        self._readers.dispose()
        self._writer.dispose()
        self._backing.release()
