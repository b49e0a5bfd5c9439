"""One open database: its threads and connections, its epochs, and the translation of its errors.

The drivers' calls block, so each transaction is a function of a `Connection` that runs on a thread of the database.
One change of threads for a transaction costs a third of one for each statement. What differs between SQLite and
PostgreSQL is behind `backend.Backend`.

Layer: store. Source: docs/decisions/0003, 0005.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import URL, Connection, Select, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from roomcast.chat.errors import StoreUnavailable
from roomcast.store.backend import Backend, display_url
from roomcast.store.errors import DatabaseUnreadable
from roomcast.store.lineage import Lineage, read_epochs
from roomcast.store.options import READERS, DatabaseOptions
from roomcast.store.rows import AnyRow
from roomcast.store.sqlite import SqliteBackend

_T = TypeVar("_T")

#: Attempts at one transaction, the first included.
_MAX_ATTEMPTS: Final = 6
_POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def backend_for(options: DatabaseOptions) -> Backend:
    """The backend for the URL's scheme.

    Raises:
        DatabaseUnreadable: the URL cannot be parsed, or names an unsupported database.
    """
    try:
        url = make_url(options.url.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        # The URL is not shown, since a password in it cannot be recognised.
        raise DatabaseUnreadable("in DATABASE_URL", "not a URL; use postgresql://user:password@host/name") from None
    if url.drivername in _POSTGRES:
        from roomcast.store.postgres import PostgresBackend

        return PostgresBackend(url, options)
    if url.drivername != "sqlite" or not url.database or url.database == ":memory:":
        hint = "use sqlite:///path/to/file.db or postgresql://user:password@host/name"
        raise DatabaseUnreadable(display_url(url), hint)
    return SqliteBackend(url, options)


def driver_message(error: DBAPIError) -> str:
    """The driver's error message, on one line."""
    return " ".join(str(error.orig).split())


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `StoreUnavailable` for failures of the database; errors that are bugs of this package pass unchanged.

    Raises:
        StoreUnavailable: the database is locked, full, damaged or unreachable.
    """
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:
        raise StoreUnavailable(f"the database did not answer: {driver_message(error)}") from error
    except DatabaseError as error:
        # SQLite reports a damaged file as the base class. Its subclasses are bugs (a constraint, a wrong statement).
        if type(error) is not DatabaseError:
            raise
        raise StoreUnavailable(f"the database is damaged: {driver_message(error)}") from error
    except (TimeoutError, PoolTimeoutError) as error:
        raise StoreUnavailable("the database did not answer in time") from error
    except OSError as error:
        raise StoreUnavailable(f"the database did not answer: {error}") from error


class _Call:
    """One call of `Database.read` or `Database.write`: the event loop may abandon it while a thread still runs it."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.committing = False
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._abandoned = False

    @property
    def pending(self) -> bool:
        """Whether the caller still waits for the result, so that an attempt is useful."""
        return not self._abandoned and (self._deadline is None or time.monotonic() < self._deadline)

    @contextmanager
    def running_on(self, connection: Connection) -> Iterator[None]:
        """Lets `abort` interrupt this connection while the block runs.

        Raises:
            TimeoutError: the call was abandoned while it waited for the connection. The block must not run, since its
                effects would follow an error that the caller has received.
        """
        with self._guard:
            if not self.pending:
                raise TimeoutError
            self._connection = connection
        try:
            yield
        finally:
            with self._guard:
                self._connection = None

    def abort(self, backend: Backend) -> None:
        """Interrupt the running statement, if any, and prevent further attempts."""
        with self._guard:
            self._abandoned = True
            if self._connection is not None:
                backend.abort(self._connection)


