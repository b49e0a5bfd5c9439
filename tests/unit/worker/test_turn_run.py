"""One turn after another on a real database, with scripted responders and streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.commands import CallTool, Command, EndTurn, StartTurn
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ANYONE, StoredMessage, Turn
from roomcast.chat.ports import CutOff, LogUnavailable, Reference, ResponderFailure, Usage, encode_stop
from roomcast.chat.use_cases.turns import Turns
from roomcast.contract.events import TurnReason
from roomcast.contract.text import MAX_CONTENT_CHARS
from roomcast.worker.options import WorkerOptions
from support.backend import Backend, open_backend, replace_commit
from support.scripted import ResumableScript, ScriptedResponder, ScriptedStreams, Step
from support.waiting import until
from support.worker import FAST, LateClock, answer, ask, ended, outcome, running_worker

UNTIL_CUT = 30.0  # seconds: the rest of the script is not reached


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with open_backend(tmp_path, responder="demo") as opened:
        yield opened


@pytest.fixture
def streams() -> ScriptedStreams:
    return ScriptedStreams()


async def run_one(
    backend: Backend, responder: ScriptedResponder, streams: ScriptedStreams, options: WorkerOptions = FAST
) -> StoredMessage:
    """Ask, and return the answer."""
    async with running_worker(backend, responder, options, streams=streams):
        return await ended(backend, await ask(backend))


async def shown(backend: Backend, streams: ScriptedStreams, turn_id: str, text: str) -> None:
    """Wait until the stream has this text."""
    await until(lambda: streams.frames(turn_id) and text in streams.answer(turn_id).content())


async def test_an_answer_streams_and_ends_with_the_same_text(backend: Backend, streams: ScriptedStreams) -> None:
    message = await run_one(backend, ScriptedResponder("one ", 0.02, "two"), streams)
    assert (message.content, outcome(message)) == ("one two", ("complete", None))
    assert streams.answer(message.id).content() == "one two"
    assert streams.chunks(message.id)[0] == {"type": "start", "messageId": message.id}
    assert streams.chunks(message.id)[-1]["type"] == "finish"
    assert message.turn is not None
    assert message.turn.last == streams.frames(message.id)[-1].last
    assert streams.expired == {message.id}


async def test_impossible_numbers_of_tokens_do_not_keep_a_turn_from_ending(
    backend: Backend, streams: ScriptedStreams
) -> None:
    message = await run_one(backend, ScriptedResponder("one", Usage(10**30, -1)), streams)
    assert outcome(message) == ("complete", None)


async def test_the_answer_has_its_place_before_its_first_chunk(backend: Backend, streams: ScriptedStreams) -> None:
    go_on = asyncio.Event()
    responder = ScriptedResponder(go_on, "text")
    async with running_worker(backend, responder, streams=streams):
        turn_id = await ask(backend)
        await responder.called.wait()
        started = await answer(backend, turn_id)
        go_on.set()
        message = await ended(backend, turn_id)
    assert started is not None
    assert (started.place, started.content) == (message.place, "")


async def test_the_history_is_passed_to_the_responder(backend: Backend, streams: ScriptedStreams) -> None:
    responder = ScriptedResponder("answer")
    async with running_worker(backend, responder, streams=streams):
        await ended(backend, await ask(backend, "first"))
        await ended(backend, await ask(backend, "second"))
    assert [message.content for message in responder.prompts[1].history] == ["first", "answer"]
    assert responder.prompts[1].message.content == "second"


async def test_instructions_and_budget_of_the_server_are_for_chats_without_their_own(
    backend: Backend, streams: ScriptedStreams
) -> None:
    responder = ScriptedResponder("answer")
    options = replace(FAST, system_prompt="Be brief.", token_budget=40)
    async with running_worker(backend, responder, options, streams=streams):
        await ended(backend, await ask(backend, "x" * 100))
        await ended(backend, await ask(backend, "y" * 80))
    assert [prompt.system for prompt in responder.prompts] == ["Be brief."] * 2
    assert responder.prompts[1].history == ()


async def test_parts_usage_and_tool_calls_are_stored(backend: Backend, streams: ScriptedStreams) -> None:
    call = {"toolCallId": "x", "toolName": "look_up"}
    responder = ScriptedResponder(
        {"type": "tool-input-available", **call, "input": {"q": 1}},
        {"type": "tool-output-available", "toolCallId": "x", "output": 2},
        "done",
        Usage(10, 20),
    )
    async with running_worker(backend, responder, streams=streams) as worker:
        message = await ended(backend, await ask(backend))
    assert message.parts is not None
    assert [part["type"] for part in message.parts] == ["dynamic-tool", "text"]
    events = await backend.store.chats.recent_events("c", 10)
    assert [event.type for event in events] == ["message-created", "turn-changed", "tool-called", "message-created"]
    assert worker.counters.tokens == {"input": 10, "output": 20}


async def test_a_malformed_chunk_is_left_out(backend: Backend, streams: ScriptedStreams) -> None:
    message = await run_one(backend, ScriptedResponder("a", {"type": "nonsense"}, {"no": "type"}, "b"), streams)
    assert (message.content, outcome(message)) == ("ab", ("complete", None))


RETRYABLE = ResponderFailure("429", reason=TurnReason.RATE_LIMITED, retryable=True, retry_after_s=0.001, kind="429")
FATAL = ResponderFailure("401", reason=TurnReason.PROVIDER_REFUSED, kind="401")


async def test_a_failure_before_the_first_chunk_is_retried(backend: Backend, streams: ScriptedStreams) -> None:
    responder = ScriptedResponder(calls=[(RETRYABLE,), (RETRYABLE,), ("answer",)])
    async with running_worker(backend, responder, streams=streams) as worker:
        message = await ended(backend, await ask(backend))
    assert (message.content, outcome(message)) == ("answer", ("complete", None))
    assert worker.counters.failures == {"429": 2}


@pytest.mark.parametrize(
    ("script", "end", "calls"),
    [
        ((RETRYABLE,), ("failed", "rate-limited"), 3),
        ((FATAL,), ("failed", "provider-refused"), 1),
        ((RuntimeError("bug"),), ("failed", "responder-error"), 1),
        ((CutOff(TurnReason.FILTERED),), ("failed", "filtered"), 1),
        ((), ("failed", "no-text"), 1),
        ((" ", "\n"), ("failed", "no-text"), 1),
        (("text", RETRYABLE), ("incomplete", "cut-by-provider"), 1),
        (("text", RuntimeError("bug")), ("incomplete", "responder-error"), 1),
        (("text", CutOff(TurnReason.TOO_LONG)), ("incomplete", "too-long"), 1),
        (("text" + "x" * MAX_CONTENT_CHARS,), ("incomplete", "too-long"), 1),
    ],
)
async def test_each_failure_has_its_end(
    backend: Backend, streams: ScriptedStreams, script: tuple[Step, ...], end: tuple[str, str], calls: int
) -> None:
    responder = ScriptedResponder(*script)
    message = await run_one(backend, responder, streams)
    assert outcome(message) == end
    assert len(responder.prompts) == calls
    assert message.content[:4] == ("text" if end[0] == "incomplete" else "")
    assert len(message.content) <= MAX_CONTENT_CHARS


async def test_an_endless_answer_that_never_waits_is_cut(backend: Backend, streams: ScriptedStreams) -> None:
    responder = ScriptedResponder(*["word "] * 20_000)
    message = await run_one(backend, responder, streams)
    assert outcome(message) == ("incomplete", "too-long")
    assert message.content == streams.answer(message.id).content()


@pytest.mark.parametrize(
    ("script", "options", "end"),
    [
        ((UNTIL_CUT,), replace(FAST, first_item_s=0.05), ("failed", "timeout")),
        (("text", UNTIL_CUT), replace(FAST, next_item_s=0.05), ("incomplete", "timeout")),
        (("text", *(0.02, "x") * 500), replace(FAST, turn_s=0.2), ("incomplete", "timeout")),
    ],
)
async def test_each_time_limit_ends_the_turn_and_the_request(
    backend: Backend,
    streams: ScriptedStreams,
    script: tuple[Step, ...],
    options: WorkerOptions,
    end: tuple[str, str],
) -> None:
    responder = ScriptedResponder(*script)
    message = await run_one(backend, responder, streams, options)
    assert outcome(message) == end
    assert responder.closed.is_set()


async def test_a_stop_by_signal_keeps_the_text_and_closes_the_request(
    backend: Backend, streams: ScriptedStreams
) -> None:
    responder = ScriptedResponder("so far", UNTIL_CUT)
    async with running_worker(backend, responder, replace(FAST, heartbeat_s=60.0), streams=streams) as worker:
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "so far")
        await Turns(backend.store.turns, backend.relay, backend.log).stop(ANYONE, "c", turn_id)
        message = await ended(backend, turn_id)
        assert worker.counters.ends == {"stopped by-user": 1}
    assert (message.content, outcome(message)) == ("so far", ("stopped", "by-user"))
    assert streams.chunks(turn_id)[-1] == {"type": "abort"}
    assert responder.closed.is_set()


async def test_a_stop_ends_the_answer_at_a_provider_that_would_go_on(
    backend: Backend, streams: ScriptedStreams
) -> None:
    responder = ResumableScript("so far", Reference("r1"), "!", UNTIL_CUT, resumes={})
    async with running_worker(backend, responder, streams=streams):
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "so far")
        await Turns(backend.store.turns, backend.relay, backend.log).stop(ANYONE, "c", turn_id)
        await ended(backend, turn_id)
        await until(lambda: responder.cancelled == ["r1"])


@pytest.mark.parametrize("step", [UNTIL_CUT, ResponderFailure("503", retryable=True)])
async def test_a_stop_before_the_first_chunk_is_not_lost(
    backend: Backend, streams: ScriptedStreams, step: Step
) -> None:
    responder = ScriptedResponder(step)
    options = replace(FAST, try_pause_s=60.0, max_try_pause_s=60.0)
    async with running_worker(backend, responder, options, streams=streams):
        turn_id = await ask(backend)
        await responder.called.wait()
        # Without a signal: the heartbeat reads it from the database.
        await Turns(backend.store.turns, backend.relay, _Mute()).stop(ANYONE, "c", turn_id)
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("", ("stopped", "by-user"))
    assert not streams.frames(turn_id)


class _Mute:
    """Loses every signal."""

    async def signal(self, _chat_id: str, _payload: bytes) -> None:
        raise LogUnavailable("away")


async def test_a_stop_while_a_call_of_a_tool_is_announced_leaves_the_same_parts_on_screens_and_in_the_database(
    backend: Backend, streams: ScriptedStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    announcing = asyncio.Event()

    async def announce(_command: object) -> None:
        announcing.set()
        await asyncio.Event().wait()

    replace_commit(monkeypatch, backend.store.turns, CallTool, announce)
    call = {"type": "tool-input-available", "toolCallId": "x", "toolName": "look_up", "input": {}}
    async with running_worker(backend, ScriptedResponder(call, UNTIL_CUT), streams=streams):
        turn_id = await ask(backend)
        await announcing.wait()
        await backend.turns.stop(ANYONE, "c", turn_id)
        message = await ended(backend, turn_id)
    assert outcome(message) == ("stopped", "by-user")
    assert message.parts is not None
    assert [part["state"] for part in message.parts] == ["output-error"]
    assert streams.answer(turn_id).parts() == tuple(message.parts)


async def test_a_responder_that_ignores_its_cancellation_does_not_delay_the_stop(
    backend: Backend, streams: ScriptedStreams
) -> None:
    release = asyncio.Event()

    class Stubborn(ScriptedResponder):
        async def _follow(self, script: tuple[Step, ...]) -> AsyncIterator[str]:
            yield "so far"
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    yield " and more"

    async with running_worker(backend, Stubborn(), streams=streams):
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "so far")
        await backend.log.signal("c", encode_stop(turn_id))
        message = await ended(backend, turn_id)
        release.set()
    assert message.content == "so far"


async def test_the_partial_answer_is_saved_now_and_then(backend: Backend, streams: ScriptedStreams) -> None:
    responder = ScriptedResponder("first ", 0.02, "second", UNTIL_CUT)
    async with running_worker(backend, responder, streams=streams):
        turn_id = await ask(backend)

        async def saved() -> bool:
            message = await answer(backend, turn_id)
            return message is not None and message.content == "first second"

        await until(saved)


# --- Takeovers ---


async def leave(
    backend: Backend, responder: ScriptedResponder, streams: ScriptedStreams, text: str, *, saved: bool = False
) -> str:
    """A worker that dies when the stream has a text; the id of its turn."""
    async with running_worker(backend, responder, streams=streams, dies=True):
        turn_id = await ask(backend)
        await (shown(backend, streams, turn_id, text) if text else responder.called.wait())

        async def in_database() -> bool:
            message = await answer(backend, turn_id)
            return message is not None and message.content == text

        if saved:
            await until(in_database)
    return turn_id


async def test_a_turn_without_a_chunk_is_answered_again(backend: Backend, streams: ScriptedStreams) -> None:
    turn_id = await leave(backend, ScriptedResponder(UNTIL_CUT), streams, "")
    async with running_worker(backend, ScriptedResponder("answer"), streams=streams, later_s=60):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("answer", ("complete", None))
    events = await backend.store.chats.recent_events("c", 10)
    assert [event.type for event in events] == ["message-created", "turn-changed", "message-created"]


async def test_a_turn_that_kills_each_worker_fails(backend: Backend, streams: ScriptedStreams) -> None:
    turn_id = await leave(backend, ScriptedResponder(UNTIL_CUT), streams, "")
    for attempt in (2, 3):
        stuck = ScriptedResponder(UNTIL_CUT)
        async with running_worker(backend, stuck, streams=streams, later_s=60 * attempt, dies=True):
            await stuck.called.wait()
    async with running_worker(backend, ScriptedResponder("answer"), streams=streams, later_s=600):
        message = await ended(backend, turn_id)
    assert outcome(message) == ("failed", "too-many-attempts")


async def test_a_dead_workers_answer_ends_with_the_text_of_its_stream(
    backend: Backend, streams: ScriptedStreams
) -> None:
    turn_id = await leave(backend, ScriptedResponder("a", 0.02, "b", UNTIL_CUT), streams, "ab")
    async with running_worker(backend, ScriptedResponder("never"), streams=streams, later_s=60):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("ab", ("incomplete", "worker-lost"))
    assert streams.answer(turn_id).content() == "ab"
    assert streams.chunks(turn_id)[-1]["type"] == "error"
    assert {frame.generation for frame in streams.frames(turn_id)} == {2}


async def test_without_the_stream_it_ends_with_the_text_of_the_checkpoint(
    backend: Backend, streams: ScriptedStreams
) -> None:
    turn_id = await leave(backend, ScriptedResponder("a", 0.02, "b", UNTIL_CUT), streams, "ab", saved=True)
    streams.lose()
    async with running_worker(backend, ScriptedResponder("never"), streams=streams, later_s=60):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("ab", ("incomplete", "worker-lost"))
    assert streams.answer(turn_id).content() == "ab"


@pytest.mark.parametrize("stream_lost", [False, True])
async def test_a_responder_that_can_resume_continues_a_dead_workers_answer(
    backend: Backend, streams: ScriptedStreams, stream_lost: bool
) -> None:
    script = ("one ", Reference("r1"), 0.02, "two ", Reference("r2"), UNTIL_CUT)
    resumes: dict[str, tuple[Step, ...]] = {"r2": ("three", 0.02, " four")}
    turn_id = await leave(backend, ResumableScript(*script, resumes=resumes), streams, "one two ", saved=True)
    if stream_lost:
        streams.lose()
    second = ResumableScript("never", resumes=resumes)
    async with running_worker(backend, second, streams=streams, later_s=60):
        message = await ended(backend, turn_id)
    assert second.resumed == ["r2"]
    assert (message.content, outcome(message)) == ("one two three four", ("complete", None))
    assert streams.answer(turn_id).content() == "one two three four"


async def test_text_after_the_last_reference_is_generated_again(backend: Backend, streams: ScriptedStreams) -> None:
    go_on = asyncio.Event()
    script = ("one ", Reference("r1"), go_on, "tw", UNTIL_CUT)
    resumes: dict[str, tuple[Step, ...]] = {"r1": ("two",)}
    leaving = asyncio.create_task(
        leave(backend, ResumableScript(*script, resumes=resumes), streams, "one tw", saved=True)
    )
    # A frame of its own: a frame with later text has no reference.
    await until(lambda: any(frame.ref == "r1" for _, frame in streams.published))
    go_on.set()
    turn_id = await leaving
    async with running_worker(backend, ResumableScript(resumes=resumes), streams=streams, later_s=60):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("one two", ("complete", None))
    assert streams.answer(turn_id).content() == "one two"


async def test_a_worker_whose_turn_was_taken_over_writes_nothing(
    backend: Backend, streams: ScriptedStreams, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    go_on = asyncio.Event()
    slow = ScriptedResponder("early", go_on, "late")
    async with running_worker(backend, slow, replace(FAST, heartbeat_s=60.0), streams=streams) as first:
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "early")
        async with running_worker(backend, ScriptedResponder("never"), streams=streams, later_s=60):
            message = await ended(backend, turn_id)
        before = len(streams.published)
        go_on.set()
        await until(lambda: first.counters.active == 0)
    assert (message.content, outcome(message)) == ("early", ("incomplete", "worker-lost"))
    assert len(streams.published) == before
    assert await ended(backend, turn_id) == message
    assert "taken over" in caplog.text


async def test_a_lost_lease_closes_the_request(backend: Backend, streams: ScriptedStreams) -> None:
    stuck = ScriptedResponder(UNTIL_CUT)
    async with running_worker(backend, stuck, streams=streams):
        await ask(backend)
        await stuck.called.wait()
        # Within two leases of the worker's clock: a later end would count as that of a clock that was set back.
        after_lease, lease_until = LateClock(12).now(), LateClock(18).now()
        assert await backend.store.turns.claim_turn(after_lease, lease_until) is not None
        async with asyncio.timeout(10):
            await stuck.closed.wait()


# --- Outages ---


async def test_the_answer_goes_on_without_the_engine_of_the_streams(backend: Backend, streams: ScriptedStreams) -> None:
    away, back = asyncio.Event(), asyncio.Event()
    responder = ScriptedResponder("one ", away, "two ", 0.05, "three", back, " four")
    async with running_worker(backend, responder, streams=streams):
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "one ")
        streams.failure = LogUnavailable("away")
        away.set()

        async def saved() -> bool:
            message = await answer(backend, turn_id)
            return message is not None and message.content == "one two three"

        await until(saved)
        streams.failure = None
        streams.lose()
        await shown(backend, streams, turn_id, "one two three")
        back.set()
        message = await ended(backend, turn_id)
    assert message.content == streams.answer(turn_id).content() == "one two three four"


async def test_a_turn_ends_in_the_database_while_the_engine_is_away(backend: Backend, streams: ScriptedStreams) -> None:
    streams.failure = LogUnavailable("away")
    message = await run_one(backend, ScriptedResponder("text"), streams)
    assert (message.content, outcome(message)) == ("text", ("complete", None))


@pytest.mark.parametrize("method", [StartTurn, "save_checkpoint", EndTurn, "renew", "context"])
async def test_an_unavailable_database_only_delays_the_answer(
    backend: Backend, streams: ScriptedStreams, monkeypatch: pytest.MonkeyPatch, method: str | type[Command[Any]]
) -> None:
    real = getattr(backend.store.turns, method if isinstance(method, str) else "commit")
    failures = iter([StoreUnavailable("away"), StoreUnavailable("still away")])

    async def failing(*args: object) -> object:
        if error := next(failures, None):
            raise error
        return await real(*args)

    if isinstance(method, str):
        monkeypatch.setattr(backend.store.turns, method, failing)
    else:
        replace_commit(monkeypatch, backend.store.turns, method, failing)
    message = await run_one(backend, ScriptedResponder("text", 0.2), streams)
    assert (message.content, outcome(message)) == ("text", ("complete", None))
    assert next(failures, None) is None


# --- Shutdown ---


async def test_turns_may_finish_during_the_drain(backend: Backend, streams: ScriptedStreams) -> None:
    async with running_worker(backend, ScriptedResponder("one ", 0.2, "two"), streams=streams) as worker:
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "one ")
        worker.drain(10.0)
        waiting = await ask(backend, chat_id="d")
    assert (await ended(backend, turn_id)).content == "one two"
    turn = await backend.store.turns.turn("d", waiting)
    assert turn is not None
    assert turn.status == "queued"


async def test_a_shutdown_hands_back_a_turn_without_a_chunk(backend: Backend, streams: ScriptedStreams) -> None:
    turn_id = ""
    # More often than a turn may be attempted.
    for _ in range(5):
        stuck = ScriptedResponder(UNTIL_CUT)
        async with running_worker(backend, stuck, streams=streams):
            turn_id = turn_id or await ask(backend)
            await stuck.called.wait()
    async with running_worker(backend, ScriptedResponder("answer"), streams=streams):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("answer", ("complete", None))


async def test_a_turn_that_is_claimed_during_the_shutdown_is_handed_back(
    backend: Backend, streams: ScriptedStreams, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = backend.store.turns.claim_turn
    claiming, asked, claimed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def claim_late(now: datetime, lease_until: datetime) -> Turn | None:
        claiming.set()
        await asked.wait()
        turn = await claim(now, lease_until)
        claimed.set()
        return turn

    monkeypatch.setattr(backend.store.turns, "claim_turn", claim_late)
    # It dies after its `stop`, whose end is awaited here.
    async with running_worker(backend, ScriptedResponder("never"), streams=streams, dies=True) as worker:
        await claiming.wait()
        stopping = asyncio.create_task(worker.stop())
        turn_id = await ask(backend)
        asked.set()
        await claimed.wait()
        await stopping
    async with running_worker(backend, ScriptedResponder("answer"), streams=streams):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("answer", ("complete", None))


async def test_a_shutdown_hands_over_an_answer_that_can_be_resumed(backend: Backend, streams: ScriptedStreams) -> None:
    resumes: dict[str, tuple[Step, ...]] = {"r1": ("two",)}
    first = ResumableScript("one ", Reference("r1"), UNTIL_CUT, resumes=resumes)
    async with running_worker(backend, first, streams=streams):
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "one ")
    second = ResumableScript("never", resumes=resumes)
    async with running_worker(backend, second, streams=streams):
        message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("one two", ("complete", None))
    assert first.closed.is_set()
    assert first.cancelled == []


async def test_a_shutdown_ends_an_answer_that_cannot_be_resumed(backend: Backend, streams: ScriptedStreams) -> None:
    responder = ScriptedResponder("so far", UNTIL_CUT)
    async with running_worker(backend, responder, streams=streams):
        turn_id = await ask(backend)
        await shown(backend, streams, turn_id, "so far")
    message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("so far", ("incomplete", "shutdown"))
