"""A responder of a real process whose answers last as long as a test needs: ``support.paced_responder:answer``.

The question is ``pieces=<n> pause=<seconds> seed=<n> until=<path>``; what is left out has its default. The last item
comes when the file exists.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from roomcast.chat.ports import Prompt
from support.waiting import until

#: Texts whose boundaries are easy to get wrong; the halves of a surrogate pair follow each other.
PIECES: Final = (
    ("word ",), ("\ud83d", "\ude00"), ("👩", "\u200d👩\u200d👧"), ("e", "\u0301"), ("```py\n", "x = '…'\n```\n\n"),
    ("漢字",), ("\u2028",), ("| a | b |\n|---|---|\n",), ("<script>alert(1)</script>",), ("0" * 300,),
)  # fmt: skip


def parse(question: str) -> dict[str, float]:
    """The options of a question that are numbers."""
    given = (item.partition("=") for item in question.split())
    return {"pieces": 50, "pause": 0.02, "seed": 0} | {
        name: float(value) for name, _, value in given if name != "until"
    }


def script(question: str) -> list[str | dict[str, Any]]:
    """The items of the answer: the pieces of two texts with reasoning before them and a tool between them."""
    options = parse(question)
    chance = random.Random(options["seed"])
    texts = [piece for _ in range(int(options["pieces"])) for piece in chance.choice(PIECES)]
    middle = len(texts) // 2
    call = {"toolCallId": "t", "toolName": "look", "dynamic": True}
    return [
        {"type": "reasoning-delta", "id": "r", "delta": "Hm. "},
        {"type": "reasoning-delta", "id": "r", "delta": "🤔"},
        {"type": "reasoning-end", "id": "r"},
        *texts[:middle],
        {"type": "tool-input-available", **call, "input": {"q": "漢"}},
        {"type": "tool-output-available", "toolCallId": "t", "output": {"found": 1}},
        *texts[middle:],
    ]


async def answer(prompt: Prompt) -> AsyncIterator[str | dict[str, Any]]:
    """Yield the script with a pause after each item."""
    pause_s = parse(prompt.message.content)["pause"]
    *items, last = script(prompt.message.content)
    for item in items:
        yield item
        await asyncio.sleep(pause_s)
    path = Path(prompt.message.content.partition("until=")[2] or "/")
    await until(path.exists, limit_s=60)
    yield last
