"""Conversion of database rows to the types of the domain.

Layer: store.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row

from roomcast.chat.model import (
    ChatAi,
    ChatState,
    Notifications,
    StoredChat,
    StoredEvent,
    StoredInvite,
    StoredMember,
    StoredMessage,
    StoredTurn,
)
from roomcast.contract.events import Attachment, LastMessage, MemberRole, TurnReason, TurnStatus

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


def maybe_time(milliseconds: int | None) -> datetime | None:
    """The same for a column that may be NULL."""
    return None if milliseconds is None else from_ms(milliseconds)


def to_notifications(row: AnyRow) -> Notifications:
    """Convert the columns for what notifies a user."""
    return Notifications(row.notify_level, maybe_time(row.notify_muted_until), row.notify_default or "all")


def to_member(row: AnyRow) -> StoredMember:
    """Convert a row of ``members``."""
    return StoredMember(row.user_id, from_ms(row.added_at), MemberRole(row.role), maybe_time(row.muted_until))


def to_invite(row: AnyRow) -> StoredInvite:
    """Convert a row of ``invites``."""
    return StoredInvite(
        chat_id=row.chat_id,
        id=row.id,
        actor_id=row.actor_id,
        role=MemberRole(row.role),
        created_at=from_ms(row.created_at),
        expires_at=maybe_time(row.expires_at),
        max_uses=row.max_uses,
        uses=row.uses,
    )


_DEFAULTS: Final = ChatAi()


@functools.lru_cache(128)
def to_ai(column: str | None) -> ChatAi:
    """Convert the column ``ai``. Cached, since each message reads it."""
    return _DEFAULTS if column is None else ChatAi(**json.loads(column))


def encode_ai(ai: ChatAi) -> str | None:
    """The settings as the column ``ai``."""
    changed = {name: value for name, value in asdict(ai).items() if value != getattr(_DEFAULTS, name)}
    return json.dumps(changed, separators=(",", ":")) if changed else None


def to_chat(row: AnyRow) -> StoredChat:
    """Convert a row of ``chats``."""
    return StoredChat(
        id=row.id,
        title=row.title,
        ai=to_ai(row.ai),
        created_at=from_ms(row.created_at),
        last_activity_at=from_ms(row.last_activity_at),
        last_seq=row.last_seq,
        state=None if row.state is None else ChatState(row.state),
        direct=None if row.direct is None else tuple(json.loads(row.direct)),
        retention_days=row.retention_days,
    )


def to_listed_chat(row: AnyRow, epochs: Mapping[int, str]) -> StoredChat:
    """Convert a row of ``chats`` and its newest message; ``epochs`` as in `to_event`."""
    chat = to_chat(row)
    if hasattr(row, "unread"):
        chat = replace(chat, unread=row.unread, mentions=row.mentions, notifications=to_notifications(row))
    if row.message_seq is None:
        return chat
    message = LastMessage.model_construct(
        epoch=epochs[row.message_epoch_id],
        seq=row.message_seq,
        user_id=row.message_user_id if row.message_role == "USER" else None,
        time=from_ms(row.message_created_at),
    )
    files = json.loads(row.preview_files) if row.preview_files and not row.preview else [{}]
    return replace(chat, last_message=message, preview=row.preview, preview_file=files[0].get("name"))


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


def to_turn(row: AnyRow, turn_id: str, prefix: str = "") -> StoredTurn:
    """Convert a row with the columns of ``turns``, whose names begin with ``prefix``."""
    question_id, status, reason, generation, last, place, version = (
        getattr(row, prefix + name)
        for name in ("question_id", "status", "reason", "generation", "last", "place", "version")
    )
    return StoredTurn(
        turn_id,
        question_id,
        TurnStatus(status),
        None if reason is None else TurnReason(reason),
        generation,
        last,
        place,
        version,
    )


def to_message(row: AnyRow, epochs: Mapping[int, str]) -> StoredMessage:
    """Convert a row of `chats.MESSAGES`; ``epochs`` as in `to_event`."""
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
        place=row.place,
        version=row.version,
        turn=None if row.turn_status is None else to_turn(row, row.turn_id, "turn_"),
        parts=None if row.parts is None else tuple(json.loads(row.parts)),
        reply_to=row.reply_to,
        deleted=row.deleted_at is not None,
        reactions={} if row.reacted is None else json.loads(row.reacted),
        pinned=row.pinned_at is not None,
        # An earlier version deletes a message without its files.
        attachments=to_attachments(None if row.deleted_at is not None else row.attachments),
    )


def to_attachments(column: str | None) -> tuple[Attachment, ...]:
    """Convert the column ``attachments``."""
    return () if column is None else tuple(Attachment.model_construct(**values) for values in json.loads(column))


def encode_attachments(attachments: tuple[Attachment, ...]) -> str | None:
    """The files of a message as the column ``attachments``."""
    return json.dumps([vars(one) for one in attachments], ensure_ascii=False) if attachments else None
