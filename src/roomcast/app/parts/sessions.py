"""Keeps the ended access tokens of a process up to date: from the database, or from the API.

Reads rather than messages: after any outage the next read has everything.

Layer: app.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from roomcast.auth.ended_sessions import EndedSessions
from roomcast.backoff import repeat_forever
from roomcast.chat.errors import StoreUnavailable
from roomcast.contract import internal
from roomcast.gateway.api.client import ApiClient
from roomcast.gateway.ports import ApiRefused, ApiUnavailable

#: Longest time between two reads, in seconds: an ended session is closed within this time on every gateway.
READ_EVERY_S: Final = 2.0

#: Reads one page from a time in Unix milliseconds on.
ReadPage = Callable[[int], Awaitable[internal.EndedSessions]]


async def follow_ended_sessions(ended: EndedSessions, read: ReadPage, *, pause_s: float = READ_EVERY_S) -> None:
    """Read the ended sessions again and again, until cancelled. Until a read succeeds, new ones are unknown here."""
    errors = StoreUnavailable, ApiUnavailable, ApiRefused, ValidationError
    await repeat_forever(lambda: read_ended_sessions(ended, read), pause_s, "the read of ended sessions", *errors)


async def read_ended_sessions(ended: EndedSessions, read: ReadPage, *, clock: Callable[[], float] = time.time) -> None:
    """Read the sessions that have ended since the last read.

    Raises:
        StoreUnavailable: the database does not answer.
        ApiUnavailable: the API does not answer.
        ApiRefused: the API refuses this gateway.
    """
    now_ms = int(clock() * 1_000)
    after_ms, more = ended.after_ms(now_ms), True
    while more:
        page = await read(after_ms)
        ended.add(page.sessions)
        more = page.more
        if page.sessions:
            after_ms = page.sessions[-1].ended_at + 1
    ended.forget_expired(now_ms)


def read_from(api: ApiClient) -> ReadPage:
    """Reads pages from the API."""

    async def read(after_ms: int) -> internal.EndedSessions:
        _, body = await api.post("/api/internal/ended-sessions", {"after": after_ms})
        return internal.EndedSessions.model_validate_json(body)

    return read
