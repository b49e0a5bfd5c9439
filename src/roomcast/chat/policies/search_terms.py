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
from functools import lru_cache
from operator import add
from typing import Final, NamedTuple

#: Longer words are cut.
MAX_WORD_CHARS: Final = 64
#: Terms of one query that the index is asked for.
MAX_TERMS: Final = 16
#: The rest of a text, after `fold`, is not indexed: one character may become 18. The terms of so many ideographs take
#: 3/4 of PostgreSQL's limit of 1 MiB.
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
# For texts of ASCII alone, in a third of the time.
_ASCII_WORDS: Final = "".join(char if char.isalnum() else " " for char in map(chr, range(128)))
_UNSPACED_RUN: Final = re.compile(f"[{_UNSPACED}]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
# Characters that no character before them combines with: ASCII, kana, ideographs, syllables of Hangul.
_FIRST: Final = " -~\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff\uac00-\ud7a3"
_BOUNDARY: Final = re.compile(f"[{_FIRST}]")
_CLUSTER: Final = re.compile(f".[^{_FIRST}]*", re.DOTALL)
# A snippet needs the places of the characters of two blocks at most.
_BLOCK_CHARS: Final = 512


@dataclass(frozen=True, slots=True)
class Query:
    """What a search looks for: every term must be in a text.

    Attributes:
        terms: Indexed terms, at most `MAX_TERMS`.
        prefix: The beginning of a term, of which the text has any; empty: there is none.
        runs: The words, and the runs of characters without spaces, as they are in the text after `fold`; at most
            `MAX_TERMS`.
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


_fold_character = lru_cache(4_096)(fold)


def index_terms(text: str) -> list[str]:
    """The different terms of a text, up to `MAX_INDEXED_CHARS`."""
    if text.isascii():
        words = text[:MAX_INDEXED_CHARS].lower().translate(_ASCII_WORDS).split()
        return list(dict.fromkeys(words if len(text) <= MAX_WORD_CHARS else [word[:MAX_WORD_CHARS] for word in words]))
    folded = "".join(_fold_blocks(text)[1])
    terms = dict.fromkeys(word[:MAX_WORD_CHARS] for word in _WORD.findall(folded))
    for run in _UNSPACED_RUN.findall(folded):
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
    return Query(terms, prefix, tuple(dict.fromkeys((*words, *([prefix] if prefix else ()), *runs)))[:MAX_TERMS])


def find_snippet(text: str, query: Query) -> Snippet | None:
    """The first part of a text that has matches; None if the text does not match the query.

    An index of pairs also finds texts in which the pairs are apart from each other; those do not match.
    """
    blocks, folded_blocks = _fold_blocks(text)
    folded = "".join(folded_blocks)
    patterns = [_occurrences(run, query.prefix) for run in query.runs]
    first = len(folded)
    for pattern in patterns:
        found = pattern.search(folded)
        if found is None:
            return None
        first = min(first, found.start())
    if not patterns:
        return None
    # The matches of the snippet are in the block of the first one and those after it, from `base` in `folded`.
    number, base = 0, 0
    while base + len(folded_blocks[number]) <= first:
        base += len(folded_blocks[number])
        number += 1
    origin: list[tuple[int, int]] = []
    begin = sum(map(len, blocks[:number]))
    for block in blocks[number : number + 2]:
        origin += [(begin + start, begin + end) for start, end in _origins(block)]
        begin += len(block)
    spans = _merged(
        sorted(
            match.span()
            for pattern in patterns
            for match in pattern.finditer(folded, first, first + 2 * _SNIPPET_CHARS)
            if match.end() - base <= len(origin)
        )
    )
    ranges = [(origin[start - base][0], origin[end - base - 1][1]) for start, end in spans]
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


def _fold_blocks(text: str) -> tuple[list[str], list[str]]:
    """The beginning of a text in pieces that can be folded each on its own, and these pieces after `fold`."""
    blocks: list[str] = []
    folded: list[str] = []
    begin = length = 0
    while begin < len(text) and length < MAX_INDEXED_CHARS:
        found = _BOUNDARY.search(text, begin + _BLOCK_CHARS, begin + 2 * _BLOCK_CHARS)
        end = min(len(text), begin + 2 * _BLOCK_CHARS) if found is None else found.start()
        blocks.append(text[begin:end])
        folded.append(fold(blocks[-1]))
        length += len(folded[-1])
        begin = end
    return blocks, folded


def _origins(text: str) -> list[tuple[int, int]]:
    """For each character of the folded text, the range of the text that it comes from."""
    origins: list[tuple[int, int]] = []
    for cluster in _CLUSTER.finditer(text):
        begin, end = cluster.span()
        parts = [_fold_character(character) for character in cluster[0]]
        whole = parts[0] if end - begin == 1 else fold(cluster[0])
        if "".join(parts) == whole:
            origins += [(begin + index, begin + index + 1) for index, part in enumerate(parts) for _ in part]
        else:
            origins += [(begin, end)] * len(whole)
    return origins


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
