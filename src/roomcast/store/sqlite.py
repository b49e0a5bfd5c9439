"""SQLite: one connection writes, a few read.

Every write transaction takes the write lock when it begins (a transaction that upgrades later can fail for reasons that
no retry mends), and first makes sure that its file is still there: SQLite goes on writing into one that was deleted.

Layer: store. Source: SQLite documentation, "Write-Ahead Logging", "PRAGMA synchronous".
"""

from __future__ import annotations

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

_JOURNAL_LIMIT_BYTES: Final = 67_108_864
#: Page cache of each connection.
_CACHE_KIB: Final = 8_192


class SqliteBacking:
    """A database file, which one process has at a time; see `backing.Backing`."""

    def __init__(self, url: URL, options: DatabaseOptions) -> None:
        self.shared = False
        self.statements: Statements = PlainStatements()
        self.place = str(url.database)
        self._url = url
        self._options = options
        self._lock = ExclusiveLock(Path(self.place))
        # Device and inode of the file that is written to.
        self._file: tuple[int, int] | None = None

    def engine(self, *, writes: bool) -> Engine:
        """See `Backing`."""
        options = self._options
        engine = create_engine(
            self._url,
            pool_size=1 if writes else READERS,
            max_overflow=0,
            connect_args={"timeout": options.busy_timeout_s},
            # What people wrote does not belong in the log of an error.
            hide_parameters=True,
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
                self._file = self._file or self._file_there()
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
            if self._file_there() != self._file:
                raise StoreUnavailable(f"{self.place} was deleted or replaced while it was open: start roomcast again")
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

    def _file_there(self) -> tuple[int, int] | None:
        try:
            found = Path(self.place).stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def acquire(self) -> None:
        """See `Backing`. The directory is made if it is not there."""
        directory = Path(self.place).parent
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnreadable(str(directory), error.strerror or str(error)) from None
        self._lock.acquire()

    def release(self) -> None:
        """See `Backing`."""
        self._lock.release()

    def lock_schema(self, _connection: Connection, /) -> None:
        """See `Backing`. The exclusive lock does it."""

    def keep_lineage(self, _connection: Connection, /, *, new_epoch: bool) -> None:
        """See `Backing`. Each start begins an epoch anyway."""

    def start(self, connection: Connection, /) -> None:
        """See `Backing`. Each start begins an epoch: docs/decisions/0001."""
        begin_epoch(connection)
        # This process has the database alone: whoever held a lease is dead.
        connection.execute(update(turns).where(turns.c.status == "running").values(lease_until=0))

    def may_repeat(self, _error: DBAPIError, /) -> bool:
        """See `Backing`. Nobody else writes, so what failed fails again."""
        return False

    def abort(self, connection: Connection) -> None:
        """See `Backing`. A disk that does not answer cannot be hurried; ``busy_timeout_s`` bounds the rest."""
