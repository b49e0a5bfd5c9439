"""Collects the rows that the commands of a batch add: chats, events, messages.

Layer: store.rules.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import Table

from roomcast.chat.commands import NewChat
from roomcast.chat.delivery.encoding import encode_event, encode_message
from roomcast.chat.model import AuditAction, ChatAi, StoredChat, StoredEvent, StoredMessage
from roomcast.chat.policies.search_terms import index_terms
from roomcast.contract.events import EventType
from roomcast.contract.tenants import qualify, tenant_of
from roomcast.store.lineage import Lineage
from roomcast.store.rows import encode_ai, encode_attachments, from_ms, to_ms
from roomcast.store.tables import audit, chats, events, messages, outbox

_LARGEST_STEP: Final = timedelta(days=1)


class Recorder:
    """The chats of a batch, and the rows that it inserts.

    Args:
        loaded: The chats that exist, by id.
        newest_activity_ms: As in `exchange.LoadedRows`.
        lineage: The epochs of the database.

    Attributes:
        chats: The chats as they are after the commands so far, by id.
        grown_chats: Those with a new head.
        epoch: The current epoch.
        changed_messages: New values of columns of stored messages, by id.
        changed_chats: New values of columns of stored chats, by id.
        erased: New payloads of stored events, by chat and seq.
        emptied: Chats that lose their members, turns and marks, with their heads before that.
        expired: Messages whose rows are deleted.
        unreported: Chat and id of messages whose reports are deleted.
        indexed: Rows of ``search_entries`` by chat and place; None: the message has no text any more.
    """

    def __init__(self, loaded: dict[str, StoredChat], newest_activity_ms: int, lineage: Lineage) -> None:
        self.chats = loaded
        self.grown_chats: dict[str, StoredChat] = {}
        self.epoch: Final = lineage.current
        self._epoch_id: Final = lineage.current_id
        self.changed_messages: dict[str, dict[str, Any]] = {}
        self.changed_chats: dict[str, dict[str, Any]] = {}
        self.erased: dict[tuple[str, int], bytes] = {}
        self.emptied: dict[str, int] = {}
        self.expired: set[str] = set()
        self.unreported: set[tuple[str, str]] = set()
        self.indexed: dict[tuple[str | int, ...], dict[str, Any] | None] = {}
        self._added: dict[str, dict[str, Any]] = {}
        self._newest_activity = from_ms(newest_activity_ms)
        # In the order of the foreign keys.
        self._inserts: dict[Table, list[dict[str, Any]]] = {
            table: [] for table in (chats, events, messages, outbox, audit)
        }

    def inserts(self) -> Mapping[Table, list[dict[str, Any]]]:
        """The new rows by table."""
        # Sorted by id, so that two processes that create the same chats cannot deadlock.
        self._inserts[chats].sort(key=itemgetter("id"))
        for row in self._inserts[chats]:
            chat = self.chats[row["id"]]
            row.update(
                title=chat.title,
                ai=encode_ai(chat.ai),
                state=None if chat.state is None else chat.state.value,
                last_seq=chat.last_seq,
                last_activity_at=to_ms(chat.last_activity_at),
            )
            # An implementation may write these before the new rows.
            self.grown_chats.pop(chat.id, None)
            self.changed_chats.pop(chat.id, None)
        return {table: rows for table, rows in self._inserts.items() if rows}

    def add_chat(self, new: NewChat, direct: tuple[str, str] | None = None) -> StoredChat:
        """Add a chat without events; ``direct`` are the users of a direct chat."""
        last_activity_at = self._in_order(new.created_at)
        chat = StoredChat(new.id, new.title, new.ai or ChatAi(), new.created_at, last_activity_at, 0, direct=direct)
        self.chats[chat.id] = chat
        self._inserts[chats].append(
            {
                "id": chat.id,
                "created_at": to_ms(chat.created_at),
                "direct": None if direct is None else json.dumps(direct, ensure_ascii=False),
            }
        )
        return chat

    def change_chat(self, chat: StoredChat, **columns: Any) -> None:
        """Write a new state of a chat: the columns that differ."""
        self.chats[chat.id] = chat
        self.changed_chats.setdefault(chat.id, {}).update(columns)

    def next_seq(self, chat_id: str) -> int:
        """The seq of the chat's next event."""
        return self.chats[chat_id].last_seq + 1

    def add(
        self, chat_id: str, event_type: EventType, at: datetime, trace: str | None = None, **fields: Any
    ) -> StoredEvent:
        """Add an event with the next seq of its chat, and its outbox mark.

        Args:
            chat_id: A chat of the batch.
            event_type: Its type, whose payload is in `contract.events.STORED_EVENTS`.
            at: Its time.
            trace: W3C ``traceparent`` of the request that caused it.
            **fields: The fields of the payload besides ``chat_id``, ``epoch``, ``seq`` and ``time``.
        """
        payload = encode_event(event_type, chat_id, self.epoch, self.next_seq(chat_id), at, **fields)
        return self.add_event(chat_id, event_type, payload, at, trace)

    def add_event(
        self, chat_id: str, event_type: EventType, payload: bytes, at: datetime, trace: str | None = None
    ) -> StoredEvent:
        """Like `add`, with an encoded payload."""
        chat = self.chats[chat_id]
        seq = chat.last_seq + 1
        at = max(self._in_order(at), chat.last_activity_at)
        # `dataclasses.replace` takes three times as long.
        updated = StoredChat(
            chat.id,
            chat.title,
            chat.ai,
            chat.created_at,
            at,
            seq,
            state=chat.state,
            direct=chat.direct,
            retention_days=chat.retention_days,
        )
        self.chats[chat.id] = self.grown_chats[chat.id] = updated
        self._inserts[events].append(
            {
                "chat_id": chat.id,
                "seq": seq,
                "epoch_id": self._epoch_id,
                "type": event_type.value,
                "payload": payload,
                "trace": trace,
                "created_at": to_ms(at),
            }
        )
        self._inserts[outbox].append({"chat_id": chat.id, "seq": seq})
        return StoredEvent(chat.id, seq, self.epoch, event_type, payload, at, trace)

    def record_act(
        self, action: AuditAction, act: StoredEvent, actor_id: str | None, object_id: str | None = None
    ) -> None:
        """Add the act of an event to the audit log.

        Args:
            action: What was done.
            act: The event that the act has written.
            actor_id: The user that did it; None: a service, or a client while authentication is off.
            object_id: What it was done to; see `chat.model.Act`.
        """
        self.record_silent_act(action, act.chat_id, act.created_at, actor_id, object_id, act.trace)

    def record_silent_act(
        self,
        action: AuditAction,
        chat_id: str,
        at: datetime,
        actor_id: str | None,
        object_id: str | None = None,
        trace: str | None = None,
    ) -> None:
        """Add an act that writes no event to the audit log."""
        self._inserts[audit].append(audit_row(action, chat_id, at, actor_id, object_id, trace))

    def add_message(self, message: StoredMessage) -> None:
        """Add the row of a message."""
        row = {
            "id": message.id,
            "chat_id": message.chat_id,
            "seq": message.seq,
            "place": message.place,
            "version": message.version,
            "epoch_id": self._epoch_id,
            "role": message.role,
            "content": message.content,
            "parts": encode_parts(message.parts),
            "user_id": message.user_id,
            "client_msg_id": message.client_msg_id,
            "turn_id": None if message.turn is None else message.turn.id,
            "status": "sent",
            "created_at": to_ms(message.created_at),
            "reply_to": message.reply_to,
            "attachments": encode_attachments(message.attachments),
        }
        self._inserts[messages].append(row)
        self._added[message.id] = row
        if message.content or message.version > 1:
            self._index(message, message.content)

    def erase(self, message: StoredMessage, at: datetime, **columns: Any) -> None:
        """Erase the text, the files and the reports of one version of a message, also in its event.

        Args:
            message: The version.
            at: The time.
            **columns: New values of other columns.
        """
        self.unreported.add((message.chat_id, message.id))
        self._change_message(message.id, content="", parts=None, attachments=None, deleted_at=to_ms(at), **columns)
        self._index(message, "")
        if not message.content and not message.parts and not message.attachments:
            return  # an answer without a text: its event is a status
        erased = replace(message, content="", parts=None, deleted=True, reactions={}, pinned=False, attachments=())
        self.erased[message.chat_id, message.seq] = encode_message(erased)

    def change_answer(self, answer: StoredMessage) -> None:
        """Write a new state of an answer."""
        self._change_message(
            answer.id,
            seq=answer.seq,
            epoch_id=self._epoch_id,
            content=answer.content,
            parts=encode_parts(answer.parts),
        )
        self._index(answer, answer.content)

    def change_turn(self, message_id: str, turn_id: str) -> None:
        """Write the latest turn that answers a message."""
        self._change_message(message_id, turn_id=turn_id)

    def _change_message(self, message_id: str, **columns: Any) -> None:
        row = self._added.get(message_id)
        if row is None:
            row = self.changed_messages.setdefault(message_id, {})
        row.update(columns)

    def _index(self, message: StoredMessage, content: str) -> None:
        """Write the last version of a message to the index of the search."""
        self.indexed[message.chat_id, message.place] = search_entry(message.chat_id, message.place, content)

    def _in_order(self, at: datetime) -> datetime:
        """A time that is not before any activity of earlier batches, since chats and turns are ordered by it.

        The clock may have been set back, and the clocks of several processes differ. An activity of more than
        `_LARGEST_STEP` ahead is that of a clock which was wrong: the other chats keep their true times.
        """
        ahead = self._newest_activity - at
        return self._newest_activity + timedelta(milliseconds=1) if timedelta() < ahead <= _LARGEST_STEP else at


