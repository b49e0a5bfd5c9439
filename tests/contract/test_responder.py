"""The contract of `chat.ports.Responder`, over every implementation."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import Prompt, Responder
from roomcast.contract.text import Content
from roomcast.responders.demo import DemoResponder
from support.backend import START


@pytest.fixture(params=[DemoResponder])
def responder(request: pytest.FixtureRequest) -> Responder:
    """Every responder."""
    made: Responder = request.param()
    return made


def prompt(content: str, history: int = 0) -> Prompt:
    earlier = tuple(
        StoredMessage(f"m{n}", "c", "e", n, "USER", str(n), None, None, START) for n in range(1, history + 1)
    )
    return Prompt(StoredMessage("m", "c", "e", history + 1, "USER", content, "ann", None, START), earlier)


@pytest.mark.parametrize(
    "content", ["hello", "你好", " ", "\n", "x" * 32_768, "界" * 32_768, "\u202e\x1b[31m", "```\n<b>"]
)
async def test_an_answer_is_pieces_of_text_that_make_a_message(responder: Responder, content: str) -> None:
    pieces = [piece async for piece in responder.respond(prompt(content))]
    assert pieces
    assert all(pieces)
    TypeAdapter(Content).validate_python("".join(pieces))


async def test_asked_again_after_a_crash_it_answers_again(responder: Responder) -> None:
    for _ in range(2):
        assert [piece async for piece in responder.respond(prompt("hello", history=3))]


async def test_it_can_be_stopped_between_two_pieces(responder: Responder) -> None:
    answer = responder.respond(prompt("hello"))
    assert await anext(answer)
    await answer.aclose()  # type: ignore[attr-defined] # every async generator has it


def test_it_has_a_name_that_a_chat_can_keep(responder: Responder) -> None:
    assert 1 <= len(responder.name) <= 64
