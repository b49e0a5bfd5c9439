"""A team's own function as a responder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roomcast.chat.model import StoredMessage
from roomcast.chat.ports import Prompt, ResponderFailure, ResumableResponder
from roomcast.responders.function import NotAResponder, load_responder
from support.backend import START

PROMPT = Prompt(message=StoredMessage("m", "c", "e", 1, "USER", "hello", "ann", None, START))
MODULE = """
from roomcast.responders import Prompt

closed = []

async def streams(prompt: Prompt):
    try:
        yield "you said "
        yield prompt.message.content
    finally:
        closed.append(True)

async def returns(prompt):
    return prompt.message.content.upper()

def blocks(prompt):
    return "plain"

def steps(prompt):
    yield "one "
    yield "two"

def wrong(prompt):
    return 5

def nothing():
    return ""

class Team:
    name = "its own name"
    async def respond(self, prompt):
        yield "team"

class Resumable(Team):
    def resume(self, prompt, ref):
        return self.respond(prompt)
    async def cancel(self, ref):
        pass

team = Team()
resumable = Resumable()
number = 5
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"team_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / f"{name}_broken.py").write_text("import no_such_package\n")
    (tmp_path / f"{name}_fails.py").write_text("1 / 0\n")
    monkeypatch.chdir(tmp_path)
    return name


@pytest.mark.parametrize(
    ("attribute", "answer"),
    [("streams", "you said hello"), ("returns", "HELLO"), ("blocks", "plain"), ("steps", "one two")],
)
async def test_a_responder_is_loaded_by_its_name(module: str, attribute: str, answer: str) -> None:
    responder = load_responder(f"{module}:{attribute}")
    assert responder.name == f"{module}:{attribute}"
    assert not isinstance(responder, ResumableResponder)
    assert "".join([str(item) async for item in responder.respond(PROMPT)]) == answer


async def test_a_closed_iterator_ends_the_function(module: str) -> None:
    items: AsyncIterator[object] = load_responder(f"{module}:streams").respond(PROMPT)
    assert await anext(items) == "you said "
    await items.aclose()  # type: ignore[attr-defined]  # every async generator has it
    import importlib

    assert importlib.import_module(module).closed == [True]


async def test_a_function_that_returns_no_text_fails(module: str) -> None:
    with pytest.raises(ResponderFailure, match="returned int: return the text"):
        await anext(load_responder(f"{module}:wrong").respond(PROMPT))


async def test_an_object_with_respond_is_the_responder_itself(module: str) -> None:
    responder = load_responder(f"{module}:team")
    assert [item async for item in responder.respond(PROMPT)] == ["team"]


def test_a_resumable_object_remains_resumable(module: str) -> None:
    assert isinstance(load_responder(f"{module}:resumable"), ResumableResponder)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("no_such_module_anywhere:answer", "there is no module 'no_such_module_anywhere'"),
        ("{module}:missing", "has no 'missing'"),
        ("{module}:number", "must be a function with one parameter"),
        ("{module}:nothing", "must be a function with one parameter"),
        ("{module}:Team", "must be a function with one parameter"),
        ("{module}_broken:answer", "imports 'no_such_package', which is not installed"),
        ("{module}_fails:answer", "failed: ZeroDivisionError"),
    ],
)
def test_a_name_that_leads_to_no_responder_says_why(module: str, name: str, problem: str) -> None:
    with pytest.raises(NotAResponder, match=problem):
        load_responder(name.replace("{module}", module))
