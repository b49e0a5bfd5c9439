"""Names of keys and channels."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from roomcast.eventlog.redis.keys import canary_channel, chat_keys

chat_ids = st.text(min_size=1, max_size=128)


def test_names_are_readable() -> None:
    assert chat_keys("roomcast", "chat-1") == (
        "roomcast:{chat-1}:meta",
        "roomcast:{chat-1}:log",
        "roomcast:{chat-1}:live",
    )


@given(chat_ids)
def test_the_names_of_a_chat_share_a_slot(chat_id: str) -> None:
    assert len({key_slot(name.encode()) for name in chat_keys("roomcast", chat_id)}) == 1


@given(chat_ids, chat_ids)
def test_two_chats_never_share_a_name(one: str, other: str) -> None:
    if one != other:
        assert not set(chat_keys("p", one)) & set(chat_keys("p", other))


@given(chat_ids)
def test_no_chat_id_can_collide_with_the_canary(chat_id: str) -> None:
    assert canary_channel("p", "tag") not in chat_keys("p", chat_id)
