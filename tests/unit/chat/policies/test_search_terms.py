from __future__ import annotations

import unicodedata
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.policies import search_terms
from roomcast.chat.policies.search_terms import (
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


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("ﾊﾟｿｺﾝ", "パソコン"),
        (unicodedata.normalize("NFD", "한국어 서울"), "서울"),
        (unicodedata.normalize("NFD", "がくせい"), "がくせい"),
        ("한국어 서울", unicodedata.normalize("NFD", "서울")),
    ],
)
def test_composed_and_decomposed_forms_find_each_other(text: str, query: str) -> None:
    parsed = parse_query(query)
    assert set(parsed.terms) <= set(index_terms(text))
    assert find_snippet(text, parsed) is not None


@given(st.text("aé\u0301\u0308ｶﾞﾟかが\u3099今天서울\u1100\u1161\u11a8ßΣ ﬁ\u09c7\u09beabc.", max_size=3_000))
def test_each_folded_character_has_its_place_in_the_text(text: str) -> None:
    blocks, folded = search_terms._fold_blocks(text)
    assert "".join(blocks) == text
    for block, part in zip(blocks, folded, strict=True):
        assert len(search_terms._origins(block)) == len(part)


def test_the_work_for_one_text_is_bounded() -> None:
    ligatures = "\ufdfa" * 32_768
    folded = "".join(search_terms._fold_blocks(ligatures)[1])
    assert MAX_INDEXED_CHARS <= len(folded) < MAX_INDEXED_CHARS + 18 * 2 * search_terms._BLOCK_CHARS
    query = parse_query(" ".join(f"{first}{second}" for first in "abcdefg" for second in "abcdefghi"))
    assert len(query.runs) == MAX_TERMS
    # The matches after the snippet are not looked for.
    with patch.object(search_terms, "_origins", wraps=search_terms._origins) as origins:
        snippet = find_snippet("ab " * 10_000, parse_query("ab"))
    assert snippet is not None
    assert sum(len(call.args[0]) for call in origins.call_args_list) <= 4 * search_terms._BLOCK_CHARS
