"""Encodes events as JSON. Each event is encoded once, when it is written; no later step decodes it.

Layer: chat. Source: Socket.IO protocol v5 (an event packet's payload is the JSON array ``["name",argument…]``).
"""

from __future__ import annotations

import json
from datetime import datetime

from roomcast.chat.model import StoredEvent, StoredMessage, StoredTurn
from roomcast.chat.ports.log import LogEntry
from roomcast.contract import events as contract
from roomcast.contract.events import EVENT_NAMES, EventType


def encode_message(message: StoredMessage) -> bytes:
    """The ``new-msg`` object as UTF-8 JSON."""
    return contract.Message.encode(
        id=message.id,
        role=message.role,
        content=message.content,
        time=message.created_at,
        chat_id=message.chat_id,
        epoch=message.epoch,
        seq=message.seq,
        place=message.place or message.seq,
        version=message.version,
        user_id=message.user_id,
        client_msg_id=message.client_msg_id,
        status="sent",
        turn=None if message.turn is None else message.turn.to_contract(),
        parts=None if message.parts is None else [dict(part) for part in message.parts],
    )


def encode_member_change(
    chat_id: str, epoch: str, seq: int, user_id: str, actor_id: str | None, created_at: datetime
) -> bytes:
    """The ``member-added`` or ``member-removed`` object as UTF-8 JSON."""
    return contract.MemberChange.encode(
        chat_id=chat_id, epoch=epoch, seq=seq, user_id=user_id, actor_id=actor_id, time=created_at
    )


def encode_status(chat_id: str, epoch: str, seq: int, turn: StoredTurn, at: datetime) -> bytes:
    """The ``ai-status`` object as UTF-8 JSON."""
    return contract.AiStatus.encode(
        chat_id=chat_id,
        epoch=epoch,
        seq=seq,
        time=at,
        place=turn.place,
        version=turn.version,
        turn=turn.to_contract(),
    )


def encode_tool_call(
    chat_id: str, epoch: str, seq: int, turn_id: str, tool_call_id: str, tool_name: str, at: datetime
) -> bytes:
    """The ``ai-tool`` object as UTF-8 JSON."""
    return contract.AiTool.encode(
        chat_id=chat_id,
        epoch=epoch,
        seq=seq,
        time=at,
        turn_id=turn_id,
        tool_call_id=tool_call_id,
        tool_name=tool_name,
    )


def event_name(event_type: EventType | str) -> str:
    """The Socket.IO event name of an event type. A type that this version does not know is returned unchanged."""
    try:
        return EVENT_NAMES[EventType(event_type)]
    except ValueError:
        return event_type


def event_args(event: StoredEvent) -> bytes:
    """The Socket.IO argument array with the stored payload: ``["new-msg",{…}]``."""
    return b"[%b,%b]" % (json.dumps(event_name(event.type)).encode(), event.payload)


def log_entry(event: StoredEvent) -> LogEntry:
    """The event as a log entry."""
    return LogEntry(event.seq, event_args(event), event.trace)


def event_item(event: StoredEvent) -> bytes:
    """One item of ``GET …/events``, with the stored payload, as UTF-8 JSON."""
    return b'{"seq":%d,"type":%b,"event":%b,"data":%b}' % (
        event.seq,
        json.dumps(str(event.type)).encode(),
        json.dumps(event_name(event.type)).encode(),
        event.payload,
    )
