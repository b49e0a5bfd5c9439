"""Encodes events as JSON. Each event is encoded once, when it is written; no later step decodes it.

Layer: chat. Source: Socket.IO protocol v5 (an event packet's payload is the JSON array ``["name",argument…]``).
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import Any

from roomcast.chat.model import StoredEvent, StoredMessage
from roomcast.chat.ports.log import LogEntry
from roomcast.contract import events as contract
from roomcast.contract.events import STORED_EVENTS, EventType


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
        reply_to=message.reply_to,
        deleted=message.deleted,
        reactions=tuple(
            contract.Reaction(emoji=emoji, user_ids=tuple(users)) for emoji, users in message.reactions.items()
        ),
        pinned=message.pinned,
        attachments=message.attachments,
    )


def encode_event(event_type: EventType, chat_id: str, epoch: str, seq: int, time: datetime, **fields: Any) -> bytes:
    """The payload of an event but ``new-msg`` as UTF-8 JSON.

    Args:
        event_type: Names the payload in `STORED_EVENTS`.
        chat_id: See `contract.events.Stored`, also for the next three.
        epoch: The current epoch.
        seq: The event's seq.
        time: The event's time by the clock.
        **fields: All other fields of the payload, in their order.
    """
    payload = STORED_EVENTS[event_type].payload
    return payload.encode(chat_id=chat_id, epoch=epoch, seq=seq, time=time, **fields)


def event_name(event_type: EventType | str) -> str:
    """The Socket.IO event name of an event type. A type that this version does not know is returned unchanged."""
    try:
        return STORED_EVENTS[EventType(event_type)].name
    except ValueError:
        return event_type


def event_args(event: StoredEvent) -> bytes:
    """The Socket.IO argument array with the stored payload: ``["new-msg",{…}]``."""
    return b"[%b,%b]" % (_name_json(event.type), event.payload)


@lru_cache(64)
def _name_json(event_type: EventType | str) -> bytes:
    return json.dumps(event_name(event_type)).encode()


def log_entry(event: StoredEvent) -> LogEntry:
    """The event as a log entry."""
    return LogEntry(event.seq, event_args(event), event.trace)


def event_item(event: StoredEvent) -> bytes:
    """One item of ``GET …/events``, with the stored payload, as UTF-8 JSON."""
    return b'{"seq":%d,"type":%b,"event":%b,"data":%b}' % (
        event.seq,
        json.dumps(str(event.type)).encode(),
        _name_json(event.type),
        event.payload,
    )
