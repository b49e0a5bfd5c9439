from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from roomcast.chat.commands import EndTurn, NewChat
from roomcast.chat.errors import ChatNotFound, StoreUnavailable, TurnLost, TurnNotFound
from roomcast.chat.model import ANYONE, Caller, Checkpoint, Committed, Ending, StoredEvent, Turn
from roomcast.chat.ports import LogUnavailable, encode_stop
from roomcast.chat.use_cases.turns import Turns
from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.store.opening import Store, open_store
from support.backend import START, FixedClock, fresh_database, new_message

ANN, EVE = Caller("ann"), Caller("eve")
DONE = Ending(TurnStatus.COMPLETE, content="because", last=3)


@dataclass
class Recorder:
    """The relay, the listener, the log and the worker: records what they receive."""

    offered: list[int] = field(default_factory=list)
    heard: list[tuple[int, str | None]] = field(default_factory=list)
    signals: list[tuple[str, bytes]] = field(default_factory=list)
    sweeps: int = 0
    wakes: int = 0
    log_is_down: bool = False

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        self.offered += [event.seq for event in events]

    def request_sweep(self) -> None:
        self.sweeps += 1

    def committed(self, event: StoredEvent, actor_id: str | None) -> None:
        self.heard.append((event.seq, actor_id))

    async def signal(self, chat_id: str, payload: bytes) -> None:
        if self.log_is_down:
            raise LogUnavailable("away")
        self.signals.append((chat_id, payload))

    def wake(self) -> None:
        self.wakes += 1


@asynccontextmanager
async def running(directory: Path) -> AsyncIterator[tuple[Store, Turns, Recorder]]:
    """The chat "c" of ann with one question."""
    recorder = Recorder()
    async with open_store(fresh_database(directory)) as store:
        turns = Turns(
            store.turns,
            recorder,
            recorder,
            listener=recorder,
            wake_worker=recorder.wake,
            default_responder="demo",
            clock=FixedClock(),
        )
        await store.chats.commit(NewChat("c", None, None, START, "ann"))
        await store.chats.commit(new_message(default_responder="demo"))
        yield store, turns, recorder


async def claim(store: Store, after_s: float = 0) -> Turn:
    now = START + timedelta(seconds=after_s)
    turn = await store.turns.claim_turn(now, now + timedelta(seconds=30))
    assert turn is not None
    return turn


async def test_a_turn_is_published_from_its_start_to_its_end_and_wakes_the_worker_for_the_next(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, turns, recorder):
        turn = await turns.start(await claim(store))
        assert (turn.started, turn.place, turn.version) == (True, 3, 1)
        assert await turns.start(turn) is turn
        await turns.call_tool(turn, "call", "weather")
        await turns.checkpoint(turn, Checkpoint(1, ()), "half")
        assert recorder.wakes == 0
        await turns.end(turn, DONE)
        assert recorder.wakes == 1
    assert recorder.offered == [3, 4, 5]
    assert recorder.heard == [(3, None), (4, None), (5, None)]


async def test_an_end_of_unknown_outcome_is_repeated_and_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as (store, turns, recorder):
        turn = await turns.start(await claim(store))
        commit = store.turns.commit

        async def lose_the_answer(end: EndTurn) -> Committed:
            await commit(end)
            raise StoreUnavailable("the connection is lost")

        monkeypatch.setattr(store.turns, "commit", lose_the_answer)
        with pytest.raises(StoreUnavailable):
            await turns.end(turn, DONE)
        monkeypatch.undo()
        assert (recorder.sweeps, recorder.offered) == (1, [3])
        await turns.end(turn, DONE)
    assert recorder.heard == [(3, None), (4, None)]


async def test_a_stop_of_a_streaming_turn_is_signalled_and_does_not_need_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(tmp_path) as (store, turns, recorder):
        turn = await turns.start(await claim(store))
        turn_id = turn.claim.turn_id
        assert (await turns.stop(ANN, "c", turn_id)).status is TurnStatus.STREAMING
        assert recorder.signals == [("c", encode_stop(turn_id))]
        recorder.log_is_down = True
        await turns.stop(ANYONE, "c", turn_id)
        assert "a stop is not signalled" in caplog.text
        assert (await store.turns.renew([turn.claim], START)).stopping == {turn_id}


async def test_a_stop_of_a_waiting_turn_is_published_and_wakes_the_worker(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, turns, recorder):
        turn = await claim(store)
        stopped = await turns.stop(ANN, "c", turn.claim.turn_id)
        assert (stopped.status, stopped.reason) == (TurnStatus.STOPPED, TurnReason.BY_USER)
        assert (recorder.heard, recorder.wakes, recorder.signals) == ([(3, "ann")], 1, [])
        with pytest.raises(TurnLost):
            await turns.start(turn)


async def test_a_regenerated_answer_is_queued_published_and_starts_at_the_same_place(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, turns, recorder):
        first = await turns.start(await claim(store))
        await turns.end(first, DONE)
        queued = await turns.regenerate(ANN, "c", first.claim.turn_id)
        assert (queued.status, queued.place, queued.version) == (TurnStatus.QUEUED, 3, 2)
        assert recorder.heard[-1] == (5, "ann")
        assert recorder.wakes == 2
        again = await turns.start(await claim(store))
        assert (again.place, again.version) == (3, 2)


async def test_strangers_cannot_tell_that_a_chat_or_a_turn_exists(tmp_path: Path) -> None:
    async with running(tmp_path) as (store, turns, _):
        turn_id = (await claim(store)).claim.turn_id
        for use_case in (turns.stop, turns.regenerate):
            for caller, chat_id in ((EVE, "c"), (EVE, "nowhere"), (ANYONE, "nowhere")):
                with pytest.raises(ChatNotFound):
                    await use_case(caller, chat_id, turn_id)
            with pytest.raises(TurnNotFound):
                await use_case(ANN, "c", "unknown")
        found, _ = await store.chats.events_after("c", 0, 10)
    assert [json.loads(event.payload)["seq"] for event in found] == [1, 2]
