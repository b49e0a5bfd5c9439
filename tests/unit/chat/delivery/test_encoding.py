from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.delivery.encoding import (
    encode_event,
    encode_message,
    event_args,
    event_item,
    event_name,
)
from roomcast.chat.model import StoredEvent, StoredMessage, StoredTurn
from roomcast.contract import events as contract
from roomcast.contract.events import STORED_EVENTS, EventType, MemberRole, TurnReason, TurnStatus
from roomcast.contract.tenants import SEPARATOR
from support.backend import START

_LOCAL_IDS = st.text(st.characters(exclude_characters=SEPARATOR, codec="utf-8"), min_size=1, max_size=20)


@given(st.text(min_size=1), st.none() | _LOCAL_IDS)
def test_any_text_survives_its_encoding(content: str, user_id: str | None) -> None:
    message = StoredMessage("m", "c", "e", 7, "USER", content, user_id, None, START)
    payload = encode_message(message)
    event = StoredEvent("c", 7, "e", EventType.MESSAGE_CREATED, payload, START)
    name, argument = json.loads(event_args(event))
    assert (name, argument["content"], argument["userId"]) == ("new-msg", content, user_id)
    item = json.loads(event_item(event))
    assert item == {"seq": 7, "type": "message-created", "event": "new-msg", "data": argument}
    assert b"\n" not in payload


@given(
    st.builds(
        StoredMessage,
        *(st.text(min_size=1, max_size=9, alphabet="ab-1") for _ in range(3)),
        st.integers(1, 2**53 - 1),
        st.sampled_from(["USER", "AI"]),
        st.text(st.characters(exclude_characters="\0", codec="utf-8")),
        st.none() | st.text(min_size=1, max_size=20, alphabet="aé \u00a0"),
        st.none() | st.text(min_size=1, max_size=20, alphabet="aé😀"),
        st.datetimes(timezones=st.timezones()),
        st.integers(0, 9),
        st.integers(1, 9),
        st.none() | st.builds(StoredTurn, st.text(), st.text(), st.sampled_from(TurnStatus)),
        st.none()
        | st.tuples(st.dictionaries(st.text(), st.text() | st.floats() | st.none() | st.lists(st.integers()))),
    )
)
def test_a_message_is_encoded_as_its_validated_payload(message: StoredMessage) -> None:
    validated = contract.Message(
        **{name: getattr(message, name) for name in ("id", "role", "content", "chat_id", "epoch", "seq", "version")},
        time=message.created_at,
        place=message.place or message.seq,
        user_id=message.user_id,
        client_msg_id=message.client_msg_id,
        turn=None if message.turn is None else message.turn.to_contract(),
        parts=None if message.parts is None else [dict(part) for part in message.parts],
    )
    assert encode_message(message).decode() == validated.model_dump_json()


#: The fields of each event but ``new-msg`` besides those of `contract.Stored`.
FIELDS: dict[EventType, dict[str, Any]] = {
    EventType.CHAT_CHANGED: {"title": "t", "archived": True, "user_id": "u", "retention_days": 30},
    EventType.CHAT_DELETED: {"user_id": None},
    EventType.MEMBER_ADDED: {"user_id": "u", "actor_id": None, "role": MemberRole.READER, "muted_until": START},
    EventType.MEMBER_REMOVED: {"user_id": "u", "actor_id": "v", "banned": True},
    EventType.TURN_CHANGED: {"place": 7, "version": 3, "turn": StoredTurn("t", "m").to_contract()},
    EventType.TOOL_CALLED: {"turn_id": "t", "tool_call_id": "call-1", "tool_name": "weather"},
    EventType.MESSAGE_DELETED: {"place": 7, "message_id": "m", "user_id": "u"},
    EventType.REACTION_CHANGED: {"place": 7, "message_id": "m", "emoji": "👍", "added": True, "user_id": "u"},
    EventType.MEMBER_UPDATED: {"user_id": "u", "role": MemberRole.OWNER, "muted_until": START, "actor_id": None},
    EventType.MESSAGES_ERASED: {"places": (7, 8)},
    EventType.MESSAGES_EXPIRED: {"through": 7},
    EventType.PIN_CHANGED: {"place": 7, "message_id": "m", "pinned": True, "user_id": None},
    EventType.CUSTOM: {"id": "e-1", "name": "order.shipped", "data": {"count": 2, "tags": ["é"]}},
}


@pytest.mark.parametrize("event_type", [kind for kind in EventType if kind is not EventType.MESSAGE_CREATED])
def test_an_event_has_all_fields_of_its_payload_in_their_order(event_type: EventType) -> None:
    payload = STORED_EVENTS[event_type].payload
    encoded = encode_event(event_type, "c", "e", 1, START, **FIELDS[event_type])
    assert list(json.loads(encoded)) == [field.alias for field in payload.model_fields.values()]
    assert payload.model_validate_json(encoded).model_dump_json() == encoded.decode()


def test_an_unknown_event_type_is_its_own_event_name() -> None:
    assert event_name("message-pinned") == "message-pinned"
    assert event_name("member-added") == "member-added"
    assert event_name(EventType.MESSAGE_CREATED) == "new-msg"


def test_the_events_of_turns_follow_the_contract() -> None:
    turn = StoredTurn("t", "m", TurnStatus.FAILED, TurnReason.TIMEOUT, generation=2, last=4, place=7, version=3)
    status = json.loads(
        encode_event(
            EventType.TURN_CHANGED, "c", "e", 9, START, place=turn.place, version=turn.version, turn=turn.to_contract()
        )
    )
    assert contract.AiStatus.model_validate(status).turn == turn.to_contract()
    assert (status["seq"], status["place"], status["version"]) == (9, 7, 3)
    assert (status["turn"]["messageId"], status["turn"]["status"], status["turn"]["reason"]) == (
        "m",
        "failed",
        "timeout",
    )


def test_a_message_carries_its_place_its_turn_and_its_parts() -> None:
    turn = StoredTurn("m", "q", TurnStatus.COMPLETE, last=4, place=7)
    parts = ({"type": "text", "text": "hi"},)
    message = StoredMessage("m", "c", "e", 9, "AI", "hi", None, None, START, 7, 2, turn, parts)
    body = json.loads(encode_message(message))
    assert (body["seq"], body["place"], body["version"], body["parts"]) == (9, 7, 2, list(parts))
    assert contract.Message.model_validate(body).turn == turn.to_contract()
