"""Tokens that were ended before their expiry."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.app.parts.sessions import follow_ended_sessions, read_ended_sessions
from roomcast.auth.ended_sessions import OVERLAP_MS, EndedSessions
from roomcast.auth.errors import SessionEnded
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer, TokenVerifier
from roomcast.chat.errors import StoreUnavailable
from roomcast.contract import internal
from roomcast.contract.internal import EndedSession
from support.waiting import until

OPTIONS = AuthOptions("a secret of thirty-two bytes or more")
NOW = 1_800_000_000.0
LATER = int(NOW * 1_000) + 1_000_000


def issue(user_id: str = "ann", at: float = NOW) -> str:
    return TokenIssuer(OPTIONS, clock=lambda: at).issue(user_id, ttl_s=600)


def user(user_id: str, at: float, expires_at: int = LATER) -> EndedSession:
    return EndedSession(user_id=user_id, ended_at=int(at * 1_000), expires_at=expires_at)


def test_an_ended_token_is_rejected_and_other_tokens_of_its_user_are_not() -> None:
    ended = EndedSessions()
    verifier = TokenVerifier(OPTIONS, ended, clock=lambda: NOW)
    first, second = issue(), issue(at=NOW - 1)
    assert verifier.verify(first) == verifier.verify(second).__class__("ann", NOW + 600)
    ended.add([EndedSession(token=sha256(first.encode()).hexdigest(), ended_at=int(NOW * 1_000), expires_at=LATER)])
    with pytest.raises(SessionEnded):
        verifier.verify(first)
    assert verifier.verify(second).user_id == "ann"


@pytest.mark.parametrize(("issued", "valid"), [(-10.0, False), (0.0, False), (0.9, False), (1.0, True), (2.0, True)])
def test_the_end_of_all_sessions_of_a_user_counts_for_tokens_that_were_issued_before(
    issued: float, valid: bool
) -> None:
    ended = EndedSessions()
    ended.add([user("ann", NOW + 0.5)])
    verifier = TokenVerifier(OPTIONS, ended, clock=lambda: NOW + 5)
    assert verifier.verify(issue("ben")).user_id == "ben"
    if valid:
        assert verifier.verify(issue(at=NOW + issued)).user_id == "ann"
        return
    with pytest.raises(SessionEnded):
        verifier.verify(issue(at=NOW + issued))


def test_listeners_are_called_for_new_entries_only_and_an_earlier_end_changes_nothing() -> None:
    ended, calls = EndedSessions(), []
    ended.listen(lambda: calls.append(len(ended)))
    ended.add([user("ann", NOW), user("ben", NOW)])
    ended.add([user("ann", NOW), user("ben", NOW - 5)])
    ended.add([])
    assert calls == [2]
    ended.add([user("ann", NOW + 1)])
    assert calls == [2, 2]
    ended.forget_expired(LATER + 1)
    assert len(ended) == 0


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 30)), max_size=60), st.integers(1, 4))
async def test_reads_by_pages_have_every_entry_also_those_that_are_stored_late(
    stored: list[tuple[int, int]], size: int
) -> None:
    rows: list[EndedSession] = []
    ended = EndedSessions()

    async def read(after_ms: int) -> internal.EndedSessions:
        found = sorted((row for row in rows if row.ended_at >= after_ms), key=lambda row: row.ended_at)
        last = found[size - 1].ended_at if len(found) >= size else None
        page = [row for row in found if last is None or row.ended_at <= last]
        return internal.EndedSessions(sessions=page, more=len(page) >= size)

    base = int(NOW * 1_000)
    for number, (late_s, at_s) in enumerate(stored):
        # Stored up to 12 s after a later one.
        rows.append(user(f"user {number}", NOW + at_s - late_s, expires_at=base * 2))
        await read_ended_sessions(ended, read)
        assert len(ended) == len(rows)
    assert OVERLAP_MS > 42_000


async def test_an_entry_from_a_clock_that_is_ahead_hides_no_later_one() -> None:
    rows = [user("ann", NOW + 3_600, expires_at=LATER * 2)]
    ended = EndedSessions()

    async def read(after_ms: int) -> internal.EndedSessions:
        return internal.EndedSessions(sessions=[row for row in rows if row.ended_at >= after_ms], more=False)

    for number in range(3):
        rows.insert(0, user(f"user {number}", NOW + number, expires_at=LATER * 2))
        await read_ended_sessions(ended, read, clock=lambda: NOW)
        assert len(ended) == len(rows)


async def test_ended_sessions_are_read_again_after_an_outage() -> None:
    ended = EndedSessions()
    reads = 0

    async def read(_after_ms: int) -> internal.EndedSessions:
        nonlocal reads
        reads += 1
        if reads < 3:
            raise StoreUnavailable("away")
        return internal.EndedSessions(sessions=[user("wei", NOW, expires_at=2**50)], more=False)

    task = asyncio.create_task(follow_ended_sessions(ended, read, pause_s=0.001))
    await until(lambda: len(ended) == 1)
    task.cancel()
