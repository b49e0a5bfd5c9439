"""Whether a message mentions the AI.

Layer: chat.
"""

from __future__ import annotations

import re
from typing import Final

_BACKTICKS: Final = re.compile("`+")


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
