"""Which texts after an ``@`` may be ids."""

from __future__ import annotations

import pytest

from roomcast.chat.policies.mentions import MAX_IDS, MAX_SIGNS, mentioned


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("no sign", []),
        ("@ann", [["ann"]]),
        ("hi @ann, all", [["ann, all", "ann,", "ann"]]),
        ("@bob smith", [["bob smith", "bob"]]),
        ("@bob-smith", [["bob-smith"]]),
        ("@a@example.com", [["a@example.com"]]),
        ("mail@example.com", []),
        ("`@ann` and ``@bob``", []),
        ("\uff20小明", [["小明", "小"]]),
        ("請@小明", [["小明", "小"]]),
        ("@ ann @@", []),
    ],
)
def test_the_longest_text_is_first(content: str, found: list[list[str]]) -> None:
    assert mentioned(content) == found


def test_the_number_of_texts_is_bounded() -> None:
    found = mentioned("@" + "小" * 500 + " @a b c d e f g h i j k l m n o p q r s t u" * 100)
    assert len(found) == MAX_SIGNS
    assert max(map(len, found)) == MAX_IDS
