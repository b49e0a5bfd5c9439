"""The contract of the events of all chats in one order, over every store."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from roomcast.chat.commands import CustomEvent, DeleteChat, MarkPublished, NewChat, NewCustomEvents
from roomcast.chat.use_cases.feed import Feed
from roomcast.contract.cursor import Cursor
from roomcast.contract.tenants import qualify
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions
from support.backend import START, new_message

CHATS = [f"c{number}" for number in range(12)]


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        for chat_id in CHATS:
            await opened.chats.commit(NewChat(chat_id, None, None, START))
        yield opened


async def read_all(store: Store, cursor: Cursor | None = None, limit: int = 7) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    more = True
    while more:
        read, more = await Feed(store.feed).read("", cursor, limit, 0)
        assert not read.reset
        found += [(event.chat_id, event.seq) for event in read.events]
        cursor = read.cursor
    return found


async def test_all_events_are_read_once_also_from_a_cursor_in_between(store: Store) -> None:
    for chat_id in CHATS[:3] * 4:
        await store.chats.commit(new_message(chat_id))
    everything = await read_all(store)
    assert sorted(everything) == sorted((chat_id, seq) for chat_id in CHATS[:3] for seq in range(1, 5))
    assert await read_all(store) == everything
    read, more = await Feed(store.feed).read("", None, 5, 0)
    assert (len(read.events), more) == (5, True)
    assert await read_all(store, read.cursor) == everything[5:]
    await store.chats.commit(new_message("c9"))
    assert await read_all(store, read.cursor) == [*everything[5:], ("c9", 1)]


async def test_a_reader_waits_for_the_next_event(store: Store) -> None:
    waiting = asyncio.create_task(Feed(store.feed).read("", None, 5, 30))
    await store.chats.commit(new_message("c1"))
    read, more = await waiting
    assert ([event.chat_id for event in read.events], more) == (["c1"], False)


async def test_a_tenant_reads_its_own_events_and_gets_past_those_of_others(store: Store) -> None:
    own = qualify("acme", "c1")
    await store.chats.commit(NewChat(own, None, None, START))
    for chat_id in ("c1", "c2", own, "c3"):
        await store.chats.commit(new_message(chat_id))
    found: list[str] = []
    cursor, more = None, True
    while more:
        read, more = await Feed(store.feed).read("acme", cursor, 2, 0)
        found += [event.chat_id for event in read.events]
        cursor = read.cursor
    assert (found, await read_all(store)) == ([own], [("c1", 1), ("c2", 1), ("c3", 1)])


async def test_a_cursor_of_another_history_begins_anew(store: Store) -> None:
    await store.chats.commit(new_message("c1"))
    (read, _) = await Feed(store.feed).read("", None, 5, 0)
    for cursor in (Cursor(epoch="other", seq=1), Cursor(epoch=store.chats.epoch, seq=read.cursor.seq + 1)):
        anew, more = await Feed(store.feed).read("", cursor, 5, 0)
        assert (anew.reset, anew.events, anew.cursor.seq, more) == (True, (), 0, False)


async def test_a_reader_goes_on_after_a_deletion_that_erased_all_it_has_read(store: Store) -> None:
    for _ in range(4):
        await store.chats.commit(new_message("c1"))
    read, _ = await Feed(store.feed).read("", None, 3, 0)
    await store.chats.commit(DeleteChat("c1", START))
    await store.chats.commit(MarkPublished({"c1": 5}))
    while await store.chats.erase_deleted(100):
        pass
    # Also a reader that is behind the deletion gets its event.
    for cursor in (read.cursor, None):
        assert await read_all(store, cursor) == [("c1", 5)]
    after, _ = await Feed(store.feed).read("", read.cursor, 3, 0)
    await store.chats.commit(new_message("c2"))
    assert await read_all(store, after.cursor) == [("c2", 1)]


@pytest.mark.timeout(120)
async def test_nothing_is_lost_or_out_of_order_while_replicas_commit_and_read(
    store: Store, database_options: DatabaseOptions
) -> None:
    """Batches over several chats wait for each other's locks: transactions end in another order than they began."""
    async with AsyncExitStack() as stack:
        stores = [store]
        if store.shared:
            stores.append(await stack.enter_async_context(open_store(database_options)))
        writing = True

        async def write(number: int) -> None:
            chance = random.Random(number)
            for turn in range(40):
                chosen = chance.sample(CHATS, chance.choice((1, 1, 4)))
                events = tuple(CustomEvent(chat_id, f"{number}-{turn}", "n", {}) for chat_id in chosen)
                command = NewCustomEvents(events, START, alone=len(events) > 1)
                await stores[number % len(stores)].chats.commit(command)

        async def follow(number: int) -> tuple[list[tuple[str, int]], Cursor | None]:
            found: list[tuple[str, int]] = []
            cursor: Cursor | None = None
            while writing:
                read, _ = await Feed(stores[number % len(stores)].feed).read("", cursor, 25, 0)
                found += [(event.chat_id, event.seq) for event in read.events]
                cursor = read.cursor
            return found, cursor

        readers = [asyncio.create_task(follow(number)) for number in range(3)]
        await asyncio.gather(*map(write, range(8)))
        writing = False
        heads = {chat_id: (await store.chats.events_after(chat_id, 0, 1))[1] for chat_id in CHATS}
        for found, cursor in await asyncio.gather(*readers):
            by_chat: dict[str, list[int]] = defaultdict(list)
            for chat_id, seq in [*found, *await read_all(store, cursor)]:
                by_chat[chat_id].append(seq)
            assert by_chat == {chat_id: list(range(1, head + 1)) for chat_id, head in heads.items()}


async def test_a_page_ends_at_a_mebibyte_and_the_next_one_goes_on(store: Store) -> None:
    feed = Feed(store.feed)
    for _ in range(30):
        await store.chats.commit(new_message(content="天" * 30_000))
    sizes, seqs = [], []
    cursor, more = None, True
    while more:
        read, more = await feed.read("", cursor, 200, 0)
        cursor = read.cursor
        sizes.append(sum(len(event.payload) for event in read.events))
        seqs += [event.seq for event in read.events]
    assert seqs == sorted(set(seqs))
    assert len(seqs) >= 30
    assert max(sizes) <= 1_048_576
    assert len(sizes) > 2
