"""Quotas of AI answers and tokens, over every store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from roomcast.chat.commands import ChangeAi, EndTurn, NewChat, NewVersion, StartTurn
from roomcast.chat.errors import QuotaReached
from roomcast.chat.model import Caller, ChatAi, Ending, Turn
from roomcast.chat.policies.quotas import Quotas
from roomcast.chat.use_cases.publishing import EventPublisher
from roomcast.chat.use_cases.turns import Turns
from roomcast.contract.events import TurnStatus
from roomcast.contract.tenants import SEPARATOR, qualify
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, FixedClock, new_message

WINDOW = Quotas().window(START)


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        await opened.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        yield opened


def question(chat_id: str = "c", user: str = "ann", *, quotas: Quotas, **changes: Any) -> Any:
    values = {"user_id": user, "member": user, "default_responder": "demo", "quotas": quotas, "creates": None}
    return new_message(chat_id, **(values | changes))


async def answer(store: Store, quotas: Quotas | None, ending: Ending) -> Turn:
    turn = await store.turns.claim_turn(START, START)
    assert turn is not None
    await store.turns.commit(StartTurn(turn.claim, START))
    for _ in range(2):  # the repeat is not counted
        await store.turns.commit(EndTurn(turn.claim, ending, START, quotas))
    return turn


async def test_answers_are_counted_exactly_over_chats_and_replicas(database_options: DatabaseOptions) -> None:
    quotas = Quotas(user_turns=25)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(open_store(database_options))]
        if database_options.url.startswith("postgresql"):  # one process at a time uses a file
            stores.append(await stack.enter_async_context(open_store(database_options)))
        for number in range(4):
            await stores[0].chats.commit(NewChat(f"c{number}", None, None, START, "ann", ()))
        sends = [
            store.chats.commit(question(f"c{number % 4}", quotas=quotas)) for number in range(40) for store in stores
        ]
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert {type(error) for error in refused} == {QuotaReached}
        assert len(outcomes) - len(refused) == 25
        assert await stores[-1].turns.used("ann", WINDOW) == (25, 0)


async def test_a_refused_message_is_not_stored_and_one_without_an_answer_is(store: Store) -> None:
    quotas = Quotas(user_turns=1)
    await store.chats.commit(question(quotas=quotas, client_msg_id="k"))
    await store.chats.commit(question(quotas=quotas, client_msg_id="k"))  # a repeat
    head = (await store.chats.access("c", None, None)).last_seq
    with pytest.raises(QuotaReached) as refused:
        await store.chats.commit(question(quotas=quotas))
    ends = WINDOW + timedelta(days=1) - START
    assert (refused.value.limit, refused.value.retry_after_s) == ("user-turns", ends.seconds + 1)
    assert (await store.chats.access("c", None, None)).last_seq == head
    await store.chats.commit(question(user="bob", quotas=quotas))
    await store.chats.commit(ChangeAi("c", ChatAi(answers="mention"), START))
    await store.chats.commit(question(quotas=quotas))
    with pytest.raises(QuotaReached):
        await store.chats.commit(question(quotas=quotas, content="@ai hello"))
    later = START + timedelta(days=1)
    await store.chats.commit(question(quotas=quotas, content="@ai hello", created_at=later))
    assert await store.turns.used("ann", quotas.window(later)) == (1, 0)


async def test_tokens_are_counted_at_the_end_and_a_regeneration_counts_as_an_answer(store: Store) -> None:
    quotas = Quotas(user_turns=2, user_tokens=1_000)
    await store.chats.commit(question(quotas=quotas))
    turn = await answer(store, quotas, Ending(TurnStatus.COMPLETE, content="a", input_tokens=900, output_tokens=50))
    assert await store.turns.used("ann", WINDOW) == (1, 950)
    again = NewVersion("c", turn.claim.turn_id, START, "ann", quotas=quotas)
    await store.chats.commit(again)
    await answer(store, quotas, Ending(TurnStatus.COMPLETE, content="b", input_tokens=900))
    assert await store.turns.used("ann", WINDOW) == (2, 1_850)
    for limits, name in ((quotas, "user-turns"), (Quotas(user_turns=0, user_tokens=1_000), "user-tokens")):
        with pytest.raises(QuotaReached, match=name):
            await store.chats.commit(NewVersion("c", turn.claim.turn_id, START, "ann", quotas=limits))


async def test_an_answer_counts_for_the_user_that_asks_for_it_not_for_the_author_of_the_question(store: Store) -> None:
    quotas = Quotas()
    await store.chats.commit(question(quotas=quotas))
    turn = await answer(store, quotas, Ending(TurnStatus.COMPLETE, content="a", input_tokens=5))
    for member in ("bob", None):  # None: a service
        await store.chats.commit(NewVersion("c", turn.claim.turn_id, START, member, quotas=quotas))
        turn = await answer(store, quotas, Ending(TurnStatus.COMPLETE, content="b", input_tokens=70))
    assert [await store.turns.used(user, WINDOW) for user in ("ann", "bob")] == [(1, 5), (1, 70)]


async def test_the_users_of_a_tenant_share_its_quota_and_read_it(store: Store) -> None:
    quotas = Quotas(user_turns=5, tenant_turns=2)
    ann, bob = (qualify("acme", name) for name in ("ann", "bob"))
    chat_id = qualify("acme", "c")
    await store.chats.commit(NewChat(chat_id, None, None, START, ann, (bob,)))
    for user in (ann, bob):
        await store.chats.commit(question(chat_id, user, quotas=quotas))
    with pytest.raises(QuotaReached, match="tenant-turns"):
        await store.chats.commit(question(chat_id, ann, quotas=quotas))
    await store.chats.commit(question(quotas=quotas))  # of the default tenant
    assert await store.turns.used("acme" + SEPARATOR, WINDOW) == (2, 0)
    publisher: EventPublisher = None  # type: ignore[assignment]  # reading publishes nothing
    turns = Turns(store.turns, publisher, MemoryEventLog(), quotas=quotas, clock=FixedClock())
    resets_at, uses = await turns.quota_use(Caller(ann))
    assert resets_at == WINDOW + timedelta(days=1)
    assert uses == [("user-turns", 1, 5), ("tenant-turns", 2, 2)]
    assert await turns.quota_use(Caller(service=True)) == (None, ())
