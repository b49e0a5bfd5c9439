"""SQLite: one connection writes, a few read.

A write transaction takes the write lock at its start, since a transaction that upgrades a read lock later can fail with
an error that waiting does not resolve. After each commit the backend checks that the files were not deleted or
replaced, since SQLite continues to write to a deleted file.

Layer: store. Source: SQLite documentation, "Write-Ahead Logging", "PRAGMA synchronous", "Result and Error Codes",
"How To Corrupt An SQLite Database File".
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, update
from sqlalchemy.exc import DBAPIError

from roomcast.store.engine.backend import driver_message
from roomcast.store.engine.exclusive import ExclusiveLock
from roomcast.store.engine.statements import PlainStatements, Statements, driver_connection
from roomcast.store.errors import CHOOSE_DIRECTORY, DatabaseUnreadable
from roomcast.store.lineage import begin_epoch
from roomcast.store.options import READERS, DatabaseOptions
from roomcast.store.rules.turns import ACTIVE
from roomcast.store.tables import turns

logger = logging.getLogger(__name__)

_JOURNAL_LIMIT_BYTES: Final = 67_108_864
#: Page cache of each connection.
_CACHE_KIB: Final = 8_192
#: Failures after which later commits may be lost. After a failed sync the kernel may have dropped earlier writes,
#: although the next sync succeeds. A full disk, a lock or a failed write undoes its own transaction only.
_DAMAGE: Final = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
        sqlite3.SQLITE_IOERR_DATA,
    }
)


class SqliteBackend:
    """A database file that only one process may open; implements `backend.Backend`."""

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        self.shared = False
        self.statements: Statements = PlainStatements()
        self.location = str(url.database)
        self._url = url
        self._options = options
        # SQLite follows a symbolic link and keeps its other files beside the target.
        self._file = file = Path(self.location).resolve()
        self._lock = ExclusiveLock(file)
        # The files that hold the committed rows, with the device and inode of each at the first commit.
        self._files = (Path(self.location), file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm"))
        self._opened: list[tuple[int, int] | None] = []
        # Modification time of the database file, in nanoseconds.
        self._modified = 0
        # SQLite would apply a log that is left beside the backup.
        self._restore = f"stop roomcast, move {file.name}* away, restore a backup and start roomcast again"

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
                (mode,) = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
                if mode != "wal":
                    hint = "its file system has no shared memory for a write-ahead log; use --data on a local disk"
                    raise DatabaseUnreadable(self.location, hint)
                # A checkpoint truncates the WAL file, which a burst of writes may have enlarged.
                cursor.execute(f"PRAGMA journal_size_limit = {_JOURNAL_LIMIT_BYTES}")
            cursor.execute(f"PRAGMA synchronous = {options.synchronous}")
            # On macOS, a plain fsync leaves the data in the disk's cache; elsewhere this changes nothing.
            cursor.execute("PRAGMA fullfsync = ON")
            cursor.execute("PRAGMA foreign_keys = ON")
            cursor.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            if not writes:
                cursor.execute("PRAGMA query_only = ON")
            cursor.close()

        def begin(connection: Connection) -> None:
            with driver_connection(connection) as raw:
                if not writes:
                    raw.execute("BEGIN")
                elif not raw.in_transaction:  # else `transaction` has begun it
                    self._begin(connection, raw, durable=True)

        event.listen(engine, "connect", set_up)
        event.listen(engine, "begin", begin)
        return engine

    @contextmanager
    def transaction(self, connection: Connection, /, *, durable: bool) -> Iterator[Connection]:
        """See `Backend`. SQLAlchemy's own transaction, which takes longer, begins only at a statement that it runs."""
        with driver_connection(connection) as raw:
            self._begin(connection, raw, durable=durable)
        yield connection
        with driver_connection(connection) as raw:
            raw.execute("COMMIT")
        if connection.in_transaction():
            connection.commit()  # ends SQLAlchemy's part

    def acquire(self) -> None:
        """See `Backend`. Creates the directory if it does not exist. Only the owner can read it and the database."""
        file = self._file
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnreadable(str(file.parent), f"{error.strerror or error}; {CHOOSE_DIRECTORY}") from None
        self._lock.acquire()
        try:
            # SQLite creates its other files with the permissions of this one.
            file.touch(mode=0o600)
        except OSError as error:
            self._lock.release()
            raise DatabaseUnreadable(str(file), f"{error.strerror or error}; {CHOOSE_DIRECTORY}") from None
        for suffix in ("", "-wal", "-shm", "-journal"):
            _make_private(file.with_name(file.name + suffix))

    def release(self) -> None:
        """See `Backend`."""
        self._lock.release()

    def lock_schema(self, _connection: Connection, /) -> None:
        """See `Backend`. The exclusive lock suffices."""

    def lock_tables(self, _connection: Connection, _names: Sequence[str], /) -> None:
        """See `Backend`. The exclusive lock suffices."""

    def ensure_epoch(self, _connection: Connection, /, *, new_epoch: bool) -> None:
        """See `Backend`. Nothing to do, since each start begins an epoch."""

    def record_start(self, connection: Connection, /) -> None:
        """See `Backend`. Each start begins an epoch (docs/decisions/0001) and ends all leases."""
        begin_epoch(connection)
        # No other process has the database open, so the workers that held leases have ended.
        connection.execute(update(turns).where(turns.c.status.in_(ACTIVE)).values(lease_until=0))

    def is_retryable(self, _error: DBAPIError, /) -> bool:
        """See `Backend`. No other process writes, so a retry would fail in the same way."""
        return False

    def damage(self, error: DBAPIError, /) -> str | None:
        """See `Backend`."""
        code = getattr(error.orig, "sqlite_errorcode", 0)
        # The low byte of an extended code is the primary code.
        if code not in _DAMAGE and code & 0xFF not in _DAMAGE:
            return None
        if code & 0xFF == sqlite3.SQLITE_IOERR:
            return f"the disk failed ({driver_message(error)}): check the disk, then start roomcast again"
        return f"it is damaged ({driver_message(error)}): {self._restore}"

    def missing_file(self) -> str | None:
        """See `Backend`."""
        found = [_file_id(path) for path in self._files]
        self._opened = self._opened or found
        for path, now, opened in zip(self._files, found, self._opened, strict=True):
            if now != opened:
                return f"{path.name} was deleted or replaced while it was open: {self._restore}"
        # Opening this file is harmless; closing one of the others would release SQLite's locks.
        log = os.open(self._files[1], os.O_RDONLY)
        try:
            truncated = os.read(log, 4) == bytes(4)
        finally:
            os.close(log)
        return f"{self._files[1].name} was truncated while it was open: {self._restore}" if truncated else None

    def probe(self, connection: Connection, /) -> None:
        """See `Backend`. Writes one page, so that a full disk is noticed, too."""
        connection.exec_driver_sql("PRAGMA user_version = 0")

    def abort(self, connection: Connection) -> None:
        """See `Backend`. Does nothing.

        A wait for the disk cannot be interrupted, and ``busy_timeout_s`` limits waits for locks.
        """

    def _begin(self, connection: Connection, raw: sqlite3.Connection, *, durable: bool) -> None:
        self._drop_outdated_cache(raw)
        # "PRAGMA synchronous": in WAL mode, NORMAL keeps the database consistent; only a power failure can undo the
        # newest commits. The next FULL commit syncs them too.
        usual = self._options.synchronous
        level = usual if durable or usual == "OFF" else "NORMAL"
        if connection.info.get("synchronous", usual) != level:
            raw.execute(f"PRAGMA synchronous = {level}")
            connection.info["synchronous"] = level
        raw.execute("BEGIN IMMEDIATE")

    def _drop_outdated_cache(self, raw: sqlite3.Connection) -> None:
        """Empty the page cache if the file has changed, so that it cannot hide damage from the writing connection.

        SQLite itself changes the file only at a checkpoint.
        """
        with suppress(FileNotFoundError):  # `missing_file` reports it
            modified = self._files[0].stat().st_mtime_ns
            if modified != self._modified:
                self._modified = modified
                raw.execute("PRAGMA shrink_memory")


def _file_id(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
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
