"""The contract of `chat.ports.SessionStore`, over every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from roomcast.contract.internal import EndedSession
from roomcast.store.opening import Store, open_store
from roomcast.store.options import DatabaseOptions

NOW = 1_800_000_000_000


@pytest.fixture
async def store(database_options: DatabaseOptions) -> AsyncIterator[Store]:
    async with open_store(database_options) as opened:
        yield opened


def user(user_id: str, ended_at: int, expires_at: int = NOW + 1_000) -> EndedSession:
    return EndedSession(user_id=user_id, ended_at=ended_at, expires_at=expires_at)


async def end(store: Store, *sessions: EndedSession, now_ms: int = 0) -> None:
    for session in sessions:
        await store.sessions.end_session(session, now_ms)


async def test_entries_are_read_from_a_time_on_the_earliest_first(store: Store) -> None:
    token = EndedSession(token="ab" * 32, ended_at=20, expires_at=NOW)
    await end(store, user("ben", 30), token, user("ann", 10))
    assert await store.sessions.ended_sessions(0, NOW, 10) == [user("ann", 10), token, user("ben", 30)]
    assert await store.sessions.ended_sessions(20, NOW, 10) == [token, user("ben", 30)]
    assert await store.sessions.ended_sessions(31, NOW, 10) == []


async def test_a_later_entry_replaces_the_earlier_one_of_the_same_user(store: Store) -> None:
    await end(store, user("ann", 10), user("ann", 50), EndedSession(token="ann", ended_at=20, expires_at=NOW))
    assert [each.ended_at for each in await store.sessions.ended_sessions(0, NOW, 10)] == [20, 50]


async def test_expired_entries_are_not_read_and_are_deleted_with_the_next_one(store: Store) -> None:
    await end(store, user("ann", 10, expires_at=100), user("ben", 20))
    assert await store.sessions.ended_sessions(0, 101, 10) == [user("ben", 20)]
    assert len(await store.sessions.ended_sessions(0, 100, 10)) == 2
    await end(store, user("eve", 30), now_ms=101)
    assert await store.sessions.ended_sessions(0, 0, 10) == [user("ben", 20), user("eve", 30)]


async def test_pages_end_with_a_whole_millisecond(store: Store) -> None:
    await end(store, *(user(f"user {number}", 10 + number // 3) for number in range(9)))
    page = await store.sessions.ended_sessions(0, NOW, 2)
    assert [each.ended_at for each in page] == [10, 10, 10]
    page = await store.sessions.ended_sessions(11, NOW, 4)
    assert [each.ended_at for each in page] == [11, 11, 11, 12, 12, 12]
    assert await store.sessions.ended_sessions(13, NOW, 2) == []


async def test_simultaneous_ends_of_one_user_are_stored_once(store: Store) -> None:
    await asyncio.gather(*(end(store, user("ann", number)) for number in range(20)))
    assert len(await store.sessions.ended_sessions(0, NOW, 100)) == 1
