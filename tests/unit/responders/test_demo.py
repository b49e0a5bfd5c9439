from __future__ import annotations

from datetime import UTC, datetime

import pytest

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import Prompt, Responder
from roomcast.responders.demo import DemoResponder


def message(content: str) -> StoredMessage:
    return StoredMessage("m1", "lobby", "epoch-a", 3, "USER", content, "ann", None, datetime(2026, 1, 1, tzinfo=UTC))


async def answer(content: str, history: int = 0) -> str:
    responder: Responder = DemoResponder()
    prompt = Prompt(message=message(content), history=tuple(message("before") for _ in range(history)))
    pieces = [piece async for piece in responder.respond(prompt)]
    assert all(pieces)
    return "".join(pieces)


async def test_it_says_that_it_is_a_demo_and_quotes_the_message() -> None:
    text = await answer("How are you?", history=1)
    assert "demo" in text
    assert "“How are you?” (3 words; I read 1 earlier message)" in text


@pytest.mark.parametrize("content", ["你好", "hello 世界", "𠀀"])
async def test_it_answers_chinese_in_chinese(content: str) -> None:
    text = await answer(content)
    assert "示範" in text
    assert content in text


async def test_a_long_message_is_quoted_in_part() -> None:
    text = await answer("word " * 5_000)
    assert len(text) < 300
    assert "…" in text
