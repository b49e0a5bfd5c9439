"""Where the database is and how it is opened.

Layer: store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

#: Connections that read, each with a thread of its own.
READERS: Final = 4


@dataclass(frozen=True, slots=True)
class DatabaseOptions:
    """Where the database is and how it is opened.

    Attributes:
        url: ``sqlite:///path`` or ``postgresql://user:password@host:port/name``; not part of the text form, since it
            may hold a password.
        synchronous: ``FULL``: an acknowledged message survives a loss of power. ``OFF`` is for tests.
        busy_timeout_s: SQLite: how long a statement waits for a lock of another program (a backup).
        read_timeout_s: How long a read may take, waiting for a thread included.
        write_timeout_s: PostgreSQL: how long a transaction may take, repetitions included; then its connection is
            given up. Above ``statement_timeout_s``, so that the server ends what merely waits.
        statement_timeout_s: PostgreSQL: how long one statement may take; a transaction may idle half as long.
        connect_timeout_s: PostgreSQL: how long connecting to one host may take.
    """

    url: str = field(repr=False)
    synchronous: Literal["FULL", "OFF"] = "FULL"
    busy_timeout_s: float = 5.0
    read_timeout_s: float = 10.0
    write_timeout_s: float = 12.0
    statement_timeout_s: float = 8.0
    connect_timeout_s: float = 4.0
