from __future__ import annotations

import pytest

from roomcast.contract.cursor import Cursor
from roomcast.contract.gateway import (
    InvalidPayload,
    JoinChatAck,
    parse_join_chat,
    parse_join_user,
    parse_leave_chat,
)


def test_the_guides_bare_chat_id_is_a_join_without_cursor() -> None:
    join = parse_join_chat("c")
    assert (join.chat_id, join.since) == ("c", None)


def test_a_join_may_contain_a_cursor() -> None:
    join = parse_join_chat({"chatId": "c", "since": {"epoch": "e", "seq": 3}})
    assert join.since == Cursor(epoch="e", seq=3)
    assert parse_join_chat({"chatId": "c", "since": None}).since is None


def test_unknown_fields_of_newer_clients_are_ignored() -> None:
    assert parse_join_chat({"chatId": "c", "newer": {}}).chat_id == "c"


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        (None, ""),
        (7, ""),
        ([], ""),
        ({}, "chatId"),
        ("", "chatId"),
        ("a b", "chatId"),
        ("\ud800", "chatId"),
        ({"chatId": 7}, "chatId"),
        ({"chat_id": "c"}, "chatId"),
        ({"chatId": "c", "since": 7}, "since"),
        ({"chatId": "c", "since": {"seq": 1}}, "since.epoch"),
        ({"chatId": "c", "since": {"epoch": "e", "seq": -1}}, "since.seq"),
        ({"chatId": "c", "since": {"epoch": "e", "seq": "1"}}, "since.seq"),
        ({"chatId": "c", "since": {"epoch": "e", "seq": True}}, "since.seq"),
        ({"chatId": "c", "since": {"epoch": "e", "seq": 10**400}}, "since.seq"),
    ],
)
def test_the_error_of_an_invalid_join_names_the_field(payload: object, where: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_join_chat(payload)
    assert str(caught.value).startswith(where)


def test_leave_chat_accepts_both_forms() -> None:
    assert parse_leave_chat("c") == parse_leave_chat({"chatId": "c"})
    with pytest.raises(InvalidPayload):
        parse_leave_chat(None)


def test_join_user_accepts_a_bare_user_id_only() -> None:
    assert parse_join_user("王") == "王"
    for payload in (None, "", {"userId": "a"}, "a\0", "\u200b"):
        with pytest.raises(InvalidPayload):
            parse_join_user(payload)


def test_an_ack_contains_reset_only_if_it_is_true() -> None:
    ack = JoinChatAck(chat_id="c", epoch="e", seq=3, recovered=True)
    assert ack.model_dump() == {"ok": True, "chatId": "c", "epoch": "e", "seq": 3, "recovered": True}
    again = JoinChatAck(chat_id="c", epoch="e", seq=3, recovered=False, reset=True)
    assert again.model_dump()["reset"] is True
