"""What one database has of its own: how it is connected to, who may have it, and what its errors mean.

Layer: store.
"""

from __future__ import annotations

from typing import Protocol

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DBAPIError

from roomcast.store.statements import Statements


class Backing(Protocol):
    """One kind of database at one address.

    Attributes:
        place: Where it is, for people; without passwords.
        shared: Whether several processes may have it open at once.
        statements: How a batch of writes gets at its rows.
    """

    place: str
    shared: bool
    statements: Statements

    def engine(self, *, writes: bool) -> Engine:
        """An engine whose connections are set up for reading, or the one that writes.

        A transaction of the execution option ``durable=False`` commits without waiting for the disk.
        """

    def acquire(self) -> None:
        """Take the database for this process, if it can be taken.

        Raises:
            DataInUse: another process has it.
            DatabaseUnreadable: it is not there.
        """

    def release(self) -> None:
        """Give it back. Twice is harmless."""

    def lock_schema(self, connection: Connection, /) -> None:
        """Let nobody else migrate until the end of this transaction."""

    def keep_lineage(self, connection: Connection, /, *, new_epoch: bool) -> None:
        """Behind a migration: see to it that there is an epoch, and a new one if that is asked for."""

    def start(self, connection: Connection, /) -> None:
        """Write what the start of a process changes."""

    def may_repeat(self, error: DBAPIError, /) -> bool:
        """Whether a transaction that failed so was rolled back whole, and may succeed when it is done again."""

    def abort(self, connection: Connection) -> None:
        """Break off what another thread does on this connection, which then fails."""


def display_url(url: URL) -> str:
    """The URL without passwords; its query may hold some too."""
    return url.set(query={}).render_as_string()
