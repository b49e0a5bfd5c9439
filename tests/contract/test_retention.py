"""Chats delete their old messages: the use case and its command, over every store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from roomcast.chat.commands import ChangeChat, EndTurn, NewChat, Pin, React, StartTurn
from roomcast.chat.errors import RightMissing, TurnLost
from roomcast.chat.model import ANYONE, Caller, Ending, StoredEvent
from roomcast.chat.policies.search_terms import parse_query
from roomcast.chat.use_cases.keeping import Keeping
from roomcast.chat.use_cases.publishing import Publishing
from roomcast.contract.cursor import Cursor
from roomcast.contract.events import EventType, TurnStatus
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, FixedClock, new_message


class Published:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []

    def offer(self, events: tuple[StoredEvent, ...]) -> None:
        self.events += events

    def request_sweep(self) -> None:
        raise AssertionError("no outcome is unknown")


@dataclass
class Parts:
    store: Store
    keeping: Keeping
    published: Published
    clock: FixedClock

    async def contents(self, chat_id: str = "c") -> list[str]:
        messages, _ = await self.store.chats.messages(chat_id, before=None, after=None, limit=500)
        return [message.content for message in messages]

    async def payloads(self, chat_id: str = "c") -> str:
        events, _ = await self.store.chats.events_after(chat_id, 0, 9_999)
        return "".join(event.payload.decode() for event in events)


@pytest.fixture
async def parts(database_options: DatabaseOptions) -> AsyncIterator[Parts]:
    async with open_store(database_options) as store:
        published, clock = Published(), FixedClock()
        await store.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        keeping = Keeping(store.chats, Publishing(published, None, lambda: None), clock)
        yield Parts(store, keeping, published, clock)


async def test_messages_are_deleted_with_all_that_repeats_them_and_newer_ones_stay(parts: Parts) -> None:
    chats, turns = parts.store.chats, parts.store.turns
    old = new_message(content="old @bob", member="ann", default_responder="demo")
    await chats.commit(old)
    turn = await turns.claim_turn(START, START)
    assert turn is not None
    await turns.commit(StartTurn(turn.claim, START))
    await turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content="old answer"), START))
    await chats.commit(Pin("c", old.id, True, START))
    await chats.commit(React("c", old.id, "👍", "bob", True, START))
    edited_at = START + timedelta(days=5)
    await chats.commit(new_message(content="old edit", replaces=old.id, created_at=edited_at, creates=None))
    await chats.commit(new_message(content="new", created_at=edited_at))
    head = (await chats.access("c", None, None)).last_seq
    assert await parts.keeping.retain(Caller("ann"), "c", 3)
    assert not await parts.keeping.retain(Caller("ann"), "c", 3)

    await parts.keeping.expire_messages(0)
    assert "old edit" in await parts.contents()  # they are just as old as the chat keeps them
    parts.clock.advance(3 * 86_400 + 1)
    await parts.keeping.expire_messages(0)

    assert await parts.contents() == ["new"]
    assert "old" not in await parts.payloads()
    events, last = await chats.events_after("c", 0, 999)
    assert [event.seq for event in events] == list(range(1, last + 1))
    expired = parts.published.events[-1]
    assert (expired.type, last) == (EventType.MESSAGES_EXPIRED, head + 2)
    assert json.loads(expired.payload)["through"] == json.loads(events[4].payload)["place"]
    found, _ = await parts.store.search.search(parse_query("old"), chat_id=None, member=None, before=99, limit=9)
    assert found == []
    chat = await chats.chat("c", "bob")
    assert chat is not None
    assert (chat.unread, chat.mentions, chat.retention_days) == (1, 0, 3)
    assert await chats.pinned("c") == []
    assert (await chats.access("c", "ann", Cursor(epoch=chats.epoch, seq=3))).cursor_valid


async def test_the_default_is_that_of_the_deployment_and_0_keeps_all(parts: Parts) -> None:
    for chat_id, days in (("own", 9), ("never", 0), ("default", None)):
        await parts.store.chats.commit(new_message(chat_id, "text"))
        await parts.store.chats.commit(ChangeChat(chat_id, START, retention_days=days, retains=True))
    parts.clock.advance(5 * 86_400)
    await parts.keeping.expire_messages(0)
    assert [await parts.contents(name) for name in ("own", "never", "default")] == [["text"]] * 3
    await parts.keeping.expire_messages(4)
    assert [await parts.contents(name) for name in ("own", "never", "default")] == [["text"], ["text"], []]


async def test_many_messages_are_deleted_in_steps_and_an_answer_in_progress_keeps_its_question(parts: Parts) -> None:
    for number in range(130):
        await parts.store.chats.commit(new_message(content=f"{number}"))
    await parts.store.chats.commit(new_message(content="question", default_responder="demo"))
    parts.clock.advance(2 * 86_400)
    turn = await parts.store.turns.claim_turn(START, START)
    assert turn is not None
    await parts.store.turns.commit(StartTurn(turn.claim, parts.clock.now()))
    await parts.keeping.expire_messages(1)
    assert (await parts.contents())[0] == "100"
    await parts.store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.STOPPED, content="new"), parts.clock.now()))
    await parts.keeping.expire_messages(1)
    assert await parts.contents() == ["new"]
    assert [event.type for event in parts.published.events] == [EventType.MESSAGES_EXPIRED] * 2
    await parts.keeping.expire_messages(1)
    assert len(parts.published.events) == 2


@pytest.mark.parametrize("started", [False, True])
async def test_an_answer_that_no_worker_ends_keeps_its_question_for_a_day(parts: Parts, started: bool) -> None:
    await parts.store.chats.commit(new_message(content="question", default_responder="demo"))
    turn = await parts.store.turns.claim_turn(START, START)
    assert turn is not None
    if started:
        await parts.store.turns.commit(StartTurn(turn.claim, START))
    parts.clock.advance(86_400)
    await parts.keeping.expire_messages(1)
    assert "question" in await parts.contents()
    parts.clock.advance(1)
    await parts.keeping.expire_messages(1)
    assert "question" not in await parts.contents()
    ended, expired = parts.published.events
    assert json.loads(ended.payload)["turn"]["status"] == "failed"
    assert expired.type == EventType.MESSAGES_EXPIRED
    with pytest.raises(TurnLost):
        await parts.store.turns.commit(EndTurn(turn.claim, Ending(TurnStatus.COMPLETE, content="late"), START))


async def test_without_a_default_only_chats_that_delete_messages_are_read(parts: Parts) -> None:
    await parts.store.chats.commit(ChangeChat("c", START, retention_days=0, retains=True))
    for chat_id in ("d", "e"):
        await parts.store.chats.commit(new_message(chat_id))
    await parts.store.chats.commit(ChangeChat("e", START, retention_days=3, retains=True))
    read = {every: [chat.id for chat in await parts.store.chats.aging("", 9, every=every)] for every in (False, True)}
    assert read == {False: ["e"], True: ["c", "d", "e"]}


async def test_only_owners_and_services_change_the_retention(parts: Parts) -> None:
    with pytest.raises(RightMissing):
        await parts.keeping.retain(Caller("bob"), "c", 1)
    assert await parts.keeping.retain(ANYONE, "c", 1)
