"""The contract of `chat.ports.TurnStore`, over every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from roomcast.chat.errors import TurnLost
from roomcast.chat.model import NewChat, NewMessage, Turn, TurnClaim
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, fresh_database, new_message

LEASE_END = START + timedelta(seconds=30)


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        yield opened


def question(chat_id: str = "c", **changes: object) -> NewMessage:
    return new_message(chat_id, creates=NewChat(chat_id, None, "demo", START), **changes)


def answer(turn: Turn) -> NewMessage:
    return new_message(
        turn.chat_id, "answer", role="AI", ends=turn.claim, creates=None, client_msg_id=f"turn:{turn.claim.turn_id}"
    )


async def claim(store: Store, after_s: float = 0) -> Turn | None:
    now = START + timedelta(seconds=after_s)
    return await store.turns.claim_turn(now, now + timedelta(seconds=30))


async def claim_one(store: Store, after_s: float = 0) -> Turn:
    turn = await claim(store, after_s)
    assert turn is not None
    return turn


async def test_an_empty_queue_has_nothing_to_claim(store: Store) -> None:
    assert await claim(store) is None
    assert await store.turns.next_lease_end() is None


async def test_a_turn_is_claimed_with_its_message(store: Store) -> None:
    await store.chats.append_message(question(content="why?"))
    turn = await claim_one(store)
    assert (turn.chat_id, turn.message.content, turn.message.seq, turn.responder) == ("c", "why?", 1, "demo")
    assert (turn.claim.generation, turn.attempt) == (1, 1)
    assert await store.turns.next_lease_end() == LEASE_END


async def test_a_claimed_turn_is_not_claimed_again_before_its_lease_ends(store: Store) -> None:
    await store.chats.append_message(question())
    first = await claim_one(store)
    assert await claim(store, 30) is None
    second = await claim_one(store, 30.001)
    assert second.claim == TurnClaim(first.claim.turn_id, 2)


async def test_a_lease_from_before_the_clock_was_set_back_has_ended(store: Store) -> None:
    await store.chats.append_message(question())
    first = await claim_one(store)
    assert await claim(store, -30) is None  # another worker, whose clock is behind
    second = await claim_one(store, -3_600)
    assert second.claim == TurnClaim(first.claim.turn_id, 2)


async def test_turns_are_claimed_in_the_order_of_their_commits_after_the_clock_was_set_back(store: Store) -> None:
    await store.chats.append_message(question("c"))
    await store.chats.append_message(question("d", created_at=START - timedelta(hours=1)))
    assert [(await claim_one(store)).chat_id for _ in range(2)] == ["c", "d"]


async def test_an_extended_lease_ends_later(store: Store) -> None:
    await store.chats.append_message(question())
    turn = await claim_one(store)
    await store.turns.extend_lease(turn.claim, LEASE_END + timedelta(seconds=5))
    assert await claim(store, 35) is None
    assert await claim(store, 35.001) is not None


async def test_an_answer_ends_its_turn_in_the_same_commit(store: Store) -> None:
    await store.chats.append_message(question())
    turn = await claim_one(store)
    committed = await store.chats.append_message(answer(turn))
    assert (committed.event.seq, committed.turn_queued) == (2, False)
    assert await claim(store, 99) is None
    assert await store.turns.next_lease_end() is None


async def test_a_worker_whose_turn_was_claimed_again_writes_nothing(store: Store) -> None:
    await store.chats.append_message(question())
    stale = await claim_one(store)
    current = await claim_one(store, 99)
    with pytest.raises(TurnLost):
        await store.chats.append_message(answer(stale))
    with pytest.raises(TurnLost):
        await store.turns.extend_lease(stale.claim, LEASE_END)
    with pytest.raises(TurnLost):
        await store.turns.fail_turn(stale.claim, "late")
    assert (await store.chats.append_message(answer(current))).event.seq == 2


async def test_two_answers_to_one_turn_are_one_message(store: Store) -> None:
    await store.chats.append_message(question())
    turn = await claim_one(store)
    outcomes = await asyncio.gather(*(store.chats.append_message(answer(turn)) for _ in range(3)))
    assert [outcome.created for outcome in outcomes] == [True, False, False]
    assert (await store.chats.events_after("c", 0, 9))[1] == 2


async def test_a_failed_turn_is_neither_claimed_nor_answered(store: Store) -> None:
    await store.chats.append_message(question())
    turn = await claim_one(store)
    await store.turns.fail_turn(turn.claim, "no model")
    assert await claim(store, 99) is None
    with pytest.raises(TurnLost):
        await store.chats.append_message(answer(turn))


async def test_turns_of_one_chat_are_claimed_one_at_a_time_and_do_not_block_other_chats(store: Store) -> None:
    await store.chats.append_message(question("c", content="first"))
    await store.chats.append_message(question("c", content="second", created_at=START - timedelta(hours=1)))
    await store.chats.append_message(question("d", content="other", created_at=START + timedelta(seconds=1)))
    first, other = await claim_one(store), await claim_one(store)
    assert (first.message.content, other.message.content) == ("first", "other")
    assert await claim(store) is None
    await store.chats.append_message(answer(first))
    assert (await claim_one(store)).message.content == "second"


async def test_racing_workers_claim_each_turn_once(store: Store) -> None:
    for number in range(10):
        await store.chats.append_message(question(f"c{number}"))
    claimed = await asyncio.gather(*(claim(store) for _ in range(20)))
    turns = [turn.claim.turn_id for turn in claimed if turn is not None]
    assert len(turns) == len(set(turns)) == 10


async def test_recent_messages_end_at_the_requested_seq(store: Store) -> None:
    for number in range(5):
        await store.chats.append_message(new_message(content=str(number)))
    history = await store.turns.recent_messages("c", 4, 2)
    assert [message.content for message in history] == ["2", "3"]


async def test_on_sqlite_running_turns_can_be_claimed_at_once_after_a_restart(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        await store.chats.append_message(question())
        first = await claim_one(store)
    async with open_store(fresh_database(tmp_path)) as store:
        again = await claim_one(store)
    assert again.claim == TurnClaim(first.claim.turn_id, 2)
