from __future__ import annotations

from collections.abc import Sequence

import pytest

from roomcast.chat.delivery.audience import MemberCache, RecentAuthors
from roomcast.chat.model import StoredEvent, StoredMember
from roomcast.contract.events import EventType
from support.backend import START


class Table:
    """The members of every chat; counts the queries."""

    def __init__(self, *user_ids: str) -> None:
        self.user_ids = user_ids
        self.queries = 0

    async def members(self, _chat_id: str, limit: int) -> Sequence[StoredMember]:
        self.queries += 1
        return [StoredMember(user_id, START) for user_id in self.user_ids[:limit]]


def event(seq: int, event_type: EventType = EventType.MESSAGE_CREATED, epoch: str = "e") -> StoredEvent:
    return StoredEvent("c", seq, epoch, event_type, b"{}", START)


async def test_members_are_cut_at_the_bound_and_the_cut_is_reported() -> None:
    table = Table("ann", "bob", "cleo")
    assert await MemberCache(table, max_members=2, max_chats=1).members("c", "e", 1) == (("ann", "bob"), True)
    assert await MemberCache(table, max_members=3, max_chats=1).members("c", "e", 1) == (table.user_ids, False)


@pytest.mark.parametrize(
    ("events", "queries"),
    [
        ([event(2), event(3)], 1),
        ([event(1), event(2), event(3)], 1),
        ([event(3)], 2),
        ([event(2), event(3, EventType.MEMBER_REMOVED)], 2),
        ([event(2), event(3, EventType.MEMBER_ADDED)], 2),
        ([event(2, epoch="f"), event(3)], 2),
    ],
)
async def test_members_are_cached_until_an_event_may_have_changed_them(events: list[StoredEvent], queries: int) -> None:
    table = Table("ann")
    cache = MemberCache(table, max_members=2, max_chats=1)
    await cache.members("c", "e", 1)
    for committed in events:
        cache.apply(committed)
    await cache.members("c", "e", 3)
    assert table.queries == queries


async def test_an_event_that_the_cache_has_not_seen_is_queried() -> None:
    table = Table("ann")
    cache = MemberCache(table, max_members=2, max_chats=1)
    for epoch, seq in (("e", 2), ("e", 1), ("e", 3), ("f", 3)):
        await cache.members("c", epoch, seq)
    assert table.queries == 3


async def test_the_least_recently_used_chat_is_dropped() -> None:
    table = Table("ann")
    cache = MemberCache(table, max_members=2, max_chats=2)
    for chat_id in ("a", "b", "a", "c", "a"):
        await cache.members(chat_id, "e", 1)
    assert table.queries == 3
    await cache.members("b", "e", 1)
    assert table.queries == 4


def test_recent_authors_are_bounded_per_chat_and_in_chats() -> None:
    authors = RecentAuthors(max_chats=2, max_authors=2)
    for chat_id, user_id in (("a", "ann"), ("b", "ann"), ("b", "bob"), ("b", "ann"), ("b", "cleo"), ("c", "dave")):
        authors.add(chat_id, user_id)
    assert [authors.of(chat_id) for chat_id in ("a", "b", "c")] == [(), ("ann", "cleo"), ("dave",)]
