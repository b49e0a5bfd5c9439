"""The contract of `chat.ports.TurnStore`, over every implementation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from roomcast.chat.commands import CallTool, ChangeAi, EndTurn, NewChat, NewMessage, NewVersion, StartTurn, StopTurn
from roomcast.chat.errors import (
    AnswerActive,
    ChatNotFound,
    MessageNotFound,
    NotAllowed,
    NotAMember,
    TurnLost,
    TurnNotFound,
)
from roomcast.chat.model import ChatAi, Checkpoint, Committed, Ending, StoredEvent, StoredMessage, Turn, TurnClaim
from roomcast.contract.events import TurnReason, TurnStatus
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, fresh_database, new_message

LEASE_END = START + timedelta(seconds=30)
PARTS = ({"type": "text", "text": "so far"},)
DONE = Ending(TurnStatus.COMPLETE, content="because", parts=({"type": "text", "text": "because"},), last=7)
FAILED = Ending(TurnStatus.FAILED, TurnReason.RESPONDER_ERROR)
REPLACED = (TurnStatus.STOPPED, TurnReason.REPLACED)
BY_USER = (TurnStatus.STOPPED, TurnReason.BY_USER)


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        yield opened


def question(chat_id: str = "c", **changes: object) -> NewMessage:
    return new_message(chat_id, **{"default_responder": "demo", **changes})


async def ask(store: Store, content: str = "hello", **changes: object) -> Committed:
    return await store.chats.commit(question(content=content, **changes))


async def claim(store: Store, after_s: float = 0) -> Turn | None:
    now = START + timedelta(seconds=after_s)
    return await store.turns.claim_turn(now, now + timedelta(seconds=30))


async def claim_one(store: Store, after_s: float = 0) -> Turn:
    turn = await claim(store, after_s)
    assert turn is not None
    return turn


async def begin(store: Store, after_s: float = 0) -> Turn:
    """Claims and starts the next turn."""
    turn = await claim_one(store, after_s)
    await store.turns.commit(StartTurn(turn.claim, START))
    return turn


async def answer(store: Store, ending: Ending = DONE) -> Turn:
    """Answers the next turn."""
    turn = await begin(store)
    await store.turns.commit(EndTurn(turn.claim, ending, START))
    return turn


async def page(store: Store, chat_id: str = "c") -> list[StoredMessage]:
    found, _ = await store.chats.messages(chat_id, before=None, after=0, limit=100)
    return list(found)


async def events(store: Store, chat_id: str = "c") -> list[tuple[str, Any]]:
    found, _ = await store.chats.events_after(chat_id, 0, 100)
    return [(event.type, json.loads(event.payload)) for event in found]


async def state(store: Store, turn_id: str, chat_id: str = "c") -> tuple[TurnStatus, TurnReason | None]:
    turn = await store.turns.turn(chat_id, turn_id)
    assert turn is not None
    return turn.status, turn.reason


def body(event: StoredEvent) -> Any:
    return json.loads(event.payload)


async def policy(store: Store, **changes: Any) -> None:
    """Creates the chat "c" with these settings."""
    await store.chats.commit(NewChat("c", None, ChatAi(**changes), START))


async def test_an_empty_queue_has_nothing_to_claim(store: Store) -> None:
    assert await claim(store) is None
    assert await store.turns.next_lease_end() is None


async def test_a_turn_is_claimed_with_its_message_and_the_settings_of_its_chat(store: Store) -> None:
    await policy(store, model="small", system_prompt="Be brief.", token_budget=500)
    committed = await ask(store, "why?")
    turn = await claim_one(store)
    assert (turn.chat_id, turn.message.content, turn.message.seq, turn.responder) == ("c", "why?", 1, "demo")
    assert (turn.claim.generation, turn.attempt, turn.started, turn.place, turn.checkpoint) == (1, 1, False, None, None)
    assert (turn.ai.model, turn.ai.system_prompt, turn.ai.token_budget) == ("small", "Be brief.", 500)
    assert body(committed.event)["turn"]["id"] == turn.claim.turn_id
    assert body(committed.event)["turn"]["status"] == "queued"
    assert await store.turns.next_lease_end() == LEASE_END


async def test_the_responder_of_the_chat_is_preferred_and_a_chat_without_any_is_not_answered(store: Store) -> None:
    await policy(store, responder="own")
    await ask(store)
    assert (await claim_one(store)).responder == "own"
    assert not (await ask(store, chat_id="d", default_responder=None)).turn_queued


async def test_queued_turns_are_counted(store: Store) -> None:
    assert await store.turns.waiting(START) == (0, None)
    for _ in range(3):
        await ask(store)
    await begin(store)
    assert (await store.turns.waiting(START))[0] == 2


async def test_the_oldest_turn_that_a_worker_could_claim_waits_since_its_question_or_the_end_of_a_lease(
    store: Store,
) -> None:
    async def since(after_s: float) -> datetime | None:
        return (await store.turns.waiting(START + timedelta(seconds=after_s)))[1]

    await ask(store)
    await ask(store)
    assert await since(5) == START
    await claim_one(store, 5)
    # The second question waits for the answer to the first one, and not for a worker.
    assert await since(34.9) is None
    # The worker is gone.
    assert await since(50) == START + timedelta(seconds=35)
    await ask(store, chat_id="d")
    assert await since(50) == START


async def test_a_claimed_turn_is_not_claimed_again_before_its_lease_ends(store: Store) -> None:
    await ask(store)
    first = await claim_one(store)
    assert await claim(store, 30) is None
    second = await claim_one(store, 30.001)
    assert second.claim == TurnClaim(first.claim.turn_id, 2, "c")
    assert second.attempt == 2


async def test_a_lease_from_before_the_clock_was_set_back_has_ended(store: Store) -> None:
    await ask(store)
    first = await claim_one(store)
    assert await claim(store, -30) is None  # another worker, whose clock is behind
    second = await claim_one(store, -3_600)
    assert second.claim == TurnClaim(first.claim.turn_id, 2, "c")


async def test_turns_are_claimed_in_the_order_of_their_commits_after_the_clock_was_set_back(store: Store) -> None:
    await ask(store)
    await ask(store, chat_id="d", created_at=START - timedelta(hours=1))
    assert [(await claim_one(store)).chat_id for _ in range(2)] == ["c", "d"]


async def test_a_start_gives_the_answer_its_place_for_ever(store: Store) -> None:
    await ask(store, "first")
    turn = await claim_one(store)
    await ask(store, "while the worker prepares")
    started = await store.turns.commit(StartTurn(turn.claim, START))
    await ask(store, "while it is answered")
    assert started.created
    assert (body(started.event)["place"], body(started.event)["turn"]["status"]) == (3, "streaming")
    await store.turns.commit(EndTurn(turn.claim, DONE, START))
    found = await page(store)
    assert [message.place for message in found] == [1, 2, 3, 4]
    assert (found[2].id, found[2].content, found[2].seq) == (turn.claim.turn_id, "because", 5)


async def test_a_second_start_writes_nothing_and_returns_the_first(store: Store) -> None:
    await ask(store)
    turn = await claim_one(store)
    first = await store.turns.commit(StartTurn(turn.claim, START))
    again = await claim_one(store, 99)
    assert (again.started, again.place) == (True, 2)
    for started in (
        await store.turns.commit(StartTurn(again.claim, START)),
        await store.turns.commit(StartTurn(again.claim, START)),
    ):
        assert (started.event, started.created) == (first.event, False)


async def test_an_answer_is_in_the_list_from_its_start_with_its_live_state(store: Store) -> None:
    await ask(store)
    turn = await begin(store)
    await store.turns.save_checkpoint(turn.claim, Checkpoint(4, PARTS, "ref-4"), "so far")
    asked, growing = await page(store)
    assert (growing.role, growing.content, growing.parts) == ("AI", "so far", PARTS)
    assert asked.turn == growing.turn
    assert growing.turn is not None
    assert (growing.turn.status, growing.turn.generation, growing.turn.last) == (TurnStatus.STREAMING, 1, 4)
    await store.turns.commit(EndTurn(turn.claim, DONE, START))
    asked, ended = await page(store)
    assert (ended.content, ended.parts, ended.turn) == (DONE.content, DONE.parts, asked.turn)
    assert ended == await store.chats.message("c", turn.claim.turn_id)


async def test_another_worker_receives_the_checkpoint(store: Store) -> None:
    await ask(store)
    turn = await begin(store)
    await store.turns.save_checkpoint(turn.claim, Checkpoint(4, PARTS, "ref-4"), "so far")
    assert (await claim_one(store, 99)).checkpoint == Checkpoint(4, PARTS, "ref-4")


async def test_an_end_is_one_event_with_the_whole_message(store: Store) -> None:
    await ask(store)
    turn = await answer(store)
    kinds = [kind for kind, _ in await events(store)]
    assert kinds == ["message-created", "turn-changed", "message-created"]
    _, message = (await events(store))[2]
    assert (message["id"], message["content"], message["parts"]) == (turn.claim.turn_id, "because", list(DONE.parts))
    assert (message["seq"], message["place"], message["version"], message["turn"]["last"]) == (3, 2, 1, 7)
    assert await claim(store, 99) is None
    assert await store.turns.next_lease_end() is None


async def test_an_end_without_a_text_is_a_status_event_and_leaves_an_empty_answer(store: Store) -> None:
    await ask(store)
    turn = await answer(store, FAILED)
    kind, status = (await events(store))[2]
    assert (kind, status["place"], status["turn"]["status"]) == ("turn-changed", 2, "failed")
    assert status["turn"]["reason"] == "responder-error"
    assert [message.content for message in await page(store)] == ["hello", ""]
    assert await state(store, turn.claim.turn_id) == (TurnStatus.FAILED, TurnReason.RESPONDER_ERROR)


async def test_a_turn_that_ends_before_its_start_has_no_answer_unless_it_has_a_text(store: Store) -> None:
    await ask(store)
    turn = await claim_one(store)
    await store.turns.commit(EndTurn(turn.claim, FAILED, START))
    assert [message.content for message in await page(store)] == ["hello"]
    await ask(store)
    turn = await claim_one(store)
    committed = await store.turns.commit(EndTurn(turn.claim, DONE, START))
    assert [event.type for event in committed.events] == ["turn-changed", "message-created"]
    assert [message.content for message in await page(store)] == ["hello", "hello", "because"]


async def test_a_repeat_of_an_end_returns_the_first_result(store: Store) -> None:
    await ask(store)
    turn = await begin(store)
    outcomes = await asyncio.gather(*(store.turns.commit(EndTurn(turn.claim, DONE, START)) for _ in range(3)))
    late = await store.turns.commit(EndTurn(turn.claim, FAILED, START))
    assert [outcome.created for outcome in (*outcomes, late)] == [True, False, False, False]
    assert {outcome.event.seq for outcome in (*outcomes, late)} == {3}
    assert late.event == outcomes[0].event


async def test_a_tool_call_is_an_event(store: Store) -> None:
    await ask(store)
    turn = await claim_one(store)
    with pytest.raises(TurnLost):
        await store.turns.commit(CallTool(turn.claim, "call-1", "weather", START))
    await store.turns.commit(StartTurn(turn.claim, START))
    committed = await store.turns.commit(CallTool(turn.claim, "call-1", "weather", START))
    called = body(committed.event)
    assert (committed.event.type, called["turnId"]) == ("tool-called", turn.claim.turn_id)
    assert (called["toolCallId"], called["toolName"], called["seq"]) == ("call-1", "weather", 3)


async def test_a_worker_whose_turn_was_claimed_again_writes_nothing(store: Store) -> None:
    await ask(store)
    stale = await begin(store)
    current = await claim_one(store, 99)
    for write in (
        store.turns.commit(StartTurn(stale.claim, START)),
        store.turns.commit(CallTool(stale.claim, "call", "tool", START)),
        store.turns.save_checkpoint(stale.claim, Checkpoint(9, PARTS), "stale"),
        store.turns.release_turn(stale.claim),
        store.turns.commit(EndTurn(stale.claim, FAILED, START)),
    ):
        with pytest.raises(TurnLost):
            await write
    assert (await store.turns.renew([stale.claim], LEASE_END)).lost == {stale.claim.turn_id}
    assert (await store.turns.commit(EndTurn(current.claim, DONE, START))).event.seq == 3
    with pytest.raises(TurnLost):
        await store.turns.commit(EndTurn(stale.claim, FAILED, START))
    with pytest.raises(TurnLost):
        await store.turns.save_checkpoint(current.claim, Checkpoint(9, PARTS), "after the end")
    assert [message.content for message in await page(store)] == ["hello", "because"]


async def test_renewing_extends_all_leases_and_tells_what_is_lost_or_stopping(store: Store) -> None:
    turns = []
    for chat_id in "abcd":
        await ask(store, chat_id=chat_id)
        turns.append(await begin(store))
    lost, stopped, ended, kept = turns
    current = await store.turns.claim_turn(LEASE_END + timedelta(seconds=1), LEASE_END + timedelta(seconds=40))
    assert current is not None
    assert current.chat_id == lost.chat_id
    await store.turns.commit(StopTurn("b", stopped.claim.turn_id, START))
    await store.turns.commit(EndTurn(ended.claim, DONE, START))
    renewal = await store.turns.renew([turn.claim for turn in turns], LEASE_END + timedelta(seconds=5))
    assert renewal.lost == {lost.claim.turn_id, ended.claim.turn_id}
    assert renewal.stopping == {stopped.claim.turn_id}
    assert await claim(store, 35) is None
    assert (await claim_one(store, 35.001)).chat_id == stopped.chat_id
    assert (await claim_one(store, 35.001)).chat_id == kept.chat_id


async def test_a_released_turn_is_claimed_at_once_and_the_attempt_does_not_count(store: Store) -> None:
    await ask(store)
    turn = await begin(store)
    await store.turns.release_turn(turn.claim)
    assert await store.turns.next_lease_end() is None
    again = await claim_one(store)
    assert (again.claim.generation, again.attempt, again.started) == (2, 1, True)


async def test_turns_of_one_chat_are_claimed_one_at_a_time_and_do_not_block_other_chats(store: Store) -> None:
    await ask(store, "first")
    await ask(store, "second", created_at=START - timedelta(hours=1))
    await ask(store, "other", chat_id="d", created_at=START + timedelta(seconds=1))
    first, other = await claim_one(store), await claim_one(store)
    assert (first.message.content, other.message.content) == ("first", "other")
    assert await claim(store) is None
    await store.turns.commit(EndTurn(first.claim, DONE, START))
    assert (await claim_one(store)).message.content == "second"


async def test_racing_workers_claim_each_turn_once(store: Store) -> None:
    for number in range(10):
        await ask(store, chat_id=f"c{number}")
    claimed = await asyncio.gather(*(claim(store) for _ in range(20)))
    turns = [turn.claim.turn_id for turn in claimed if turn is not None]
    assert len(turns) == len(set(turns)) == 10


async def test_the_active_turn_is_the_streaming_one_or_the_next_in_the_queue(store: Store) -> None:
    assert await store.turns.active_turn("c") is None
    await ask(store)
    await ask(store)
    first = await claim_one(store)
    for _ in range(2):
        active = await store.turns.active_turn("c")
        assert active is not None
        assert active.id == first.claim.turn_id
        await store.turns.commit(StartTurn(first.claim, START))
    await store.turns.commit(EndTurn(first.claim, DONE, START))
    active = await store.turns.active_turn("c")
    assert active is not None
    assert (active.id, active.status) != (first.claim.turn_id, TurnStatus.COMPLETE)
    assert await store.turns.turn("d", active.id) is None


async def test_the_context_has_the_last_versions_up_to_a_place(store: Store) -> None:
    asked = await ask(store, "one")
    await ask(store, "two", default_responder=None)
    await answer(store)
    await ask(store, "three", default_responder=None)
    await ask(store, "one, better", replaces=body(asked.event)["id"], default_responder=None)
    context = await store.turns.context("c", 3, 10)
    assert [message.content for message in context] == ["one, better", "two", "because"]
    assert [message.content for message in await store.turns.context("c", 5, 2)] == ["because", "three"]


# --- stop


async def test_a_stop_ends_a_queued_turn_at_once_also_if_it_is_claimed(store: Store) -> None:
    for claimed in (False, True):
        asked = await ask(store)
        turn_id = body(asked.event)["turn"]["id"]
        turn = await claim(store) if claimed else None
        stopped, committed = await store.turns.commit(StopTurn("c", turn_id, START))
        assert (stopped.status, stopped.reason) == BY_USER == await state(store, turn_id)
        assert committed is not None
        assert body(committed.event)["turn"]["reason"] == "by-user"
        if turn is not None:
            with pytest.raises(TurnLost):
                await store.turns.commit(StartTurn(turn.claim, START))
        assert await claim(store, 99) is None


async def test_a_stop_of_a_streaming_turn_is_a_mark_that_outlives_the_worker(store: Store) -> None:
    await ask(store)
    turn = await begin(store)
    stopped, committed = await store.turns.commit(StopTurn("c", turn.claim.turn_id, START))
    assert (stopped.status, committed) == (TurnStatus.STREAMING, None)
    assert (await store.turns.renew([turn.claim], LEASE_END)).stopping == {turn.claim.turn_id}
    assert (await claim_one(store, 99)).stopping


async def test_a_stop_of_an_ended_turn_changes_nothing(store: Store) -> None:
    await ask(store)
    turn = await answer(store)
    stopped, committed = await store.turns.commit(StopTurn("c", turn.claim.turn_id, START))
    assert (stopped.status, committed) == (TurnStatus.COMPLETE, None)
    assert await state(store, turn.claim.turn_id) == (TurnStatus.COMPLETE, None)


async def test_only_members_stop_and_regenerate_and_only_turns_of_the_chat(store: Store) -> None:
    await store.chats.commit(NewChat("c", None, None, START, "ann"))
    await ask(store)
    turn = await answer(store)
    await ask(store, chat_id="d")
    other = await answer(store)
    for chat_id, turn_id, member, error in (
        ("c", turn.claim.turn_id, "eve", NotAMember),
        ("nowhere", turn.claim.turn_id, None, ChatNotFound),
        ("c", other.claim.turn_id, "ann", TurnNotFound),
        ("c", "unknown", "ann", TurnNotFound),
    ):
        with pytest.raises(error):
            await store.turns.commit(StopTurn(chat_id, turn_id, START, member))
        with pytest.raises(error):
            await store.turns.commit(NewVersion(chat_id, turn_id, START, member))


# --- policies


async def test_a_chat_that_never_answers_or_is_not_mentioned_queues_nothing(store: Store) -> None:
    await policy(store, answers="never")
    assert not (await ask(store, "@ai hello")).turn_queued
    await store.chats.commit(ChangeAi("c", ChatAi(answers="mention"), START))
    assert not (await ask(store, "hello")).turn_queued
    assert (await ask(store, "hello @ai")).turn_queued
    assert (await ask(store, "@demo hello")).turn_queued


async def test_queue_answers_every_question_in_order(store: Store) -> None:
    for content in ("one", "two", "three"):
        await ask(store, content)
    assert [(await answer(store)).message.content for _ in range(3)] == ["one", "two", "three"]


async def test_latest_ends_the_waiting_turns_in_the_transaction_of_the_message(store: Store) -> None:
    await policy(store, when_active="latest")
    await ask(store, "streams")
    streaming = await begin(store)
    waits = await ask(store, "waits")
    newest = await ask(store, "newest")
    assert [(event.type, event.seq) for event in newest.events] == [("turn-changed", 4), ("message-created", 5)]
    assert (
        body(newest.events[0])["turn"] | {"status": "stopped", "reason": "replaced"} == body(newest.events[0])["turn"]
    )
    assert await state(store, body(waits.event)["turn"]["id"]) == REPLACED
    assert (await state(store, streaming.claim.turn_id))[0] is TurnStatus.STREAMING
    await store.turns.commit(EndTurn(streaming.claim, DONE, START))
    assert (await answer(store)).message.content == "newest"


async def test_latest_within_one_transaction_leaves_one_turn(store: Store) -> None:
    await policy(store, when_active="latest")
    outcomes = await asyncio.gather(*(ask(store, str(number)) for number in range(5)))
    assert (await answer(store)).message.content == "4"
    assert await claim(store) is None
    assert sum(len(outcome.before) for outcome in outcomes) == 4
    seqs = [event.seq for outcome in outcomes for event in outcome.events]
    assert seqs == list(range(1, 10))


async def test_reject_refuses_a_question_while_a_turn_is_active_and_returns_repeats(store: Store) -> None:
    await policy(store, when_active="reject")
    first = await ask(store, client_msg_id="k")
    with pytest.raises(AnswerActive):
        await ask(store, client_msg_id="l")
    assert (await ask(store, client_msg_id="k")).event == first.event
    assert [message.content for message in await page(store)] == ["hello"]
    assert not (await ask(store, default_responder=None)).turn_queued  # asks for nothing
    await answer(store)
    assert (await ask(store, client_msg_id="l")).turn_queued


async def test_reject_within_one_transaction_accepts_one_question(store: Store) -> None:
    await policy(store, when_active="reject")
    outcomes = await asyncio.gather(*(ask(store) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Committed] + [AnswerActive] * 4


async def test_settings_change_for_the_next_message_also_in_one_transaction(store: Store) -> None:
    await store.chats.commit(NewChat("c", None, None, START, "ann"))
    waits = await ask(store, "waits")
    change = ChangeAi("c", ChatAi(when_active="latest"), START, "ann")
    _, newest = await asyncio.gather(store.chats.commit(change), ask(store, "newest"))
    assert len(newest.before) == 1
    assert await state(store, body(waits.event)["turn"]["id"]) == REPLACED
    chat = await store.chats.chat("c")
    assert chat is not None
    assert (chat.ai, chat.last_seq) == (change.ai, 4)
    for chat_id, member, error in (("c", "eve", NotAMember), ("d", None, ChatNotFound)):
        with pytest.raises(error):
            await store.chats.commit(ChangeAi(chat_id, ChatAi(), START, member))


# --- versions


async def test_a_new_version_takes_the_place_of_the_answer_and_the_earlier_one_stays_readable(store: Store) -> None:
    await ask(store, "why?")
    first = await answer(store)
    await ask(store, "later", default_responder=None)
    queued, committed = await store.turns.commit(NewVersion("c", first.claim.turn_id, START))
    status = body(committed.event)
    assert (status["place"], status["version"], status["turn"]["id"]) == (2, 2, queued.id)
    assert [message.content for message in await page(store)] == ["why?", "because", "later"]
    assert (await page(store))[0].turn == queued
    turn = await claim_one(store)
    assert (turn.claim.turn_id, turn.message.content, turn.place) == (queued.id, "why?", 2)
    await store.turns.commit(StartTurn(turn.claim, START))
    await store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content="or else"), START))
    assert [(message.place, message.content) for message in await page(store)] == [
        (1, "why?"),
        (2, "or else"),
        (4, "later"),
    ]
    for message_id in (first.claim.turn_id, queued.id):
        versions = await store.chats.versions("c", message_id, 10)
        assert [(version.version, version.content) for version in versions] == [(1, "because"), (2, "or else")]
    assert [version.version for version in await store.chats.versions("c", queued.id, 1)] == [2]
    assert await store.chats.versions("d", queued.id, 10) == []


async def test_only_one_new_version_at_a_time_and_none_of_an_unfinished_turn(store: Store) -> None:
    await ask(store)
    turn = await begin(store)
    with pytest.raises(AnswerActive):
        await store.turns.commit(NewVersion("c", turn.claim.turn_id, START))
    await store.turns.commit(EndTurn(turn.claim, DONE, START))
    new = NewVersion("c", turn.claim.turn_id, START)
    outcomes = await asyncio.gather(*(store.turns.commit(new) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [tuple, AnswerActive, AnswerActive]


async def test_versions_have_no_gap_after_a_new_version_was_stopped_before_its_start(store: Store) -> None:
    await ask(store)
    turn = await answer(store)
    stopped, _ = await store.turns.commit(NewVersion("c", turn.claim.turn_id, START))
    await store.turns.commit(StopTurn("c", stopped.id, START))
    again, _ = await store.turns.commit(NewVersion("c", stopped.id, START))
    await answer(store)
    versions = await store.chats.versions("c", again.id, 10)
    assert [(version.id, version.version) for version in versions] == [(turn.claim.turn_id, 1), (again.id, 2)]


async def test_a_turn_without_an_answer_is_answered_at_a_new_place(store: Store) -> None:
    asked = await ask(store)
    turn_id = body(asked.event)["turn"]["id"]
    await store.turns.commit(StopTurn("c", turn_id, START))
    await store.turns.commit(NewVersion("c", turn_id, START))
    await answer(store)
    assert [(message.place, message.version) for message in await page(store)] == [(1, 1), (4, 1)]


@pytest.mark.parametrize(("when_active", "refused"), [("queue", False), ("latest", False), ("reject", True)])
async def test_a_new_version_follows_the_policy(store: Store, when_active: Any, refused: bool) -> None:
    await ask(store, "one")
    turn = await answer(store)
    await store.chats.commit(ChangeAi("c", ChatAi(when_active=when_active), START))
    await ask(store, "two")
    await begin(store)
    new = NewVersion("c", turn.claim.turn_id, START)
    if refused:
        with pytest.raises(AnswerActive):
            await store.turns.commit(new)
        return
    await ask(store, "three")
    _, committed = await store.turns.commit(new)
    assert len(committed.before) == (1 if when_active == "latest" else 0)


async def test_an_edit_is_a_new_version_with_a_new_answer(store: Store) -> None:
    await store.chats.commit(NewChat("c", None, None, START, "ann"))
    asked = await ask(store, "wyh?")
    await answer(store)
    await ask(store, "later", default_responder=None)
    edit = question(content="why?", replaces=body(asked.event)["id"], member="ann", client_msg_id="k")
    edited = await store.chats.commit(edit)
    message = body(edited.event)
    assert (message["place"], message["version"], message["userId"], message["seq"]) == (2, 2, "ann", 6)
    assert not (await store.chats.commit(edit)).created
    turn = await answer(store)
    assert (turn.message.content, turn.place) == ("why?", 3)
    assert [(message.place, message.version, message.content) for message in await page(store)] == [
        (2, 2, "why?"),
        (3, 2, "because"),
        (5, 1, "later"),
    ]
    # A version of an earlier version is one of the last one.
    again = await ask(store, "why not?", replaces=body(asked.event)["id"])
    assert body(again.event)["version"] == 3
    assert [version.content for version in await store.chats.versions("c", message["id"], 10)] == [
        "wyh?",
        "why?",
        "why not?",
    ]


async def test_an_edit_ends_the_turn_of_the_earlier_version(store: Store) -> None:
    asked = await ask(store, "one")
    first = body(asked.event)
    edited = await ask(store, "two", replaces=first["id"])
    assert await state(store, first["turn"]["id"]) == REPLACED
    streaming = await begin(store)
    await ask(store, "three", replaces=body(edited.event)["id"])
    assert (await store.turns.renew([streaming.claim], LEASE_END)).stopping == {streaming.claim.turn_id}
    assert await claim(store) is None
    stopped = Ending(*BY_USER, content="half")
    await store.turns.commit(EndTurn(streaming.claim, stopped, START))
    await answer(store)
    assert [(message.version, message.content) for message in await page(store)] == [(3, "three"), (2, "because")]


async def test_regenerating_an_answer_to_an_earlier_version_answers_the_last_one(store: Store) -> None:
    asked = await ask(store, "one")
    first = await answer(store)
    await ask(store, "two", replaces=body(asked.event)["id"])
    second = await begin(store)
    with pytest.raises(AnswerActive):
        await store.turns.commit(NewVersion("c", first.claim.turn_id, START))
    await store.turns.commit(EndTurn(second.claim, DONE, START))
    await store.turns.commit(NewVersion("c", first.claim.turn_id, START))
    assert (await answer(store)).message.content == "two"
    assert [message.version for message in await page(store)] == [2, 3]


async def test_only_the_author_edits_a_message_and_only_one_of_a_user_in_the_chat(store: Store) -> None:
    await store.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
    mine = body((await ask(store)).event)["id"]
    turn = await answer(store)
    await ask(store, chat_id="d")
    for replaces, member, error in (
        (mine, "bob", NotAllowed),
        (mine, "eve", NotAMember),
        (turn.claim.turn_id, "ann", NotAllowed),
        (turn.claim.turn_id, None, NotAllowed),
        ("unknown", "ann", MessageNotFound),
    ):
        with pytest.raises(error):
            await ask(store, replaces=replaces, member=member)
    with pytest.raises(MessageNotFound):
        await ask(store, chat_id="d", replaces=mine)
    assert len(await page(store)) == 2


async def test_pages_are_made_of_places(store: Store) -> None:
    asked = [await ask(store, str(number), default_responder=None) for number in range(4)]
    await ask(store, "1 again", replaces=body(asked[1].event)["id"], default_responder=None)
    pages = [
        await store.chats.messages("c", before=before, after=after, limit=2)
        for before, after in ((None, None), (3, None), (None, 0), (None, 2))
    ]
    assert [[message.content for message in found] for found, _ in pages] == [
        ["2", "3"],
        ["0", "1 again"],
        ["0", "1 again"],
        ["2", "3"],
    ]
    assert {head for _, head in pages} == {5}


async def test_on_sqlite_active_turns_can_be_claimed_at_once_after_a_restart(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        await ask(store)
        first = await begin(store)
    async with open_store(fresh_database(tmp_path)) as store:
        again = await claim_one(store)
    assert again.claim == TurnClaim(first.claim.turn_id, 2, "c")
    assert again.started


async def test_settings_that_change_while_the_chat_is_created_are_kept(store: Store) -> None:
    never = ChatAi(answers="never")
    await asyncio.gather(
        store.chats.commit(NewChat("c", None, None, START)), store.chats.commit(ChangeAi("c", never, START))
    )
    chat = await store.chats.chat("c")
    assert chat is not None
    assert chat.ai == never
