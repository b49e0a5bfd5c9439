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


def test_a_join_may_say_what_the_client_has() -> None:
    join = parse_join_chat({"chatId": "c", "since": {"epoch": "e", "seq": 3}})
    assert join.since == Cursor(epoch="e", seq=3)
    assert parse_join_chat({"chatId": "c", "since": None}).since is None


def test_members_of_newer_clients_are_passed_over() -> None:
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
def test_a_bad_join_is_told_where_it_is_bad(payload: object, where: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_join_chat(payload)
    assert str(caught.value).startswith(where)


def test_leaving_takes_both_forms() -> None:
    assert parse_leave_chat("c") == parse_leave_chat({"chatId": "c"})
    with pytest.raises(InvalidPayload):
        parse_leave_chat(None)


def test_a_user_id_is_bare() -> None:
    assert parse_join_user("王") == "王"
    for payload in (None, "", {"userId": "a"}, "a\0"):
        with pytest.raises(InvalidPayload):
            parse_join_user(payload)


def test_an_ack_says_reset_only_if_it_is_true() -> None:
    ack = JoinChatAck(chat_id="c", epoch="e", seq=3, recovered=True)
    assert ack.model_dump() == {"ok": True, "chatId": "c", "epoch": "e", "seq": 3, "recovered": True}
    again = JoinChatAck(chat_id="c", epoch="e", seq=3, recovered=False, reset=True)
    assert again.model_dump()["reset"] is True
