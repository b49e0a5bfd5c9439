"""What an erasure changes in stored events."""

from __future__ import annotations

import json

import pytest

from roomcast.chat.delivery.encoding import encode_event
from roomcast.contract.events import EventType, MemberRole
from roomcast.store.personal.pages import _payload
from support.backend import START


@pytest.mark.parametrize("user_id", ["c", "member", "userId", "bob"])
def test_only_the_fields_that_name_users_are_changed(user_id: str) -> None:
    """A chat, a role or a field may be called as the user is."""
    event = encode_event(
        EventType.MEMBER_ADDED,
        "c",
        "e",
        1,
        START,
        user_id="bob",
        actor_id=user_id,
        role=MemberRole.MEMBER,
        muted_until=None,
    )
    before = json.loads(event)
    after = json.loads(_payload(EventType.MEMBER_ADDED, event, user_id, "erased-1"))
    users = {name: "erased-1" for name in ("userId", "actorId") if before[name] == user_id}
    assert after == before | users


def test_the_data_of_a_custom_event_loses_the_user_everywhere() -> None:
    data = {"customer": "bob", "bob": [{"by": "bob", "text": "bob wrote"}]}
    event = encode_event(EventType.CUSTOM, "bob", "e", 1, START, id="bob", name="bob", data=data)
    after = json.loads(_payload(EventType.CUSTOM, event, "bob", "erased-1"))
    assert (after["chatId"], after["id"], after["name"]) == ("bob", "bob", "bob")
    assert after["data"] == {"customer": "erased-1", "erased-1": [{"by": "erased-1", "text": "bob wrote"}]}
