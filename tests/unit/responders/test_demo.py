from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from roomcast.chat.answers.answer import Answer
from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import AnswerItem, CutOff, Prompt, Reference, Responder, Usage
from roomcast.contract.text import MAX_CONTENT_CHARS
from roomcast.responders.demo import DemoResponder
from support.virtual_time import run_in_virtual_time


def message(content: str) -> StoredMessage:
    return StoredMessage("m1", "lobby", "epoch-a", 3, "USER", content, "ann", None, datetime(2026, 1, 1, tzinfo=UTC))


async def items(content: str, history: int = 0) -> list[AnswerItem]:
    responder: Responder = DemoResponder(words_per_s=1e9)
    prompt = Prompt(message=message(content), history=tuple(message("before") for _ in range(history)))
    return [item async for item in responder.respond(prompt)]


async def answer(content: str, history: int = 0) -> str:
    return "".join(item for item in await items(content, history) if isinstance(item, str))


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


@pytest.mark.parametrize("content", ["How are you?", "您好嗎。今天天氣很好。", "/long"])
async def test_it_yields_one_word_at_a_time(content: str) -> None:
    pieces = [item for item in await items(content) if isinstance(item, str)]
    assert len(pieces) > 10
    assert all(len(piece.split()) <= 1 for piece in pieces)


def test_the_pace_does_not_depend_on_the_work_between_two_words() -> None:
    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        responder = DemoResponder(words_per_s=50)
        began, count = loop.time(), 0
        async for _ in responder.respond(Prompt(message=message("/long 500"))):
            count += 1
            if count % 10 == 0:
                await asyncio.sleep(0.05)
        return (loop.time() - began) * 50 / count

    assert run_in_virtual_time(scenario()) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("content", ["/tool", "請用 /tool"])
async def test_a_message_can_ask_for_reasoning_and_a_tool(content: str) -> None:
    shown = Answer()
    for item in await items(content):
        assert not isinstance(item, Reference | Usage | CutOff)
        shown.add(item)
    assert [part["type"] for part in shown.parts()] == ["reasoning", "dynamic-tool", "text"]
    assert shown.parts()[1]["output"]["words"] == len(content.split())


async def test_a_message_can_ask_for_a_long_answer_with_markdown() -> None:
    assert "```python" in await answer("/long")
    assert "```python" in await answer("長一點 /long")
    assert len((await answer("/long 1000")).split()) > 900
    assert len(await answer("/long 99999")) <= MAX_CONTENT_CHARS
