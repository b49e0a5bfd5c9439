"""Random faults within an answer: what is stored is what the responder said, or its beginning with a reason."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.model import ANYONE
from roomcast.chat.ports import AnswerItem, LogNotStored, LogUnavailable, Prompt, Reference, ResponderFailure
from roomcast.chat.use_cases.turns import Turns
from support.backend import Backend, open_backend
from support.scripted import ScriptedStreams
from support.worker import ask, ended, outcome, running_worker

#: Texts whose boundaries are easy to break.
PIECES = ("a", "word ", "界", "\U0001f468‍\U0001f469", "e\u0301", "\ud83d", "\ude00", "```\n", "\n\n", "x" * 700, "\0")


@dataclass
class Provider:
    """Keeps its answer, so that it can be resumed; the clients of it are the responders of all workers."""

    chance: random.Random
    resumable: bool
    pieces: list[str] = field(default_factory=list)
    fails_at: int | None = None

    name = "demo"

    @property
    def said(self) -> str:
        text = "".join(self.pieces).replace("\0", "")
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")

    def respond(self, _prompt: Prompt) -> AsyncIterator[AnswerItem]:
        return self._say(0)

    async def _say(self, first: int) -> AsyncIterator[AnswerItem]:
        for number in range(first, len(self.pieces)):
            if number == self.fails_at:
                raise ResponderFailure("cut", retryable=True)
            yield self.pieces[number]
            # Not within a surrogate pair, of which a new worker would lack the first half.
            if self.resumable and not self.pieces[number].endswith("\ud83d"):
                yield Reference(str(number + 1))
            await asyncio.sleep(self.chance.choice((0, 0, 0.001, 0.01)))


class ResumableProvider(Provider):
    def resume(self, _prompt: Prompt, ref: str) -> AsyncIterator[AnswerItem]:
        return self._say(int(ref))

    async def cancel(self, ref: str) -> None:
        assert int(ref) <= len(self.pieces)


def provider(chance: random.Random) -> Provider:
    resumable = chance.random() < 0.5
    made = (ResumableProvider if resumable else Provider)(chance, resumable)
    made.pieces = ["first ", *chance.choices(PIECES, k=chance.randrange(5, 60))]
    if chance.random() < 0.2:
        made.fails_at = chance.randrange(0, len(made.pieces))
    return made


async def disturb(chance: random.Random, streams: ScriptedStreams) -> None:
    """Take the engine of the streams away and bring it back, and lose its data, at random times."""
    while True:
        await asyncio.sleep(chance.uniform(0, 0.03))
        match chance.randrange(5):
            case 0:
                streams.failure, streams.late = LogUnavailable("away"), chance.random() < 0.5
            case 1:
                streams.failure = LogNotStored("OOM")
            case 2:
                streams.lose()
            case _:
                streams.failure = None


async def run_one(backend: Backend, chance: random.Random) -> dict[str, Any]:
    chat_id = f"c{chance.randrange(10**9)}"
    said, streams = provider(chance), ScriptedStreams()
    disturbing = asyncio.create_task(disturb(chance, streams))
    turn_id, stopped = "", False
    deaths = chance.randrange(4)
    for number in range(deaths):
        async with running_worker(backend, said, streams=streams, later_s=60 * number, dies=chance.random() < 0.7):
            turn_id = turn_id or await ask(backend, chat_id=chat_id)
            await asyncio.sleep(chance.uniform(0, 0.1))
            if chance.random() < 0.1:
                await Turns(backend.store.turns, backend.relay, backend.log).stop(ANYONE, chat_id, turn_id)
                stopped = True
    async with running_worker(backend, said, streams=streams, later_s=60 * deaths):
        turn_id = turn_id or await ask(backend, chat_id=chat_id)
        message = await ended(backend, turn_id, chat_id)
        disturbing.cancel()
    types = [event.type for event in await backend.store.chats.recent_events(chat_id, 50)]
    # The question, the start and the end.
    assert types[:2] == ["message-created", "turn-changed"]
    assert len(types) == 3
    return {"message": message, "said": said, "stopped": stopped, "deaths": deaths}


@pytest.mark.parametrize("seed", range(20))
async def test_an_answer_is_whole_or_a_beginning_with_a_reason(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with open_backend(tmp_path, responder="demo") as backend:
        run = await run_one(backend, chance)
    message, said = run["message"], run["said"]
    status, reason = outcome(message)
    assert said.said.startswith(message.content)
    assert (reason is None) == (status == "complete")
    if status == "complete":
        assert message.content == said.said
    if status == "stopped":
        assert run["stopped"]
    if reason == "worker-lost":
        assert run["deaths"]
    if status == "failed":
        assert message.content == ""
