from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.encoding import encode_message, event_args, event_item, event_name
from roomcast.chat.model import StoredEvent, StoredMessage
from roomcast.contract.events import EventType
from support.backend import START


@given(st.text(min_size=1), st.none() | st.text(min_size=1, max_size=20))
def test_any_text_survives_its_encoding(content: str, user_id: str | None) -> None:
    message = StoredMessage("m", "c", "e", 7, "USER", content, user_id, None, START)
    payload = encode_message(message)
    event = StoredEvent("c", 7, "e", EventType.MESSAGE_CREATED, payload, START)
    name, argument = json.loads(event_args(event))
    assert (name, argument["content"], argument["userId"]) == ("new-msg", content, user_id)
    item = json.loads(event_item(event))
    assert item == {"seq": 7, "type": "message-created", "event": "new-msg", "data": argument}
    assert b"\n" not in payload


def test_an_unknown_event_type_is_its_own_event_name() -> None:
    assert event_name("message-pinned") == "message-pinned"
    assert event_name("member-added") == "member-added"
    assert event_name(EventType.MESSAGE_CREATED) == "new-msg"
