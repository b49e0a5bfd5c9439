"""The address of the database, and its timeouts.

Layer: store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

#: Number of reading connections, each with its own thread.
READERS: Final = 4


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """The address of the database, and its timeouts.

    Attributes:
        url: ``sqlite:///path`` or ``postgresql://user:password@host:port/name``. Left out of the ``repr``, since it may
            hold a password.
        synchronous: ``FULL``: an acknowledged message survives a power failure. ``OFF`` is for tests.
        busy_timeout_s: SQLite: how long a statement waits for a lock that another program (a backup) holds.
        read_timeout_s: Limit of one read, including the wait for a thread.
        write_timeout_s: PostgreSQL: limit of one transaction including its retries; after it, the connection is closed.
            Larger than ``statement_timeout_s``, so that the server ends a slow statement first.
        statement_timeout_s: PostgreSQL: limit of one statement. A transaction may be idle for half as long.
        connect_timeout_s: PostgreSQL: limit of one connection attempt to one host.
    """

    url: str = field(repr=False)
    synchronous: Literal["FULL", "OFF"] = "FULL"
    busy_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    write_timeout_s: float = 12.0
    statement_timeout_s: float = 8.0
    connect_timeout_s: float = 4.0