class Database:
    """An open database. `open` creates it, `close` ends it.

    Attributes:
        lineage: Its epochs.
        shared: Whether other processes may have it open too.
        statements: How a batch of writes reads and writes its rows.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self._options = options
        self._backend = backend_for(options)
        self.shared: Final = self._backend.shared
        self.statements: Final = self._backend.statements
        self._writer = self._backend.engine(writes=True)
        self._readers = self._backend.engine(writes=False)
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._read_threads = ThreadPoolExecutor(READERS, thread_name_prefix="store-reader")
        self.lineage: Final = Lineage()

    @classmethod
    async def open(cls, options: DatabaseOptions) -> Database:
        """Open a migrated database for reading and writing. On SQLite this begins a new epoch.

        Raises:
            DataInUse: another process has the SQLite file open.
            ServerTooOld: the PostgreSQL server is older than the oldest supported version.
            DatabaseUnreadable: any other reason.
        """
        database = cls(options)
        try:
            database._backend.acquire()
            await database.write(database._start)
        except BaseException as error:
            await database.close()
            if isinstance(error, StoreUnavailable):
                raise DatabaseUnreadable(database._backend.location, str(error)) from None
            if isinstance(error, DBAPIError):
                raise DatabaseUnreadable(database._backend.location, driver_message(error)) from None
            raise
        return database

    async def close(self) -> None:
        """Wait for running transactions, close all connections and release the database. Idempotent."""
        await asyncio.to_thread(self._close)

    async def load_missing_epochs(self, ids: Collection[int] = (), *, newest: str | None = None) -> None:
        """Read the table of epochs if another process has begun one that a statement just met.

        Args:
            ids: Epoch ids of the rows that the statement returned.
            newest: The current epoch in the statement's snapshot. If it is known, so are all ids of that snapshot.
        """
        known = self.lineage.epochs.keys() >= set(ids) and newest in {None, self.lineage.current}
        if not known and self.shared:
            await self.read(self._load_epochs)

    async def fetch(
        self, query: Select[*tuple[Any, ...]], parameters: Mapping[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """All rows of one query; see `read`."""
        return await self.read(lambda connection: connection.execute(query, parameters).all())

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work`` on a reading connection.

        Args:
            work: Executes one statement, so that everything it reads is of one snapshot.

        Raises:
            StoreUnavailable: the database is unreachable, or the read took longer than ``read_timeout_s``.
        """
        call = _Call(self._options.read_timeout_s)

        def transact() -> _T:
            with self._readers.connect() as connection, call.running_on(connection):
                return work(connection)

        return await self._run_on_thread(self._read_threads, transact, call)

    async def write(self, work: Callable[[Connection], _T], *, durable: bool = True) -> _T:
        """Run ``work`` in one write transaction, which commits when it returns and rolls back when it raises.

        Cancelling the caller does not cancel the transaction.

        Args:
            work: Runs on the writer thread, and runs again from its start if another process made it fail.
            durable: Whether to return only after the commit has reached the disk. Otherwise a power failure may undo
                the commit; the end of the process cannot.

        Raises:
            StoreUnavailable: nothing was written, unless the connection was lost while the commit was under way: then
                the outcome is unknown.
        """
        call = _Call(self._options.write_timeout_s if self.shared else None)

        def transact() -> _T:
            with self._writer.connect() as plain, call.running_on(plain):
                call.committing = False
                connection = plain.execution_options(durable=durable)
                with connection.begin():
                    result = work(connection)
                    call.committing = True
                return result

        return await self._run_on_thread(self._write_thread, transact, call)

    async def _run_on_thread(self, threads: ThreadPoolExecutor, transact: Callable[[], _T], call: _Call) -> _T:
        loop = asyncio.get_running_loop()
        with translate_errors():
            try:
                async with asyncio.timeout(call.timeout_s):
                    return await loop.run_in_executor(threads, self._run_with_retries, transact, call)
            except TimeoutError:
                call.abort(self._backend)
                raise
            except asyncio.CancelledError:
                # The thread goes on without a waiting caller; its time limit still holds.
                if call.timeout_s is not None:
                    loop.call_later(call.timeout_s, call.abort, self._backend)
                raise

    def _run_with_retries(self, transact: Callable[[], _T], call: _Call) -> _T:
        for attempt in itertools.count(1):
            try:
                return transact()
            except DBAPIError as error:
                # The connection died while it was idle. SQLAlchemy has discarded the other connections of the pool too.
                lost = error.connection_invalidated and not call.committing
                retryable = lost or self._backend.is_retryable(error)
                if not retryable or attempt == _MAX_ATTEMPTS or not call.pending:
                    raise
        raise AssertionError  # unreachable: the count has no end

    def _start(self, connection: Connection) -> None:
        self._backend.record_start(connection)
        self._load_epochs(connection)

    def _load_epochs(self, connection: Connection) -> None:
        known = self.lineage.epochs
        self.lineage.update_from_read(read_epochs(connection), known_before=known)

    def _close(self) -> None:
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        self._readers.dispose()
        self._writer.dispose()
        self._backend.release()
