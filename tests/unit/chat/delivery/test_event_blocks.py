from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections import OrderedDict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.delivery.event_blocks import BLOCK_EVENTS, KEPT_S, EventBlock, EventBlocks
from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import ANYONE, StoredEvent
from roomcast.chat.ports import ChatStore
from roomcast.chat.use_cases.reading import MAX_PAGE_BYTES, ChatReader, EventsRead
from roomcast.store.opening import open_store
from support.backend import fresh_database, new_message

EVENTS = 3 * BLOCK_EVENTS + 10


async def send(chats: ChatStore, count: int, *, size: int = 10) -> None:
    texts = ((f"{number} " * size)[:size] for number in range(count))
    await asyncio.gather(*(chats.commit(new_message(content=text)) for text in texts))


def seqs(read: EventsRead) -> list[int]:
    return [item["seq"] for item in json.loads(b"[%b]" % read.items)]


@pytest.fixture
async def chats(tmp_path: Path) -> AsyncIterator[ChatStore]:
    async with open_store(fresh_database(tmp_path)) as store:
        await send(store.chats, EVENTS)
        yield store.chats


def count_reads(chats: ChatStore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The ``after`` of each read of events from now on."""
    reads: list[int] = []
    real = chats.events_after

    async def read(chat_id: str, after: int, limit: int) -> Any:
        reads.append(after)
        return await real(chat_id, after, limit)

    monkeypatch.setattr(chats, "events_after", read)
    return reads


async def test_a_block_is_read_again_after_its_time_since_a_deletion_erases_text(
    chats: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, now = count_reads(chats, monkeypatch), [100.0]
    blocks = EventBlocks(chats, clock=lambda: now[0])
    for moment, expected in ((100.0, 1), (100.0 + KEPT_S, 1), (101.0 + KEPT_S, 2), (102.0 + KEPT_S, 2)):
        now[0] = moment
        await blocks.block("c", 0, EVENTS)
        assert len(reads) == expected


async def test_a_page_has_exactly_the_events_after_the_cursor_up_to_its_limit(chats: ChatStore) -> None:
    events, head = await chats.events_after("c", 0, EVENTS)
    assert head == EVENTS
    reader, random = ChatReader(chats), Random(1)
    edges = [0, 1, BLOCK_EVENTS - 1, BLOCK_EVENTS, BLOCK_EVENTS + 1, 3 * BLOCK_EVENTS, EVENTS - 1, EVENTS, EVENTS + 5]
    cases = [(after, limit) for after in edges for limit in (1, BLOCK_EVENTS, 2_000)]
    cases += [(random.randrange(EVENTS + 9), random.randrange(1, EVENTS)) for _ in range(100)]
    for after, limit in cases:
        read = await reader.events(ANYONE, "c", after, limit, None)
        expected = events[after : after + limit]
        assert seqs(read) == [event.seq for event in expected]
        payloads = [json.loads(event.payload) for event in expected]
        assert [item["data"] for item in json.loads(b"[%b]" % read.items)] == payloads
        assert (read.head, read.more) == (EVENTS, after + limit < EVENTS)


async def test_clients_that_return_together_read_each_block_once_and_each_receives_every_event(
    chats: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, reads = ChatReader(chats), count_reads(chats, monkeypatch)

    async def catch_up(after: int) -> list[int]:
        found: list[int] = []
        while True:
            read = await reader.events(ANYONE, "c", after + len(found), 50, chats.epoch)
            found += seqs(read)
            if not read.more:
                return found

    starts = [number % 3 for number in range(60)]
    for after, found in zip(starts, await asyncio.gather(*map(catch_up, starts)), strict=True):
        assert found == list(range(after + 1, EVENTS + 1))
    assert sorted(reads) == [0, BLOCK_EVENTS, 2 * BLOCK_EVENTS, 3 * BLOCK_EVENTS]


async def test_a_request_does_not_share_a_read_that_began_before_the_event_that_it_needs(
    chats: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, real = EventBlocks(chats), chats.events_after
    taken, gate = asyncio.Event(), asyncio.Event()

    async def read_then_wait(*args: Any) -> Any:
        found = await real(*args)
        taken.set()
        await gate.wait()
        return found

    monkeypatch.setattr(chats, "events_after", read_then_wait)
    earlier = asyncio.create_task(blocks.block("c", EVENTS - 1, EVENTS))
    await taken.wait()
    await chats.commit(new_message())
    later = [asyncio.create_task(blocks.block("c", EVENTS, EVENTS + 1)) for _ in range(3)]
    await asyncio.sleep(0)
    gate.set()
    assert (await earlier).last == EVENTS
    assert [(await block).last for block in later] == [EVENTS + 1] * 3


async def test_a_page_ends_at_its_size_and_has_at_least_one_event(tmp_path: Path) -> None:
    async with open_store(fresh_database(tmp_path)) as store:
        await send(store.chats, 80, size=30_000)
        read = await ChatReader(store.chats).events(ANYONE, "c", 0, 2_000, None)
        assert MAX_PAGE_BYTES <= len(read.items) < MAX_PAGE_BYTES + 40_000
        assert seqs(read) == list(range(1, len(seqs(read)) + 1))
        assert read.more


async def test_the_kept_blocks_are_limited_and_the_most_recently_used_remain(
    chats: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (await EventBlocks(chats).block("c", 0, EVENTS)).size_bytes
    blocks, reads = EventBlocks(chats, max_bytes=2 * size + size // 2), count_reads(chats, monkeypatch)
    starts = [0, BLOCK_EVENTS, 2 * BLOCK_EVENTS]
    for start in (starts[0], starts[1], starts[0], starts[2], starts[0], starts[1]):
        assert (await blocks.block("c", start, EVENTS)).start == start
    assert reads == [starts[0], starts[1], starts[2], starts[1]]
    assert sum(block.size_bytes for block in blocks._kept.values()) + blocks._bytes_left == 2 * size + size // 2


@pytest.mark.parametrize("count", [1, BLOCK_EVENTS])
def test_the_size_of_a_block_is_the_memory_that_it_takes(count: int) -> None:
    event = StoredEvent("c", 1, "e", "new-msg", b"{}", datetime.now(UTC))
    tracemalloc.start()
    try:
        kept = OrderedDict((("e", f"chat-{number}", 0), EventBlock.of(0, [event] * count)) for number in range(500))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Python 3.11 takes most; 3.13 takes about half of it for small blocks.
    assert 0.4 < taken / sum(block.size_bytes for block in kept.values()) < 1.1


async def test_a_failed_read_fails_the_requests_that_share_it_and_the_next_one_reads_again(
    chats: ChatStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, real = EventBlocks(chats), chats.events_after

    async def fail(*_args: object) -> Any:
        raise StoreUnavailable

    monkeypatch.setattr(chats, "events_after", fail)
    failed = await asyncio.gather(*(blocks.block("c", 0, 9) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(error, StoreUnavailable) for error in failed)
    monkeypatch.setattr(chats, "events_after", real)
    assert (await blocks.block("c", 0, 9)).last == BLOCK_EVENTS


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.data())
def test_a_block_is_cut_at_events(sizes: list[int], data: st.DataObject) -> None:
    items = [f"{number:02}".encode() * size for number, size in enumerate(sizes)]
    block = EventBlock(5, b",".join(items), [sum(sizes[: n + 1]) * 2 + n for n in range(len(sizes))])
    after = data.draw(st.integers(5, block.last - 1))
    last = data.draw(st.integers(after + 1, block.last + 3))
    max_bytes = data.draw(st.integers(1, 200))
    cut, end = block.cut(after, last, max_bytes)
    assert cut == b",".join(items[after - 5 : end - 5])
    assert after < end <= min(last, block.last)
    assert end == min(last, block.last) or len(cut) >= max_bytes
    assert len(b",".join(items[after - 5 : end - 6])) < max_bytes
