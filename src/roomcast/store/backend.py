"""What differs between the supported databases: connections, exclusive access, and which errors are worth a retry.

Layer: store.
"""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from roomcast.store.statements import Statements


class Backend(Protocol):
    """One database: its kind and its address.

    Attributes:
        location: File or URL for error messages, without passwords.
        shared: Whether several processes may have it open at once.
        statements: How a batch of writes reads and writes its rows.
    """

    location: str
    shared: bool
    statements: Statements

    def engine(self, *, writes: bool) -> Engine:
        """An engine for the one connection that writes, or for the connections that only read.

        A transaction with the execution option ``durable=False`` commits without waiting for the disk.
        """

    def acquire(self) -> None:
        """Reserve the database for this process, unless it is shared.

        Raises:
            DataInUse: another process has it open.
            DatabaseUnreadable: its directory cannot be created or its lock file cannot be opened.
        """

    def release(self) -> None:
        """Undo `acquire`. Idempotent."""

    def lock_schema(self, connection: Connection, /) -> None:
        """Block other migrations until the end of this transaction."""

    def ensure_epoch(self, connection: Connection, /, *, new_epoch: bool) -> None:
        """After a migration: begin the first epoch of a new database, or a further one if ``new_epoch``."""

    def record_start(self, connection: Connection, /) -> None:
        """Write what the start of a process changes in the database."""

    def is_retryable(self, error: DBAPIError, /) -> bool:
        """Whether the failed transaction was rolled back as a whole and may succeed if it is run again."""

    def abort(self, connection: Connection) -> None:
        """Interrupt the statement that another thread runs on this connection; the statement fails."""


def display_url(url: URL) -> str:
    """The URL without its password and without its query, which may hold passwords too."""
    return url.set(query={}).render_as_string()
