"""The terms of a text that a search finds, and the places of those terms in a text.

Scripts that are written without spaces, and Hangul, are split into single characters and pairs of neighbours, so that a
query of one or two characters finds them by index. Other scripts are split into words. Case, width and accents are
ignored.

Layer: chat. Source: Unicode Standard Annex 15 (normalization forms).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from operator import add
from typing import Final, NamedTuple

#: Longer words are cut.
MAX_WORD_CHARS: Final = 64
#: Terms of one query that the index is asked for.
MAX_TERMS: Final = 16
#: The rest of a text is not indexed. The terms of so many ideographs take 3/4 of PostgreSQL's limit of 1 MiB.
MAX_INDEXED_CHARS: Final = 32_768
#: Characters of a snippet, and those before its first match.
_SNIPPET_CHARS: Final = 160
_BEFORE_MATCH: Final = 40
# A shorter word is not taken for the beginning of a longer one, which many texts would have.
_MIN_PREFIX: Final = 2

# Thai and Lao, Myanmar, Khmer, Hangul, kana, ideographs.
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3100-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_LETTER: Final = f"[^\\W_{_UNSPACED}]"
_WORD: Final = re.compile(f"{_LETTER}+")
_UNSPACED_RUN: Final = re.compile(f"[{_UNSPACED}]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]")


@dataclass(frozen=True, slots=True)
class Query:
    """What a search looks for: every term must be in a text.

    Attributes:
        terms: Indexed terms, at most `MAX_TERMS`.
        prefix: The beginning of a term, of which the text has any; empty: there is none.
        runs: The words, and the runs of characters without spaces, as they are in the text after `fold`.
    """

    terms: tuple[str, ...]
    prefix: str
    runs: tuple[str, ...]


class Snippet(NamedTuple):
    """A part of a text, and its matches: ranges in UTF-16 code units, as JavaScript counts, that do not overlap."""

    text: str
    matches: Sequence[tuple[int, int]]


def fold(text: str) -> str:
    """The text without differences of case, width and accents."""
    if text.isascii():
        return text.lower()
    bare = _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return unicodedata.normalize("NFC", bare).casefold()


def index_terms(text: str) -> list[str]:
    """The different terms of the first `MAX_INDEXED_CHARS` of a text."""
    folded = fold(text[:MAX_INDEXED_CHARS])
    terms = dict.fromkeys(word[:MAX_WORD_CHARS] for word in _WORD.findall(folded))
    for run in () if folded.isascii() else _UNSPACED_RUN.findall(folded):
        terms.update(dict.fromkeys(run))
        terms.update(dict.fromkeys(map(add, run, run[1:])))
    return list(terms)


def parse_query(text: str) -> Query:
    """The query that a user has typed; it has no terms if the text has neither a letter nor a digit.

    The last word, which may be unfinished, also matches longer words.
    """
    folded = fold(text)
    words = [word[:MAX_WORD_CHARS] for word in _WORD.findall(folded)]
    runs = _UNSPACED_RUN.findall(folded)
    prefix = ""
    if words and folded.endswith(words[-1]) and len(words[-1]) >= _MIN_PREFIX:
        prefix = words.pop()
    pairs = [pair for run in runs for pair in (map(add, run, run[1:]) if len(run) > 1 else run)]
    terms = tuple(dict.fromkeys((*words, *pairs)))[:MAX_TERMS]
    return Query(terms, prefix, tuple(dict.fromkeys((*words, *([prefix] if prefix else ()), *runs))))


def find_snippet(text: str, query: Query) -> Snippet | None:
    """The first part of a text that has matches; None if the text does not match the query.

    An index of pairs also finds texts in which the pairs are apart from each other; those do not match.
    """
    folded, origin = _fold_with_origin(text)
    spans: list[tuple[int, int]] = []
    if not query.runs:
        return None
    for run in query.runs:
        found = [(match.start(), match.end()) for match in _occurrences(run, query.prefix).finditer(folded)]
        if not found:
            return None
        spans += found
    spans = _merged(sorted(spans))
    ranges = [(origin[start], origin[end - 1] + 1) for start, end in spans]
    begin = _start_of_word(text, max(0, ranges[0][0] - _BEFORE_MATCH), ranges[0][0])
    end = min(len(text), begin + _SNIPPET_CHARS)
    shown = [(max(start, begin), min(stop, end)) for start, stop in ranges if start < end]
    units = _utf16_offsets(text[begin:end])
    return Snippet(text[begin:end], [(units[start - begin], units[stop - begin]) for start, stop in shown])


def _occurrences(run: str, prefix: str) -> re.Pattern[str]:
    if _UNSPACED_RUN.fullmatch(run):
        return re.compile(re.escape(run))
    # A cut word matches the beginning of the whole one.
    after = "" if run == prefix or len(run) == MAX_WORD_CHARS else f"(?!{_LETTER})"
    return re.compile(f"(?<!{_LETTER}){re.escape(run)}{after}")


def _fold_with_origin(text: str) -> tuple[str, Sequence[int]]:
    """The folded text, and for each of its characters the index of its origin in the text."""
    if text.isascii():
        return text.lower(), range(len(text))
    characters: list[str] = []
    origin: list[int] = []
    for index, character in enumerate(text):
        folded = fold(character)
        characters.append(folded)
        origin += [index] * len(folded)
    return "".join(characters), origin


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _start_of_word(text: str, earliest: int, match: int) -> int:
    """Where a snippet begins: after the first space, if there is one before the match."""
    space = text.find(" ", earliest, match)
    return earliest if earliest == 0 or space < 0 else space + 1


def _utf16_offsets(text: str) -> list[int]:
    offsets = [0]
    for character in text:
        offsets.append(offsets[-1] + (2 if character > "\uffff" else 1))
    return offsets
