"""The contract of the command that stores events of applications, over every store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from roomcast.chat.commands import CustomEvent, NewChat, NewCustomEvents
from roomcast.chat.errors import ChatNotFound
from roomcast.contract.events import EventType
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        for chat_id in ("c", "d"):
            await opened.chats.commit(NewChat(chat_id, None, None, START))
        yield opened


def events(*keys: tuple[str, str]) -> NewCustomEvents:
    given = tuple(CustomEvent(chat_id, event_id, "order.paid", {"n": 1}) for chat_id, event_id in keys)
    return NewCustomEvents(given, START, alone=len(given) > 1)


async def test_an_event_is_stored_once_with_the_next_seq_of_its_chat(store: Store) -> None:
    await store.chats.commit(new_message())
    ((seq, stored),) = await store.chats.commit(events(("c", "e-1")))
    assert (seq, stored and stored.type) == (2, EventType.CUSTOM)
    assert stored is not None
    assert json.loads(stored.payload) == {
        "chatId": "c",
        "epoch": store.chats.epoch,
        "seq": 2,
        "time": "2026-01-02T03:04:05.678Z",
        "id": "e-1",
        "name": "order.paid",
        "data": {"n": 1},
    }
    assert await store.chats.commit(events(("c", "e-1"))) == ((2, None),)
    assert [seq for seq, _ in await store.chats.commit(events(("d", "e-1")))] == [1]
    found, head = await store.chats.events_after("c", 0, 10)
    assert ([event.payload for event in found][1:], head) == ([stored.payload], 2)


async def test_a_batch_is_stored_in_order_and_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(ChatNotFound):
        await store.chats.commit(events(("c", "e-1"), ("none", "e-1")))
    results = await store.chats.commit(events(("c", "e-1"), ("d", "e-1"), ("c", "e-2"), ("c", "e-1")))
    assert [(seq, stored is not None) for seq, stored in results] == [(1, True), (1, True), (2, True), (1, False)]


async def test_concurrent_repeats_store_one_event(store: Store) -> None:
    commands = [events(("c", "e-1")), events(("c", "e-1"), ("c", "e-2")), events(("c", "e-2")), events(("c", "e-1"))]
    results = await asyncio.gather(*map(store.chats.commit, commands))
    assert [[seq for seq, _ in result] for result in results] == [[1], [1, 2], [2], [1]]
    assert sum(stored is not None for result in results for _, stored in result) == 2
