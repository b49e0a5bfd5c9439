"""Conversion of database rows to the types of the domain.

Layer: store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from roomcast.chat.model import StoredChat, StoredEvent, StoredMessage
from roomcast.contract.events import LastMessage

#: A row whose columns depend on the statement.
AnyRow = Row[*tuple[Any, ...]]

_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def to_ms(moment: datetime) -> int:
    """Convert to milliseconds since 1970, rounded down."""
    return (moment - _START) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """Convert milliseconds since 1970 to an aware datetime in UTC."""
    return _START + milliseconds * _MILLISECOND


def to_chat(row: AnyRow) -> StoredChat:
    """Convert a row of ``chats``."""
    return StoredChat(
        id=row.id,
        title=row.title,
        responder=row.responder,
        created_at=from_ms(row.created_at),
        last_activity_at=from_ms(row.last_activity_at),
        last_seq=row.last_seq,
    )


def to_listed_chat(row: AnyRow, epochs: Mapping[int, str]) -> StoredChat:
    """Convert a row of ``chats`` and its newest message; ``epochs`` as in `to_event`."""
    if row.message_seq is None:
        return to_chat(row)
    message = LastMessage.model_construct(
        epoch=epochs[row.message_epoch_id],
        seq=row.message_seq,
        user_id=row.message_user_id if row.message_role == "USER" else None,
        time=from_ms(row.message_created_at),
    )
    return replace(to_chat(row), last_message=message)


def to_event(row: AnyRow, epochs: Mapping[int, str]) -> StoredEvent:
    """Convert a row of ``events``; ``epochs`` maps the ids of the table ``epochs`` to the epochs."""
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
    """Convert a row of ``messages``; ``epochs`` as in `to_event`."""
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
