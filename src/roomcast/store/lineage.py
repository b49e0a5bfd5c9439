"""The epochs of a database.

A new epoch begins when events that clients hold may have been lost, for example after a restore from a backup.

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
#: Selected together with results that depend on the epochs, since another process may have begun a new epoch.
NEWEST_EPOCH: Final = select(epochs.c.epoch).order_by(epochs.c.id.desc()).limit(1).scalar_subquery()


def begin_epoch(connection: Connection) -> None:
    """Add an epoch to the table; events that are written from now on belong to it."""
    now_ms = time.time_ns() // 1_000_000
    connection.execute(insert(epochs).values(epoch=secrets.token_hex(8), started_at=now_ms))


def read_epochs(connection: Connection) -> dict[int, str]:
    """Every epoch by id, ascending."""
    return {row.id: row.epoch for row in connection.execute(_EPOCHS)}


class Lineage:
    """The epochs that this process knows. Reader threads and the writer thread update it."""

    def __init__(self) -> None:
        self._epochs: dict[int, str] = {}
        self._guard = threading.Lock()

    @property
    def epochs(self) -> Mapping[int, str]:
        """Every known epoch by id, ascending. A change replaces the mapping, so the same object means no change."""
        return self._epochs

    @property
    def current_id(self) -> int:
        """Row id of the current epoch."""
        return next(reversed(self._epochs))

    @property
    def current(self) -> str:
        """The current epoch."""
        return self._epochs[self.current_id]

    def id_of(self, epoch: str) -> int | None:
        """Row id of an epoch; None if it is unknown. Cursors mostly have the newest ones."""
        return next((key for key in reversed(self._epochs) if self._epochs[key] == epoch), None)

    def update_from_read(self, epochs: dict[int, str], *, known_before: Mapping[int, str]) -> None:
        """Replace the known epochs with the result of a read, unless that result may be older.

        Args:
            epochs: The table as the read returned it, ascending by id.
            known_before: The property `epochs` at the start of the read. If another thread has changed it since, the
                result may be older than the known epochs, and only a longer result is certainly newer.
        """
        with self._guard:
            if self._epochs is known_before or len(epochs) > len(self._epochs):
                self._replace(epochs)

    def update_from_write(self, epochs: dict[int, str]) -> None:
        """Replace the known epochs with the table that a write transaction read; its lock prevents new epochs."""
        with self._guard:
            self._replace(epochs)

    def _replace(self, epochs: dict[int, str]) -> None:
        # Compares contents, not lengths: after a second restore, the table may hold other epochs in no more rows.
        if epochs != self._epochs:
            self._epochs = epochs
