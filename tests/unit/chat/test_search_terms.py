from __future__ import annotations

import pytest

from roomcast.chat.search_terms import (
    MAX_INDEXED_CHARS,
    MAX_TERMS,
    MAX_WORD_CHARS,
    find_snippet,
    index_terms,
    parse_query,
)


def test_words_are_terms_and_so_are_characters_and_pairs_of_scripts_without_spaces() -> None:
    assert index_terms("Hello hello 你好嗎 a_b") == ["hello", "a", "b", "你", "好", "嗎", "你好", "好嗎"]


def test_case_width_and_accents_make_no_difference_but_voiced_kana_do() -> None:
    assert index_terms("CAFÉ \uff21\uff22 Straße") == ["cafe", "ab", "strasse"]
    assert index_terms("が") == ["が"]
    assert index_terms("한") == ["한"]


def test_the_terms_of_the_longest_text_fit_in_a_tsvector() -> None:
    text = "".join(chr(0x4E00 + number % 20_000) + chr(0x4E00 + number * 7 % 20_000) for number in range(40_000))
    terms = index_terms(text)
    assert len(terms) <= 2 * MAX_INDEXED_CHARS
    assert sum(len(term.encode()) + 4 for term in terms) < 1_048_575
    assert index_terms("x" * 1_000) == ["x" * MAX_WORD_CHARS]


def test_a_query_has_a_limited_number_of_terms_and_its_last_word_is_a_prefix() -> None:
    query = parse_query("the qui")
    assert (query.terms, query.prefix, query.runs) == (("the",), "qui", ("the", "qui"))
    assert parse_query("qui ").prefix == ""
    assert parse_query("q").terms == ("q",)
    assert len(parse_query("字" + "".join(map(chr, range(0x4E00, 0x4E00 + 100)))).terms) == MAX_TERMS
    assert parse_query("? !").runs == ()


@pytest.mark.parametrize(
    ("text", "query", "marked"),
    [
        ("quick quickly", "quick x", None),
        ("quick quickly", "quick", ["quick", "quick"]),
        ("quickly", "quick ", None),
        ("Straße", "strasse", ["Straße"]),
        ("你好\uff0c好世界", "你好世界", None),
        ("😀你好", "好", ["好"]),
        ("aaaa", "a", None),
        ("ไปกินข้าว", "กิน", ["กิน"]),
    ],
)
def test_what_matches_is_marked(text: str, query: str, marked: list[str] | None) -> None:
    snippet = find_snippet(text, parse_query(query))
    assert (snippet is None) == (marked is None)
    if snippet is not None:
        units = snippet.text.encode("utf-16-le")
        assert [units[2 * start : 2 * end].decode("utf-16-le") for start, end in snippet.matches] == marked
