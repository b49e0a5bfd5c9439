"""Answers that pass the moderation hook before they are stored as final, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from roomcast.chat.model import ANYONE
from roomcast.chat.ports import LogUnavailable, Reference, Usage
from roomcast.chat.use_cases.moderation import AnswerReviews, Moderation, ModerationLimits, WhenAway
from roomcast.contract.events import EventType
from roomcast.contract.moderation import Review, Verdict
from support.backend import Backend, open_backend
from support.scripted import ResumableScript, ScriptedResponder, ScriptedStreams, Step
from support.waiting import until
from support.worker import answer, ask, ended, outcome, running_worker

REASONING = (
    {"type": "reasoning-start", "id": "r"},
    {"type": "reasoning-delta", "id": "r", "delta": "a secret thought"},
    {"type": "reasoning-end", "id": "r"},
)
CALL = {"toolCallId": "x", "toolName": "look_up"}


class Hook:
    """Refuses texts with ``bad``, masks those with ``damn``, and fails while ``away``; waits for ``go_on`` if set."""

    def __init__(self) -> None:
        self.asked: list[Review] = []
        self.away = False
        self.go_on: asyncio.Event | None = None

    async def review(self, review: Review) -> Verdict:
        """See the port."""
        self.asked.append(review)
        if self.go_on is not None:
            await self.go_on.wait()
        if self.away:
            raise OSError("refused")
        if "bad" in review.content:
            return Verdict(action="refuse", reason="no")
        if "damn" in review.content:
            return Verdict(action="mask", content=review.content.replace("damn", "****"))
        return Verdict(action="pass")


class Pause(asyncio.Event):
    """A step of a script that does not end; ``reached`` says that the worker has all items before it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()

    async def wait(self) -> Literal[True]:
        """Wait for ever."""
        self.reached.set()
        return await super().wait()


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with open_backend(tmp_path, responder="demo") as opened:
        yield opened


@pytest.fixture
def streams() -> ScriptedStreams:
    return ScriptedStreams()


@pytest.fixture
def hook() -> Hook:
    return Hook()


def moderation(hook: Hook, answers: AnswerReviews = "streamed", away: WhenAway = "refuse") -> Moderation:
    return Moderation(hook, ModerationLimits(away, deadline_s=5.0, answers=answers))


both = pytest.mark.parametrize("answers", ["streamed", "withheld"])


@both
async def test_the_hook_gets_the_whole_answer_and_what_passes_is_stored_unchanged(
    backend: Backend, streams: ScriptedStreams, hook: Hook, answers: AnswerReviews
) -> None:
    responder = ScriptedResponder(*REASONING, "one ", "two")
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook, answers)):
        message = await ended(backend, await ask(backend))
    assert (message.content, outcome(message)) == ("one two", ("complete", None))
    assert message.parts is not None
    assert [part["type"] for part in message.parts] == ["reasoning", "text"]
    assert [(asked.kind, asked.role, asked.user_id, asked.content) for asked in hook.asked] == [
        ("answer", "AI", None, "one two")
    ]
    assert [part["text"] for part in hook.asked[0].parts] == ["a secret thought"]
    assert streams.answer(message.id).content() == "one two"
    assert message.turn is not None
    assert message.turn.last == streams.frames(message.id)[-1].last


@both
async def test_a_masked_answer_is_the_masked_text_alone_in_the_database_and_in_the_stream(
    backend: Backend, streams: ScriptedStreams, hook: Hook, answers: AnswerReviews
) -> None:
    responder = ScriptedResponder(*REASONING, "damn it", Usage(3, 4))
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook, answers)):
        message = await ended(backend, await ask(backend))
    assert (message.content, outcome(message)) == ("**** it", ("complete", None))
    assert [dict(part) for part in message.parts or ()] == [{"type": "text", "text": "**** it", "state": "done"}]
    assert streams.answer(message.id).content() == "**** it"
    assert not [chunk for chunk in streams.chunks(message.id) if "secret" in str(chunk) or "damn" in str(chunk)]
    # Viewers have fewer chunks, so they read the stream again, or the message.
    assert message.turn is not None
    assert message.turn.last == streams.frames(message.id)[-1].last
    seen = [frame.last for _, frame in streams.published if b"damn" in frame.chunks]
    assert all(last < message.turn.last for last in seen)
    stored = [event for event in await backend.store.chats.recent_events("c", 10) if b"damn" in event.payload]
    assert stored == []


@both
@pytest.mark.parametrize("away", [False, True])
async def test_nothing_is_left_of_an_answer_that_is_refused_or_not_reviewed(
    backend: Backend, streams: ScriptedStreams, hook: Hook, answers: AnswerReviews, away: bool
) -> None:
    hook.away = away
    responder = ScriptedResponder(*REASONING, "a bad word")
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook, answers)) as worker:
        message = await ended(backend, await ask(backend))
        reason = "not-reviewed" if away else "refused"
        assert outcome(message) == ("failed", reason)
        await until(lambda: bool(worker.counters.ends))
        assert worker.counters.ends == {f"failed {reason}": 1}
    assert (message.content, message.parts) == ("", None)
    assert not [chunk for chunk in streams.chunks(message.id) if "bad" in str(chunk) or "secret" in str(chunk)]
    events = await backend.store.chats.recent_events("c", 10)
    assert [event.type for event in events if b"bad" in event.payload] == []
    assert events[-1].type == EventType.TURN_CHANGED
    # Its text is in no later prompt.
    await ask(backend, "next")
    hook.away = False
    responder.script = ("fine",)
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook, answers)):
        await until(lambda: len(responder.prompts) > 1)
    assert [each.content for each in responder.prompts[-1].history] == ["hello"]


