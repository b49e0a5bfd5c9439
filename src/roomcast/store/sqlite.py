"""SQLite: one connection writes, a few read.

A write transaction takes the write lock at its start, since a transaction that upgrades a read lock later can fail with
an error that waiting does not resolve. Before that, it checks that the database file was not deleted or replaced, since
SQLite continues to write to a deleted file.

Layer: store. Source: SQLite documentation, "Write-Ahead Logging", "PRAGMA synchronous".
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, update
from sqlalchemy.exc import DBAPIError

from roomcast.chat.errors import StoreUnavailable
from roomcast.store.errors import DatabaseUnreadable
from roomcast.store.exclusive import ExclusiveLock
from roomcast.store.lineage import begin_epoch
from roomcast.store.options import READERS, DatabaseOptions
from roomcast.store.statements import PlainStatements, Statements
from roomcast.store.tables import turns

logger = logging.getLogger(__name__)

_JOURNAL_LIMIT_BYTES: Final = 67_108_864
#: Page cache of each connection.
_CACHE_KIB: Final = 8_192


class SqliteBackend:
    """A database file that only one process may open; implements `backend.Backend`."""

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        self.shared = False
        self.statements: Statements = PlainStatements()
        self.location = str(url.database)
        self._url = url
        self._options = options
        self._lock = ExclusiveLock(Path(self.location))
        # Device and inode of the file that was opened for writing.
        self._file_id: tuple[int, int] | None = None

    def engine(self, *, writes: bool) -> Engine:
        """See `Backend`."""
        options = self._options
        engine = create_engine(
            self._url,
            pool_size=1 if writes else READERS,
            max_overflow=0,
            connect_args={"timeout": options.busy_timeout_s},
            # Keeps the users' texts out of error messages and logs.
            hide_parameters=True,
        )

        def set_up(connection: Any, _record: Any) -> None:
            # Turns off the driver's transaction control, which begins transactions too late and leaves DDL outside.
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {round(options.busy_timeout_s * 1000)}")
            if writes:
                cursor.execute("PRAGMA journal_mode = WAL")
                # A checkpoint truncates the WAL file, which a burst of writes may have enlarged.
                cursor.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}")
                self._file_id = self._file_id or self._current_file_id()
            cursor.execute(f"PRAGMA synchronous = {options.synchronous}")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            if not writes:
                cursor.execute("PRAGMA query_only = ON")
            cursor.close()

        def begin(connection: Connection) -> None:
            if not writes:
                connection.exec_driver_sql("BEGIN")
                return
            if self._current_file_id() != self._file_id:
                raise StoreUnavailable(
                    f"{self.location} was deleted or replaced while it was open: start roomcast again"
                )
            # "PRAGMA synchronous": in WAL mode, NORMAL keeps the database consistent; only a power failure can undo the
            # newest commits. The next FULL commit syncs them too.
            durable = connection.get_execution_options().get("durable", True)
            level = options.synchronous if durable or options.synchronous == "OFF" else "NORMAL"
            if connection.info.get("synchronous", options.synchronous) != level:
                connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
                connection.info["synchronous"] = level
            connection.exec_driver_sql("BEGIN IMMEDIATE")

        event.listen(engine, "connect", set_up)
        event.listen(engine, "begin", begin)
        return engine

    def acquire(self) -> None:
        """See `Backend`. Creates the directory if it does not exist. Only the owner can read it and the database."""
        file = Path(self.location)
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnreadable(str(file.parent), error.strerror or str(error)) from None
        self._lock.acquire()
        try:
            # SQLite creates its other files with the permissions of this one.
            file.touch(mode=0o600)
        except OSError as error:
            self._lock.release()
            raise DatabaseUnreadable(str(file), error.strerror or str(error)) from None
        for suffix in ("", "-wal", "-shm", "-journal"):
            _make_private(file.with_name(file.name + suffix))

    def release(self) -> None:
        """See `Backend`."""
        self._lock.release()

    def lock_schema(self, _connection: Connection, /) -> None:
        """See `Backend`. The exclusive lock suffices."""

    def ensure_epoch(self, _connection: Connection, /, *, new_epoch: bool) -> None:
        """See `Backend`. Nothing to do, since each start begins an epoch."""

    def record_start(self, connection: Connection, /) -> None:
        """See `Backend`. Each start begins an epoch (docs/decisions/0001) and ends all leases."""
        begin_epoch(connection)
        # No other process has the database open, so the workers that held leases have ended.
        connection.execute(update(turns).where(turns.c.status == "running").values(lease_until=0))

    def is_retryable(self, _error: DBAPIError, /) -> bool:
        """See `Backend`. No other process writes, so a retry would fail in the same way."""
        return False

    def abort(self, connection: Connection) -> None:
        """See `Backend`. Does nothing.

        A wait for the disk cannot be interrupted, and ``busy_timeout_s`` limits waits for locks.
        """

    def _current_file_id(self) -> tuple[int, int] | None:
        try:
            found = Path(self.location).stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino


def _make_private(file: Path) -> None:
    """Let only the owner read a file of the database, which an earlier release may have created for all users."""
    try:
        if file.is_file() and file.stat().st_mode & 0o077:
            file.chmod(0o600)
    except OSError as error:
        logger.warning("cannot make the database private", extra={"file": str(file), "error": str(error)})