def no_chat(user_id: str) -> str:
    """In place of the chat of an act that concerns a user only: the tenant of the user, with an empty local id."""
    return qualify(tenant_of(user_id), "")


def audit_row(
    action: AuditAction,
    chat_id: str,
    at: datetime,
    actor_id: str | None,
    object_id: str | None,
    trace: str | None = None,
) -> dict[str, Any]:
    """A row of ``audit``."""
    return {
        "at": to_ms(at),
        "action": action.value,
        "chat_id": chat_id,
        "actor_id": actor_id,
        "object_id": object_id,
        "trace": trace,
    }


def encode_parts(parts: tuple[Mapping[str, Any], ...] | None) -> str | None:
    """The parts of an answer as the JSON of their column; NULL if there are none."""
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":")) if parts else None


@lru_cache(1_024)
def chat_term(chat_id: str) -> str:
    """The term of all messages of a chat; a hash, since the index knows letters and digits only."""
    return f"#{blake2b(chat_id.encode(), digest_size=8).hexdigest()}"


def search_entry(chat_id: str, place: int, content: str) -> dict[str, Any] | None:
    """The row of ``search_entries`` for a text; None if it has no terms."""
    terms = index_terms(content)
    return {"chat_id": chat_id, "place": place, "terms": " ".join((chat_term(chat_id), *terms))} if terms else None