async def test_without_a_verdict_the_deployment_may_store_the_answer(
    backend: Backend, streams: ScriptedStreams, hook: Hook
) -> None:
    hook.away = True
    reviews = moderation(hook, away="pass")
    async with running_worker(backend, ScriptedResponder("text"), streams=streams, moderation=reviews):
        message = await ended(backend, await ask(backend))
    assert (message.content, outcome(message)) == ("text", ("complete", None))


@both
async def test_a_stopped_answer_is_reviewed(
    backend: Backend, streams: ScriptedStreams, hook: Hook, answers: AnswerReviews
) -> None:
    pause = Pause()
    responder = ScriptedResponder("damn", pause)
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook, answers)):
        turn_id = await ask(backend)
        await pause.reached.wait()
        await backend.turns.stop(ANYONE, "c", turn_id)
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("****", ("stopped", "by-user"))


async def test_nothing_of_a_withheld_answer_is_shown_or_saved_before_its_review(
    backend: Backend, streams: ScriptedStreams, hook: Hook
) -> None:
    hook.go_on = asyncio.Event()
    responder = ScriptedResponder("one ", 0.2, "two")  # longer than `FAST.checkpoint_s`
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook, "withheld")):
        turn_id = await ask(backend)
        await until(lambda: hook.asked)
        partial = await answer(backend, turn_id)
        assert streams.published == []
        hook.go_on.set()
        message = await ended(backend, turn_id)
    assert partial is not None
    assert (partial.content, partial.parts or ()) == ("", ())
    assert message.content == "one two"
    assert streams.answer(turn_id).content() == "one two"


async def test_what_is_withheld_of_an_answer_that_another_worker_began_to_stream_is_not_saved(
    backend: Backend, streams: ScriptedStreams, hook: Hook
) -> None:
    begun = Pause()
    resumes: dict[str, tuple[Step, ...]] = {
        "r1": ("two ", Reference("r2"), 0.2, "three")
    }  # longer than `FAST.checkpoint_s`
    first = ResumableScript("one ", Reference("r1"), begun, resumes=resumes)
    async with running_worker(backend, first, streams=streams, moderation=moderation(hook)):
        turn_id = await ask(backend)
        await begun.reached.wait()
    reviews, pause = moderation(hook, "withheld"), Pause()
    interrupted = ResumableScript(resumes={"r1": ("two ", Reference("r2"), 0.2, "bad", pause)})
    async with running_worker(backend, interrupted, streams=streams, moderation=reviews):
        await pause.reached.wait()
    hook.go_on = asyncio.Event()
    second = ResumableScript(resumes=resumes)
    async with running_worker(backend, second, streams=streams, moderation=reviews):
        await until(lambda: hook.asked)
        partial = await answer(backend, turn_id)
        shown = streams.answer(turn_id).content()
        hook.go_on.set()
        message = await ended(backend, turn_id)
    assert partial is not None
    assert (partial.content, shown) == ("one ", "one ")
    assert (second.resumed, message.content) == (["r1"], "one two three")
    assert streams.answer(turn_id).content() == "one two three"


async def test_a_withheld_answer_of_a_dead_worker_is_written_again(
    backend: Backend, streams: ScriptedStreams, hook: Hook
) -> None:
    reviews = moderation(hook, "withheld")
    pause = Pause()
    async with running_worker(
        backend, ScriptedResponder("lost", pause), streams=streams, dies=True, moderation=reviews
    ):
        turn_id = await ask(backend)
        await pause.reached.wait()
    async with running_worker(backend, ScriptedResponder("again"), streams=streams, later_s=60, moderation=reviews):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("again", ("complete", None))


async def test_a_withheld_answer_that_called_a_tool_is_not_written_again(
    backend: Backend, streams: ScriptedStreams, hook: Hook
) -> None:
    reviews = moderation(hook, "withheld")
    call = {"type": "tool-input-available", **CALL, "input": {"q": 1}}
    async with running_worker(
        backend, ScriptedResponder(call, Pause()), streams=streams, dies=True, moderation=reviews
    ):
        turn_id = await ask(backend)

        async def called() -> bool:
            events = await backend.store.chats.recent_events("c", 10)
            return events[-1].type == EventType.TOOL_CALLED

        await until(called)
    second = ScriptedResponder("again")
    async with running_worker(backend, second, streams=streams, later_s=60, moderation=reviews):
        message = await ended(backend, turn_id)
    assert outcome(message) == ("failed", "worker-lost")
    assert second.prompts == []


async def test_a_withheld_answer_that_is_cut_has_its_text(
    backend: Backend, streams: ScriptedStreams, hook: Hook
) -> None:
    responder = ScriptedResponder("text", ValueError("broken"))
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook, "withheld")):
        message = await ended(backend, await ask(backend))
    assert (message.content, outcome(message)) == ("text", ("incomplete", "responder-error"))


async def test_a_refused_answer_ends_while_the_engine_of_the_streams_is_away(
    backend: Backend, streams: ScriptedStreams, hook: Hook
) -> None:
    hook.go_on = asyncio.Event()
    responder = ScriptedResponder("a bad word")
    async with running_worker(backend, responder, streams=streams, moderation=moderation(hook)):
        turn_id = await ask(backend)
        await until(lambda: streams.frames(turn_id))
        last = streams.frames(turn_id)[-1].last
        streams.failure = LogUnavailable("away")
        hook.go_on.set()
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("", ("failed", "refused"))
    assert message.turn is not None
    assert message.turn.last > last
