"""A gateway of its own without Redis: its log is in its own memory, and filled from the API.

One question in every ``poll_s`` for all chats (which had activity?), and one for each followed chat that had. So what
is sent reaches the sockets within ``poll_s``; with Redis it is pushed, and none of this runs.

Layer: gateway.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from roomcast.chat.ports import Appended, EventLog, Head, LogEntry
from roomcast.contract.rest import ChatPage, EventPage
from roomcast.gateway.api.admission import HttpAdmission
from roomcast.gateway.api.client import ApiClient
from roomcast.gateway.ports import Admission, ApiUnavailable, Cursor

logger = logging.getLogger(__name__)

_Model = TypeVar("_Model", bound=BaseModel)

_JITTER: Final = (0.75, 1.25)
#: Pages of one chat that one pull reads; the next one goes on.
_MAX_PAGES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowOptions:
    """How the API is followed.

    Attributes:
        poll_s: Mean time between two questions; the delay of a message is half of it on average.
        retry_max_s: Longest time between two questions while the API does not answer.
        page_entries: Events asked for at once.
        seed_entries: Events that a new log begins with.
        page_chats: Chats asked for at once.
        max_pages: Pages of active chats that one poll reads; with more, every followed chat is asked for.
    """

    poll_s: float = 0.5
    retry_max_s: float = 5.0
    page_entries: int = 200
    seed_entries: int = 200
    page_chats: int = 50
    max_pages: int = 10


@dataclass(slots=True)
class _Pull:
    """One chat's pulls, one after the other."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class ApiFollower:
    """Fills a log from the API; also the `ChatAdmission` of such a gateway, since a nudge is a pull.

    Args:
        api: Who is asked.
        log: What is filled.
        followed: The chats that have members here.
        options: See there.
    """

    def __init__(
        self,
        api: ApiClient,
        log: EventLog,
        followed: Callable[[], Collection[str]],
        options: FollowOptions | None = None,
    ) -> None:
        self._api = api
        self._admission = HttpAdmission(api)
        self._log = log
        self._followed = followed
        self._options = options or FollowOptions()
        self._pulls: dict[str, _Pull] = {}
        # The latest activity that was seen, as the API writes it: RFC 3339 in UTC sorts as text.
        self._seen_until = ""

    async def close(self) -> None:
        """End what is asked for joins now."""
        await self._admission.close()

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        """See `ChatAdmission`."""
        return await self._admission.admit(chat_id, user_id, since)

    async def nudge(self, chat_id: str) -> None:
        """See `ChatAdmission`."""
        pull = self._pulls.setdefault(chat_id, _Pull())
        pull.waiting += 1
        try:
            async with pull.turn:
                await self._pull(chat_id)
        finally:
            pull.waiting -= 1
            if not pull.waiting:
                del self._pulls[chat_id]

    async def run(self) -> None:
        """Follow until cancelled."""
        pause_s = self._options.poll_s
        while True:
            await asyncio.sleep(pause_s * random.uniform(*_JITTER))  # noqa: S311 - jitter, no secret
            try:
                await self.poll()
            except ApiUnavailable as error:
                if pause_s == self._options.poll_s:
                    logger.warning("the API cannot be followed now: %s", error)
                pause_s = min(pause_s * 2, self._options.retry_max_s)
            else:
                if pause_s != self._options.poll_s:
                    logger.info("the API is followed again")
                pause_s = self._options.poll_s

    async def poll(self) -> None:
        """Ask once what had activity, and pull what is followed of it.

        Raises:
            ApiUnavailable: the API did not answer.
        """
        followed = set(self._followed())
        if not followed:
            return
        for chat_id in followed & await self._active(followed):
            await self.nudge(chat_id)

    async def _active(self, followed: Collection[str]) -> set[str]:
        """Chats that had activity at the latest one seen or after it."""
        active: set[str] = set()
        cursor: str | None = None
        newest = self._seen_until
        for _ in range(self._options.max_pages):
            params: dict[str, str | int] = {"limit": self._options.page_chats}
            if cursor is not None:
                params["cursor"] = cursor
            page = _read(ChatPage, await self._api.get("/api/chats", params))
            for chat in page.chats:
                when = chat.model_dump(mode="json")["lastActivityAt"]
                if when < self._seen_until:
                    self._seen_until = newest
                    return active
                newest = max(newest, when)
                head = await self._log.head(chat.id)
                if head != Head(chat.epoch, chat.last_seq):
                    active.add(chat.id)
            cursor = page.next_cursor
            if cursor is None:
                self._seen_until = newest
                return active
        self._seen_until = newest
        return set(followed)

    async def _pull(self, chat_id: str) -> None:
        """Bring one chat's log up to date."""
        head = await self._log.head(chat_id)
        for _ in range(_MAX_PAGES):
            if head is None:
                head = await self._seed(chat_id)
            page = await self._page(chat_id, head.seq)
            if page.epoch != head.epoch or page.seq < head.seq:
                head = None
                continue
            if not page.events:
                return
            outcome = await self._log.append(chat_id, page.epoch, _entries(page))
            # A gap: the log was dropped meanwhile.
            head = outcome.head if isinstance(outcome, Appended) else None
            if head is not None and not page.more:
                return
        logger.warning("a chat is further ahead than one pull takes", extra={"chat_id": chat_id})

    async def _seed(self, chat_id: str) -> Head:
        end = await self._page(chat_id, 0, limit=1)
        after = max(0, end.seq - self._options.seed_entries)
        entries: list[LogEntry] = []
        page = await self._page(chat_id, after)
        while page.events:
            entries += _entries(page)
            if not page.more or len(entries) >= 2 * self._options.seed_entries:
                break
            page = await self._page(chat_id, entries[-1].seq)
        last = entries[-1].seq if entries else 0
        return await self._log.seed(chat_id, Head(page.epoch, last), entries)

    async def _page(self, chat_id: str, after: int, limit: int | None = None) -> EventPage:
        params: dict[str, str | int] = {"after": after, "limit": limit or self._options.page_entries}
        return _read(EventPage, await self._api.get(f"/api/chats/{chat_id}/events", params))


def _entries(page: EventPage) -> list[LogEntry]:
    return [LogEntry(event.seq, _json([event.event, event.data])) for event in page.events]


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _read(model: type[_Model], answer: httpx.Response) -> _Model:
    if answer.status_code != HTTPStatus.OK:
        raise ApiUnavailable(f"the API answered {answer.status_code} while it was followed")
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise ApiUnavailable(f"the API's answer cannot be read: {error.error_count()} errors") from None
