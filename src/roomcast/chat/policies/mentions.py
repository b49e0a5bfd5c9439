"""What a message mentions: the AI, and users by their ids.

Layer: chat.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Final

from roomcast.contract.text import MAX_ID_CHARS

#: The number of ``@`` signs of a text, and of the ids after each, that are considered.
MAX_SIGNS: Final = 20
MAX_IDS: Final = 16
_BACKTICKS: Final = re.compile("`+")
_SIGN: Final = re.compile(r"[@\uff20](?=[^\s@])")


def mentions(content: str, responder: str | None) -> bool:
    """Whether a text has ``@ai`` or ``@<name>`` as a word, in any case, outside of e-mail addresses and code spans.

    Letters of scripts without upper case, such as Chinese, may touch a mention, since they are written without spaces.

    Args:
        content: Markdown.
        responder: Name of the chat's responder; of ``module:function``, the function is its name.
    """
    name = re.escape((responder or "ai").rpartition(":")[2])
    text = _without_code_spans(content)
    # U+FF20 is the sign of Chinese and Japanese input methods.
    matches = re.finditer(rf"[@\uff20](?:{name}|ai)", text, re.IGNORECASE | re.ASCII)
    return any(_stands_alone(text, *match.span()) for match in matches)


def mentioned(content: str) -> list[list[str]]:
    """The texts after each ``@`` that may be the id of a user, the longest first; the first that is one is mentioned.

    An id is compared as it is, with its case and its spaces. The rules for code spans, and for what may touch a
    mention, are those of `mentions`.

    Args:
        content: Markdown.
    """
    if "@" not in content and "\uff20" not in content:
        return []
    text = _without_code_spans(content)
    found = []
    for sign in islice(_SIGN.finditer(text), MAX_SIGNS):
        start = sign.end()
        ends = (
            end
            for end in range(start + 1, min(start + MAX_ID_CHARS, len(text)) + 1)
            if not text[end - 1].isspace() and _stands_alone(text, sign.start(), end)
        )
        if ids := [text[start:end] for end in islice(ends, MAX_IDS)]:
            found.append(ids[::-1])
    return found


def _stands_alone(text: str, start: int, end: int) -> bool:
    before, after, next_after = text[:start][-1:], text[end : end + 1], text[end + 1 : end + 2]
    if _is_word(before) or _is_word(after) or before in {"/", "@"} or after in {"/", "@"}:
        return False
    # "@ai." ends a sentence; "@ai.example" and "@ai-tools" are other names.
    return not (after in {".", "-"} and _is_word(next_after))


def _is_word(character: str) -> bool:
    return character == "_" or character.isdigit() or character.lower() != character.upper()


def _without_code_spans(content: str) -> str:
    """The text without each stretch between two runs of the same number of backticks, as in CommonMark."""
    runs = [match.span() for match in _BACKTICKS.finditer(content)]
    # For each run, the next one of the same length; in linear time, whatever the lengths.
    closing: dict[int, int] = {}
    seen: dict[int, int] = {}
    for index, (start, end) in reversed(list(enumerate(runs))):
        if end - start in seen:
            closing[index] = seen[end - start]
        seen[end - start] = index
    kept, position, index = [], 0, 0
    while index < len(runs):
        if index in closing:
            kept.append(content[position : runs[index][1]])
            index = closing[index]
            position = runs[index][0]
        index += 1
    return "".join([*kept, content[position:]])
