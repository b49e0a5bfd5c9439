"""The loop of the worker: claims, leases, and how it stops. One turn: test_turn_run.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from roomcast.app.metrics import worker_families
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ANYONE, Renewal, TurnClaim
from roomcast.chat.ports import Usage
from roomcast.contract.rest import SendMessage
from roomcast.histogram import Histogram
from roomcast.worker.counters import ENDS
from support.backend import Backend, open_backend
from support.scripted import ScriptedResponder, ScriptedStreams
from support.waiting import until
from support.worker import FAST, LateClock, ask, ended, outcome, running_worker

UNTIL_CUT = 30.0


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with open_backend(tmp_path, responder="demo") as opened:
        yield opened


async def test_turns_that_waited_for_a_worker_are_answered_at_its_start(backend: Backend) -> None:
    turn_ids = [await ask(backend, f"question {number}") for number in range(3)]
    async with running_worker(backend, ScriptedResponder("answer")):
        answers = [await ended(backend, turn_id) for turn_id in turn_ids]
    assert [message.content for message in answers] == ["answer"] * 3
    assert sorted(message.place for message in answers) == [message.place for message in answers]


async def test_ai_messages_are_not_answered(backend: Backend) -> None:
    responder = ScriptedResponder("answer")
    async with running_worker(backend, responder):
        await backend.writer.send(ANYONE, SendMessage(chatId="c", role="AI", content="I speak"))
        await ended(backend, await ask(backend))
    assert len(responder.prompts) == 1


async def test_one_chat_is_answered_in_order_and_others_at_the_same_time(backend: Backend) -> None:
    stuck = ScriptedResponder(UNTIL_CUT)
    async with running_worker(backend, stuck) as worker:
        for chat_id in ("c", "c", "d", "e"):
            await ask(backend, chat_id=chat_id)
        await until(lambda: len(stuck.prompts) == 3)
        assert worker.counters.active == 3
        assert {prompt.message.chat_id for prompt in stuck.prompts} == {"c", "d", "e"}


async def test_a_worker_answers_at_most_as_many_turns_as_configured(backend: Backend) -> None:
    go_on = asyncio.Event()
    responder = ScriptedResponder(go_on, "answer")
    async with running_worker(backend, responder, replace(FAST, concurrency=2)) as worker:
        turn_ids = {chat_id: await ask(backend, chat_id=chat_id) for chat_id in "abcd"}
        await until(lambda: len(responder.prompts) == 2)
        assert worker.counters.active == 2
        go_on.set()
        for chat_id, turn_id in turn_ids.items():
            assert outcome(await ended(backend, turn_id, chat_id)) == ("complete", None)


async def test_after_an_outage_of_the_database_no_turn_of_a_live_worker_is_taken_over(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = asyncio.Event()
    options = replace(FAST, lease_s=1.0, sweep_s=0.01)
    first = ScriptedResponder("one ", go_on, "two")
    async with running_worker(backend, first, replace(options, heartbeat_s=0.25)):
        turn_id = await ask(backend)
        await first.called.wait()
        async with running_worker(backend, ScriptedResponder("three"), options):
            with monkeypatch.context() as outage:

                async def away(*_args: object) -> None:
                    raise StoreUnavailable("away")

                outage.setattr(backend.store.turns, "claim_turn", away)
                outage.setattr(backend.store.turns, "renew", away)
                await asyncio.sleep(1.2)  # the lease ends
            # The second worker queries the queue long before the first one renews its lease.
            await asyncio.sleep(0.3)
            go_on.set()
            message = await ended(backend, turn_id)
    assert (message.content, outcome(message)) == ("one two", ("complete", None))


async def test_metrics_show_what_is_active_waiting_and_ended(backend: Backend) -> None:
    go_on = asyncio.Event()
    responder = ScriptedResponder("one ", go_on, "two", Usage(3, 4))
    async with running_worker(backend, responder, replace(FAST, count_s=0.01)) as worker:
        first = await ask(backend)
        second = await ask(backend)
        await until(lambda: (worker.counters.active, worker.counters.waiting) == (1, 1))
        go_on.set()
        await ended(backend, first)
        await ended(backend, second)
        await until(lambda: worker.counters.active == 0)
        families = {family.name: family.values for family in worker_families(worker.counters)}
    assert families["ai_turns_ended"] == dict.fromkeys(ENDS, 0) | {"complete": 2}
    assert families["ai_tokens"] == {"input": 6, "output": 8}
    assert families["ai_characters"] == 14
    first_chunk_s = families["ai_first_chunk_seconds"]
    assert isinstance(first_chunk_s, Histogram)
    assert sum(first_chunk_s.counts) == 2


async def test_a_turn_for_an_unknown_responder_fails(tmp_path: Path) -> None:
    async with open_backend(tmp_path, responder="gone") as backend, running_worker(backend, ScriptedResponder("x")):
        assert outcome(await ended(backend, await ask(backend))) == ("failed", "no-responder")


async def test_an_unavailable_queue_only_delays_the_answers(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim = backend.store.turns.claim_turn
    failures = iter([StoreUnavailable("away"), StoreUnavailable("still away")])

    async def failing_claim(now: datetime, lease_until: datetime) -> object:
        if error := next(failures, None):
            raise error
        return await claim(now, lease_until)

    monkeypatch.setattr(backend.store.turns, "claim_turn", failing_claim)
    async with running_worker(backend, ScriptedResponder("answer")):
        await ended(backend, await ask(backend))
    assert "cannot claim AI turns" in caplog.text


async def test_the_leases_of_all_turns_are_renewed_with_one_statement(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    renew = backend.store.turns.renew
    renewed: list[int] = []

    async def counting(claims: Collection[TurnClaim], lease_until: datetime) -> Renewal:
        renewed.append(len(claims))
        return await renew(claims, lease_until)

    monkeypatch.setattr(backend.store.turns, "renew", counting)
    async with running_worker(backend, ScriptedResponder(UNTIL_CUT)):
        for number in range(20):
            await ask(backend, chat_id=f"c{number}")
        await until(lambda: 20 in renewed)


async def test_a_lease_is_kept_for_longer_than_its_length(backend: Backend) -> None:
    responder = ScriptedResponder("one ", 0.8, "two")
    options = replace(FAST, lease_s=0.4, sweep_s=0.1)
    async with running_worker(backend, responder, options), running_worker(backend, ScriptedResponder("no"), options):
        # Only the second worker is woken.
        message = await ended(backend, await ask(backend))
    assert message.turn is not None
    assert message.turn.generation == 1


async def test_without_renewals_nothing_is_published_until_the_lease_is_renewed(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, away = backend.store.turns, asyncio.Event()
    claim, renew = store.claim_turn, store.renew

    async def failing_claim(now: datetime, lease_until: datetime) -> object:
        if away.is_set():
            raise StoreUnavailable("away")
        return await claim(now, lease_until)

    async def failing_renew(claims: Collection[TurnClaim], lease_until: datetime) -> Renewal:
        if away.is_set():
            raise StoreUnavailable("away")
        return await renew(claims, lease_until)

    monkeypatch.setattr(store, "claim_turn", failing_claim)
    monkeypatch.setattr(store, "renew", failing_renew)
    streams = ScriptedStreams()
    go_on = asyncio.Event()
    responder = ScriptedResponder("one ", go_on, "two", UNTIL_CUT)
    async with running_worker(backend, responder, replace(FAST, lease_s=0.2), streams=streams):
        turn_id = await ask(backend)
        await until(lambda: streams.frames(turn_id))
        away.set()
        await asyncio.sleep(0.3)
        go_on.set()
        await asyncio.sleep(0.1)
        assert streams.answer(turn_id).content() == "one "
        away.clear()
        await until(lambda: streams.answer(turn_id).content() == "one two")


async def test_a_worker_that_was_suspended_keeps_the_turns_that_no_other_has_taken(backend: Backend) -> None:
    go_on = asyncio.Event()
    responder = ScriptedResponder("one ", go_on, "two")
    # As after a suspension, the heartbeat comes after the end of the lease.
    async with running_worker(backend, responder, replace(FAST, lease_s=0.3, heartbeat_s=60.0)) as worker:
        turn_id = await ask(backend)
        await responder.called.wait()
        await asyncio.sleep(0.4)
        worker.wake()
        await asyncio.sleep(0.4)
        worker.wake()
        go_on.set()
        message = await ended(backend, turn_id)
    assert message.content == "one two"
    assert message.turn is not None
    assert message.turn.generation == 1


@pytest.mark.parametrize("step_s", [3_600.0, -3_600.0])
async def test_a_step_of_the_clock_does_not_end_the_turns_of_a_worker(backend: Backend, step_s: float) -> None:
    go_on, clock = asyncio.Event(), LateClock(0)
    responder = ScriptedResponder("one ", go_on, "two")
    async with running_worker(backend, responder, replace(FAST, heartbeat_s=60.0), clock=clock):
        turn_id = await ask(backend)
        await responder.called.wait()
        clock.ahead = timedelta(seconds=step_s)
        # The worker looks for turns before its heartbeat.
        other = await ask(backend, chat_id="other")
        await until(lambda: len(responder.prompts) == 2)
        go_on.set()
        message = await ended(backend, turn_id)
        await ended(backend, other, "other")
    assert message.content == "one two"
    assert message.turn is not None
    assert message.turn.generation == 1
