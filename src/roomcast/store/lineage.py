"""The epochs of a database.

Layer: store. Source: docs/decisions/0001.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Mapping
from typing import Final

from sqlalchemy import Connection, insert, select

from roomcast.store.tables import epochs

_EPOCHS: Final = select(epochs.c.id, epochs.c.epoch).order_by(epochs.c.id)


def begin_epoch(connection: Connection) -> None:
    """Add an epoch to the table; events that are written from now on belong to it."""
    now_ms = time.time_ns() // 1_000_000
    connection.execute(insert(epochs).values(epoch=secrets.token_hex(8), started_at=now_ms))


def read_epochs(connection: Connection) -> dict[int, str]:
    """Every epoch by id, ascending."""
    return {row.id: row.epoch for row in connection.execute(_EPOCHS)}


class Lineage:
    """The epochs of a database: docs/decisions/0001."""

    def __init__(self) -> None:
        self._epochs: dict[int, str] = {}
        # The threads that read and the one that writes both tell what they saw.
        self._guard = threading.Lock()

    @property
    def epochs(self) -> Mapping[int, str]:
        """Every epoch by id, the newest last; they are few. Another object as soon as it has another content."""
        return self._epochs

    @property
    def current_id(self) -> int:
        """The current epoch's id in the table."""
        return next(reversed(self._epochs))

    @property
    def current(self) -> str:
        """The current epoch."""
        return self._epochs[self.current_id]

    def learn(self, epochs: dict[int, str], *, instead_of: Mapping[int, str]) -> None:
        """Take what a read saw.

        Args:
            epochs: Ordered by id.
            instead_of: What was known when it began. If that is not so any more, somebody else was told something
                meanwhile, and only more than that is certainly newer.
        """
        with self._guard:
            if self._epochs is instead_of or len(epochs) > len(self._epochs):
                self._take(epochs)

    def replace(self, epochs: dict[int, str]) -> None:
        """Take what a write saw: no epoch begins before it has ended."""
        with self._guard:
            self._take(epochs)

    def _take(self, epochs: dict[int, str]) -> None:
        # By content: a database that was restored again may have as many, or fewer, and others.
        if epochs != self._epochs:
            self._epochs = epochs
