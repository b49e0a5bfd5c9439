from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import StringConstraints, TypeAdapter, ValidationError

from roomcast.contract.text import (
    WHOLE,
    ChatId,
    ClientMsgId,
    Content,
    Emoji,
    Epoch,
    NewContent,
    NewTitle,
    NewUserId,
    Seq,
    UserId,
    format_time,
)

#: Legal and illegal texts; the tests of the page use the same table.
TEXTS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "texts.json").read_text())


def accepts(kind: Any, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("a", True),
        ("a" * 128, True),
        ("AZaz09._:~@-", True),
        ("...", True),
        ("", False),
        ("a" * 129, False),
        (".", False),
        ("..", False),
        ("a b", False),
        ("a/b", False),
        ("a\n", False),
        ("é", False),
        ("a\0", False),
        (1, False),
        (None, False),
        (b"a", False),
    ],
)
def test_a_chat_id_is_safe_in_a_path(value: object, good: bool) -> None:
    assert accepts(ChatId, value) is good


@pytest.mark.parametrize("kind", [UserId, ClientMsgId])
@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("王小明 <a@b>/1", True),
        ("👩‍👩‍👧", True),
        (" ", True),
        ("x" * 128, True),
        ("", False),
        ("x" * 129, False),
        ("a\nb", False),
        ("a\x1b[31m", False),
        ("a\x7f", False),
        ("a\x85", False),
        ("a\u2028", False),
        ("\ud800", False),
        ("\0", False),
        (7, False),
    ],
)
def test_ids_from_other_systems_are_printable(kind: Any, value: object, good: bool) -> None:
    assert accepts(kind, value) is good


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("x", True),
        ("a\r\n\tb\x1b", True),
        ("😀" * 32_768, True),
        ("x" * 32_769, False),
        ("", False),
        ("a\0b", False),
        ("\udfff", False),
        (1, False),
    ],
)
def test_content_is_any_text_that_every_database_can_store(value: object, good: bool) -> None:
    assert accepts(Content, value) is good


@pytest.mark.parametrize(
    ("value", "good"),
    [(0, True), (2**53 - 1, True), (2**53, False), (-1, False), (True, False), (1.0, False), ("1", False)],
)
def test_a_seq_is_exact_in_javascript(value: object, good: bool) -> None:
    assert accepts(Seq, value) is good


@pytest.mark.parametrize(
    ("value", "read"), [(7, 7), (7.0, 7), (7.5, None), ("7", None), (True, None), (1e300, None), (float("inf"), None)]
)
def test_a_number_without_a_fraction_is_an_integer_in_a_body(value: object, read: int | None) -> None:
    kind = TypeAdapter(Annotated[Seq, WHOLE])
    if read is None:
        with pytest.raises(ValidationError):
            kind.validate_python(value)
    else:
        assert kind.validate_python(value) == read
    assert kind.json_schema() == {"type": "integer", "minimum": 0, "maximum": 2**53 - 1}


def test_an_epoch_is_opaque_but_plain() -> None:
    assert accepts(Epoch, "a51eb64d98353964")
    assert not accepts(Epoch, "")
    assert not accepts(Epoch, "a b")
    assert not accepts(Epoch, "x" * 65)


def test_times_are_utc_with_milliseconds() -> None:
    moment = datetime(2026, 1, 2, 11, 4, 5, 678_999, tzinfo=timezone(timedelta(hours=8)))
    assert format_time(moment) == "2026-01-02T03:04:05.678Z"
    assert format_time(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"


@pytest.mark.parametrize("case", TEXTS, ids=lambda case: f"{case['kind']}: {case['note']}")
def test_a_text_in_a_request_shows_something_and_is_not_too_long(case: dict[str, Any]) -> None:
    kind = {"content": NewContent, "title": NewTitle, "userId": NewUserId}[case["kind"]]
    assert accepts(kind, case["text"] * case["times"]) is case["legal"]


@pytest.mark.parametrize("kind", [NewContent, NewTitle, NewUserId])
def test_the_schema_states_the_rule_that_is_enforced(kind: Any) -> None:
    schema = TypeAdapter(kind).json_schema()
    stated = Annotated[str, StringConstraints(max_length=schema["maxLength"], pattern=schema["pattern"])]
    for case in TEXTS:
        text = case["text"] * case["times"]
        assert accepts(stated, text) is accepts(kind, text), ascii(case["text"])


def test_the_error_of_a_blank_text_says_what_is_missing() -> None:
    with pytest.raises(ValidationError, match="must contain a visible character"):
        TypeAdapter(NewContent).validate_python("\u200b")


@pytest.mark.parametrize(
    ("text", "legal"),
    [
        ("👍", True),
        ("👍🏽", True),
        ("❤️", True),
        ("👩\u200d💻", True),
        ("🇹🇼", True),
        ("🏴\U000e0067\U000e0062\U000e007f", True),
        ("1️⃣", True),
        ("#⃣", True),
        ("\u200d", False),
        ("\ufe0f", False),
        ("\u20e3", False),
        ("\U000e0067", False),
        ("\u200d👍", False),
        ("1", False),
        ("1👍", False),
        ("a", False),
        ("", False),
    ],
)
def test_an_emoji_shows_something(text: str, legal: bool) -> None:
    try:
        TypeAdapter(Emoji).validate_python(text)
    except ValidationError:
        assert not legal
    else:
        assert legal
