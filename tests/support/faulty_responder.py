"""A responder of a real process that does as the question says: ``support.faulty_responder:answer``.

``fail`` raises, ``wait PATH`` ends when the file exists; other questions are answered at once, with their cost.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from roomcast.chat.ports import Prompt, Usage
from support.waiting import until


async def answer(prompt: Prompt) -> AsyncIterator[str | Usage]:
    """Answer a question."""
    word, _, path = prompt.message.content.partition(" ")
    if word == "fail":
        raise RuntimeError("planted")
    yield "one "
    if word == "wait":
        await until(Path(path).exists, limit_s=60, step_s=0.05)
    yield "two"
    yield Usage(3, 4)
