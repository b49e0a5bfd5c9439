"""The contract of `chat.ports.Responder`, over every implementation."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import Prompt, Responder
from roomcast.contract.text import Content
from roomcast.responders.demo import DemoResponder
from support.backend import START


@pytest.fixture(params=[lambda: DemoResponder(words_per_s=1e9)], ids=["demo"])
def responder(request: pytest.FixtureRequest) -> Responder:
    """Every responder."""
    made: Responder = request.param()
    return made


def prompt(content: str, history: int = 0) -> Prompt:
    earlier = tuple(
        StoredMessage(f"m{n}", "c", "e", n, "USER", str(n), None, None, START) for n in range(1, history + 1)
    )
    return Prompt(
        message=StoredMessage("m", "c", "e", history + 1, "USER", content, "ann", None, START), history=earlier
    )


@pytest.mark.parametrize(
    "content", ["hello", "你好", " ", "\n", "x" * 32_768, "界" * 32_768, "\u202e\x1b[31m", "```\n<b>"]
)
async def test_the_pieces_of_an_answer_are_valid_content(responder: Responder, content: str) -> None:
    pieces = [piece async for piece in responder.respond(prompt(content)) if isinstance(piece, str)]
    assert pieces
    assert all(pieces)
    TypeAdapter(Content).validate_python("".join(pieces))


async def test_it_answers_the_same_prompt_again_after_a_crash(responder: Responder) -> None:
    for _ in range(2):
        assert [piece async for piece in responder.respond(prompt("hello", history=3))]


async def test_it_can_be_cancelled_between_two_pieces(responder: Responder) -> None:
    answer = responder.respond(prompt("hello"))
    assert await anext(answer)
    await answer.aclose()  # type: ignore[attr-defined] # every async generator has it


def test_its_name_is_short_enough_to_be_stored(responder: Responder) -> None:
    assert 1 <= len(responder.name) <= 64
