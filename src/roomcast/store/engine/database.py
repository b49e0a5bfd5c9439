"""One open database: its threads and connections, its epochs, and the translation of its errors.

The drivers' calls block, so each transaction is a function that takes a `Connection` and runs on one of the
database's threads. Changing threads once per transaction costs a third of changing threads once per statement.
`backend.Backend` is the port for the differences between SQLite and PostgreSQL.

Layer: store. Source: docs/decisions/0003, 0005.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import URL, Connection, QueuePool, Select, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InternalError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from roomcast.chat.errors import StoreBusy, StoreUnavailable
from roomcast.histogram import Histogram
from roomcast.store.engine.backend import Backend, driver_message
from roomcast.store.engine.sqlite import SqliteBackend
from roomcast.store.engine.threads import Threads
from roomcast.store.errors import DatabaseUnreadable
from roomcast.store.lineage import Lineage, read_epochs
from roomcast.store.options import READERS, DatabaseOptions
from roomcast.store.rows import AnyRow

logger = logging.getLogger(__name__)
_T = TypeVar("_T")

#: Attempts at one transaction, including the first.
_MAX_ATTEMPTS: Final = 6
#: An SQLSTATE of PostgreSQL.
_INSUFFICIENT_PRIVILEGE: Final = "42501"
_POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def backend_for(options: DatabaseOptions) -> Backend:
    """Return the backend for the URL's scheme.

    Raises:
        DatabaseUnreadable: the URL cannot be parsed, or names an unsupported database.
    """
    scheme, separator, _ = options.url.partition("://")
    if separator and scheme in _POSTGRES:
        from roomcast.store.engine.postgres import PostgresBackend

        return PostgresBackend(options)
    hint = "use sqlite:///path/to/file.db or postgresql://user:password@host/name"
    try:
        url = make_url(options.url)
        usable = url.drivername == "sqlite" and url.database and url.database != ":memory:"
    except (ArgumentError, ValueError):
        usable = False
    if not usable:
        # The error does not contain the URL, since the place of a password in such a URL is unknown.
        raise DatabaseUnreadable("in DATABASE_URL", hint)
    return SqliteBackend(url, options)


def _unavailable(error: Exception) -> StoreUnavailable | None:
    """What to raise if the database is locked, full or unreachable; None: the error is a bug of this package."""
    match error:
        case OperationalError() | InterfaceError() | InternalError():
            return StoreUnavailable(f"the database did not answer: {driver_message(error)}")
        # The role of DATABASE_URL lacks a privilege. Any other error of this class is a bug.
        case ProgrammingError() if getattr(error.orig, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE:
            return StoreUnavailable(f"the database refused a statement: {driver_message(error)}")
        case TimeoutError() | PoolTimeoutError():
            return StoreUnavailable("the database did not answer in time")
        case OSError():
            return StoreUnavailable(f"the database did not answer: {error}")
        case _:
            return None


class _Call:
    """One call of `Database.read` or `Database.write`; the event loop may abandon it while a thread still runs it."""

    def __init__(self, timeout_s: float | None) -> None:
        self.timeout_s = timeout_s
        self.committing = False
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._abandoned = False

    @property
    def pending(self) -> bool:
        """Whether the caller still waits for the result."""
        return not self._abandoned and (self._deadline is None or time.monotonic() < self._deadline)

    def running_on(self, connection: Connection) -> AbstractContextManager[None]:
        """Let `abort` interrupt this connection while the block runs.

        Raises:
            TimeoutError: the call was abandoned while it waited for the connection. The block does not run, since the
                caller has already received an error.
        """
        return nullcontext() if self.timeout_s is None else self._running_on(connection)

    @contextmanager
    def _running_on(self, connection: Connection) -> Iterator[None]:
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
    """An open database, created by `open`.

    Attributes:
        lineage: The epochs of the database.
        shared: Whether other processes may have the database open too.
        statements: The statements that read and write the rows of a batch.
        failure: None, or why no write is accepted until the process is restarted, and what to do: the database is
            damaged, deleted or replaced, so that later commits could be lost.
    """

    def __init__(self, options: DatabaseOptions) -> None:
        self.failure: str | None = None
        self._options = options
        self._backend = backend_for(options)
        self.shared: Final = self._backend.shared
        self.statements: Final = self._backend.statements
        self._writer = self._backend.engine(writes=True)
        self._readers = self._backend.engine(writes=False)
        self._write_thread = Threads(1, "store-writer")
        self._read_threads = Threads(READERS, "store-reader")
        # The idle writing connection, unless other processes share the database.
        self._held: Connection | None = None
        self.lineage: Final = Lineage()
        self.durations: Final = {"read": Histogram(), "write": Histogram()}
        self._running = 0

    @classmethod
    async def open(cls, options: DatabaseOptions) -> Database:
        """Open a migrated database for reading and writing. On SQLite this begins a new epoch.

        Raises:
            DataInUse: another process has the SQLite file open.
            ServerTooOld: the PostgreSQL server is older than the oldest supported version.
            DatabaseUnreadable: the database cannot be opened for any other reason.
        """
        database = cls(options)
        try:
            database._backend.acquire()
            await database.write(database._start)
            await database.check()
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
        """Read the table of epochs if a statement returned an epoch that this process does not know.

        Args:
            ids: Epoch ids of the rows that the statement returned.
            newest: The newest epoch in the statement's snapshot. If it is known, all older epochs are known too.
        """
        known = self.lineage.epochs.keys() >= set(ids) and newest in {None, self.lineage.current}
        if not known and self.shared:
            await self.read(self._load_epochs)

    async def fetch(
        self, query: Select[*tuple[Any, ...]], parameters: Mapping[str, Any] | None = None
    ) -> Sequence[AnyRow]:
        """Return all rows of one query; see `read`."""
        return await self.read(lambda connection: connection.execute(query, parameters).all())

    async def read(self, work: Callable[[Connection], _T]) -> _T:
        """Run ``work`` on a reading connection.

        Args:
            work: Must execute only one statement, so that all its rows come from one snapshot.

        Raises:
            StoreUnavailable: the database is unreachable, or the read took longer than ``read_timeout_s``.
        """
        call = _Call(self._options.read_timeout_s)

        def transact() -> _T:
            with self._readers.connect() as connection, call.running_on(connection):
                return work(connection)

        return await self._run_on_thread("read", self._read_threads, transact, call)

    async def write(self, work: Callable[[Connection], _T], *, durable: bool = True) -> _T:
        """Run ``work`` in one write transaction, which commits when it returns and rolls back when it raises.

        Cancelling the caller does not cancel the transaction.

        Args:
            work: Runs on the writer thread. Runs again from its start if the transaction failed and can be retried, for
                example after a deadlock with another process or a loss of the connection before the commit.
            durable: Whether to return only after the commit has reached the disk. Otherwise a power failure may undo
                the commit; a crash of this process cannot.

        Raises:
            StoreUnavailable: nothing was written; but if the connection or a file was lost during the commit, the
                outcome is unknown.
            StoreBusy: `failure` is set; nothing was written.
        """
        call = _Call(self._options.write_timeout_s if self.shared else None)

        def transact() -> _T:
            if self.failure is not None:
                raise StoreBusy(self.failure)
            with self._writing_connection() as plain, call.running_on(plain):
                call.committing = False
                with self._backend.transaction(plain, durable=durable) as connection:
                    result = work(connection)
                    call.committing = True
            if reason := self._backend.missing_file():
                raise self._fail(reason)
            return result

        return await self._run_on_thread("write", self._write_thread, transact, call)

    async def check(self) -> None:
        """Check that a write would succeed.

        Raises:
            StoreUnavailable: it would fail.
        """
        await self.write(self._backend.probe, durable=False)

    @property
    def connections(self) -> dict[str, int]:
        """Connections that are ``used`` and ``idle``, and calls that are ``waiting`` for one."""
        pools = [cast("QueuePool", engine.pool) for engine in (self._writer, self._readers)]
        held = self._held is not None
        used = max(0, sum(pool.checkedout() for pool in pools) - held)
        idle = sum(pool.checkedin() for pool in pools) + held
        return {"used": used, "idle": idle, "waiting": max(0, self._running - used)}

    @contextmanager
    def _writing_connection(self) -> Iterator[Connection]:
        """The connection that writes; it is closed if the block fails, which rolls back.

        SQLite's stays out of its pool, whose work takes longer than many a transaction.
        """
        held, self._held = self._held, None
        connection = self._writer.connect() if held is None else held
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if self.shared:
            connection.close()
        else:
            self._held = connection

    async def _run_on_thread(self, operation: str, threads: Threads, transact: Callable[[], _T], call: _Call) -> _T:
        began = time.perf_counter()
        self._running += 1
        try:
            outcome = threads.run(partial(self._run_with_retries, transact, call))
            return await (outcome if call.timeout_s is None else self._in_time(outcome, call, call.timeout_s))
        except Exception as error:
            if (unavailable := _unavailable(error)) is None:
                raise
            raise unavailable from error
        finally:
            self._running -= 1
            self.durations[operation].observe(time.perf_counter() - began)

    async def _in_time(self, outcome: asyncio.Future[_T], call: _Call, timeout_s: float) -> _T:
        try:
            async with asyncio.timeout(timeout_s):
                return await outcome
        except TimeoutError:
            call.abort(self._backend)
            raise
        except asyncio.CancelledError:
            # The thread continues without a waiting caller; its time limit still applies.
            asyncio.get_running_loop().call_later(timeout_s, call.abort, self._backend)
            raise

    def _run_with_retries(self, transact: Callable[[], _T], call: _Call) -> _T:
        for attempt in itertools.count(1):
            try:
                return transact()
            except DBAPIError as error:
                if reason := self._backend.damage(error):
                    raise self._fail(reason) from error
                # The connection was lost before the commit. SQLAlchemy has discarded the pool's other connections.
                lost = error.connection_invalidated and not call.committing
                retryable = lost or self._backend.is_retryable(error)
                if not retryable or attempt == _MAX_ATTEMPTS or not call.pending:
                    raise
        raise AssertionError  # unreachable: the count has no end

    def _fail(self, reason: str) -> StoreUnavailable:
        if self.failure is None:
            self.failure = f"the database {self._backend.location} failed: {reason}"
            logger.error("no write is accepted: %s", self.failure)
        return StoreUnavailable(self.failure)

    def _start(self, connection: Connection) -> None:
        self._backend.record_start(connection)
        self._load_epochs(connection)

    def _load_epochs(self, connection: Connection) -> None:
        known = self.lineage.epochs
        self.lineage.update_from_read(read_epochs(connection), known_before=known)

    def _close(self) -> None:
        self._read_threads.shutdown()
        self._write_thread.shutdown()
        if self._held is not None:
            self._held.close()
        self._readers.dispose()
        self._writer.dispose()
        self._backend.release()
