"""Between rows and the domain's types.

Layer: store.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from roomcast.chat.model import StoredChat, StoredEvent, StoredMessage

#: A row of any columns; the select says which.
AnyRow = Row[*tuple[Any, ...]]

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


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


def to_ms(moment: datetime) -> int:
    """Milliseconds since 1970; what is finer is cut off."""
    return (moment - _START) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """An aware datetime in UTC."""
    return _START + milliseconds * _MILLISECOND


def to_chat(row: AnyRow) -> StoredChat:
    """A row of ``chats``."""
    return StoredChat(
        id=row.id,
        title=row.title,
        responder=row.responder,
        created_at=from_ms(row.created_at),
        last_activity_at=from_ms(row.last_activity_at),
        last_seq=row.last_seq,
    )


def to_event(row: AnyRow, epochs: Mapping[int, str]) -> StoredEvent:
    """A row of ``events``.

    Args:
        row: The row.
        epochs: Names of the epochs by id.
    """
    return StoredEvent(
        chat_id=row.chat_id,
        seq=row.seq,
        epoch=epochs[row.epoch_id],
        type=row.type,
        payload=row.payload,
        created_at=from_ms(row.created_at),
        trace=row.trace,
    )


def to_message(row: AnyRow, epochs: Mapping[int, str]) -> StoredMessage:
    """A row of ``messages``.

    Args:
        row: The row.
        epochs: Names of the epochs by id.
    """
    return StoredMessage(
        id=row.id,
        chat_id=row.chat_id,
        epoch=epochs[row.epoch_id],
        seq=row.seq,
        role=row.role,
        content=row.content,
        user_id=row.user_id,
        client_msg_id=row.client_msg_id,
        created_at=from_ms(row.created_at),
    )
