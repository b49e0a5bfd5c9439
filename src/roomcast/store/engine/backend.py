"""The port for the differences between the supported databases: connections, exclusive access, retryable errors.

Layer: store.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from roomcast.store.engine.statements import Statements


class Backend(Protocol):
    """One database: its kind and its address.

    Attributes:
        location: Path or URL of the database, for error messages; contains no password.
        shared: Whether several processes may have the database open at once.
        statements: The statements that read and write the rows of a batch.
    """

    location: str
    shared: bool
    statements: Statements

    def engine(self, *, writes: bool) -> Engine:
        """Return an engine for the one connection that writes, or for the connections that only read."""

    def transaction(self, connection: Connection, /, *, durable: bool) -> AbstractContextManager[Connection]:
        """Begin a transaction, which is committed if the block ends without an error.

        Args:
            connection: Writes, and is closed after an error.
            durable: Whether the commit waits for the disk.
        """

    def acquire(self) -> None:
        """Reserve the database for this process, unless it is shared.

        Raises:
            DataInUse: another process has the database open.
            DatabaseUnreadable: the database's directory cannot be created or its lock file cannot be opened.
        """

    def release(self) -> None:
        """Undo `acquire`. Idempotent."""

    def lock_schema(self, connection: Connection, /) -> None:
        """Block other migrations until the end of this transaction."""

    def lock_tables(self, connection: Connection, names: Sequence[str], /) -> None:
        """Let no other process use these tables until the end of this transaction.

        Raises:
            DatabaseUnreadable: transactions of others do not end.
        """

    def ensure_epoch(self, connection: Connection, /, *, new_epoch: bool) -> None:
        """Called after each migration: begin an epoch if the database has none, or if ``new_epoch``."""

    def record_start(self, connection: Connection, /) -> None:
        """Called when a process opens the database: make the changes that its start requires."""

    def is_retryable(self, error: DBAPIError, /) -> bool:
        """Whether the failed transaction was rolled back as a whole and may succeed when it runs again."""

    def damage(self, error: DBAPIError, /) -> str | None:
        """Whether later commits may be lost because of this failure: what happened and what to do, else None."""

    def missing_file(self) -> str | None:
        """Called after each commit: what happened and what to do if a file that holds the commit is gone, else None."""

    def probe(self, connection: Connection, /) -> None:
        """Run a statement that fails where a write would fail, and changes no row."""

    def abort(self, connection: Connection) -> None:
        """Interrupt the statement that another thread is running on this connection; the statement fails."""


# What libpq writes around the cause of a failed connection, and PostgreSQL after that of a statement.
_AROUND: Final = re.compile(
    r"^connection failed: connection to server at [^,]*, port \d+ failed: "
    r"| Is the server running on .*\?$| LINE \d+: .*$"
)


def driver_message(error: DBAPIError) -> str:
    """The driver's error message on one line, the cause first."""
    return _AROUND.sub("", " ".join(str(error.orig).split()))


def display_url(url: str) -> str:
    """The URL without its password and without its query, which may hold passwords too."""
    # libpq ends the login at the first "@" unless a "/" comes before, so a password may contain "?".
    return re.sub(r"(://[^/@:]*):[^/@]*@", r"\1:***@", url, count=1).partition("?")[0]
