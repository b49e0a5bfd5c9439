from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest

from roomcast.chat.ports import Head, LogEntry
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.gateway.api.client import ApiClient, ApiClientOptions
from roomcast.gateway.api.follower import ApiFollower, FollowOptions
from roomcast.gateway.ports import ApiUnavailable


class Api:
    """The two routes that are followed, over chats that a test writes to."""

    def __init__(self) -> None:
        self.epoch = "e1"
        self.chats: dict[str, int] = {}
        self.active_at: dict[str, int] = {}
        self.now = 0
        self.available = True
        self.hold: asyncio.Event | None = None
        self.held = asyncio.Event()
        self.asked: list[str] = []
        self.followed: list[str] = []
        self.log = MemoryEventLog()
        self.live: dict[str, list[int]] = {}
        client = ApiClient(ApiClientOptions(url="http://api.test"), None, transport=httpx.MockTransport(self._handle))
        options = FollowOptions(page_entries=3, seed_entries=4, page_chats=2, max_pages=2)
        self.follower = ApiFollower(client, self.log, lambda: self.followed, options)

    def write(self, chat_id: str, count: int = 1) -> None:
        self.now += 1
        self.chats[chat_id] = self.chats.get(chat_id, 0) + count
        self.active_at[chat_id] = self.now

    async def follow(self, chat_id: str) -> None:
        self.followed.append(chat_id)
        seen = self.live[chat_id] = []

        def sink(_epoch: str, entries: Sequence[LogEntry]) -> None:
            seen.extend(entry.seq for entry in entries)

        await self.log.subscribe(chat_id, sink)
        await self.follower.nudge(chat_id)
        seen.clear()

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.hold is not None:
            self.held.set()
            await self.hold.wait()
        if not self.available:
            raise httpx.ConnectError("down")
        params = request.url.params
        if request.url.path == "/api/chats":
            return httpx.Response(200, json=self._chats(int(params.get("cursor", 0)), int(params["limit"])))
        chat_id = request.url.path.split("/")[3]
        return httpx.Response(200, json=self._events(chat_id, int(params["after"]), int(params["limit"])))

    def _chats(self, start: int, limit: int) -> dict[str, Any]:
        ordered = sorted(self.chats, key=lambda chat_id: -self.active_at[chat_id])
        page = [
            {
                "id": chat_id,
                "title": None,
                "createdAt": "2026-01-01T00:00:00.000Z",
                "lastActivityAt": f"2026-01-01T00:00:00.{self.active_at[chat_id]:03}Z",
                "lastSeq": self.chats[chat_id],
                "epoch": self.epoch,
            }
            for chat_id in ordered[start : start + limit]
        ]
        more = start + limit < len(ordered)
        return {"chats": page, "nextCursor": str(start + limit) if more else None}

    def _events(self, chat_id: str, after: int, limit: int) -> dict[str, Any]:
        head = self.chats.get(chat_id, 0)
        seqs = range(after + 1, min(head, after + limit) + 1)
        events = [{"seq": s, "type": "message-created", "event": "new-msg", "data": {"seq": s, "é": 1}} for s in seqs]
        more = bool(seqs) and seqs[-1] < head
        return {"epoch": self.epoch, "events": events, "seq": head, "more": more, "reset": False}


async def test_what_is_written_is_pulled_in_order_and_once() -> None:
    api = Api()
    api.write("a", 5)
    await api.follow("a")
    api.write("a", 7)
    await api.follower.poll()
    await api.follower.poll()
    assert api.live["a"] == [6, 7, 8, 9, 10, 11, 12]
    assert await api.log.head("a") == Head("e1", 12)


async def test_an_entry_is_the_frame_that_the_api_would_have_made() -> None:
    api = Api()
    api.write("a")
    await api.follow("a")
    found = await api.log.read("a", "e1", 0, 10)
    assert found.entries[0].args == '["new-msg",{"seq":1,"é":1}]'.encode()


async def test_a_new_log_begins_with_the_recent_past() -> None:
    api = Api()
    api.write("a", 20)
    await api.follow("a")
    assert await api.log.head("a") == Head("e1", 20)
    assert len((await api.log.read("a", "e1", 16, 10)).entries) == 4


async def test_a_quiet_poll_asks_for_no_chat() -> None:
    api = Api()
    api.write("a")
    await api.follow("a")
    await api.follower.poll()
    api.asked.clear()
    await api.follower.poll()
    assert api.asked == ["/api/chats"]


async def test_chats_that_nobody_follows_are_not_pulled() -> None:
    api = Api()
    await api.follow("a")
    api.write("b")
    api.asked.clear()
    await api.follower.poll()
    assert api.asked == ["/api/chats"]
    assert await api.log.head("b") is None


async def test_more_active_chats_than_are_listed_are_all_asked_for() -> None:
    api = Api()
    api.write("z")
    await api.follow("z")
    await api.follower.poll()
    api.write("z")
    for number in range(10):
        api.write(f"busy-{number}")
    await api.follower.poll()
    assert api.live["z"] == [2]


async def test_nobody_here_means_no_question() -> None:
    api = Api()
    await api.follower.poll()
    assert api.asked == []


async def test_another_epoch_begins_a_new_log() -> None:
    api = Api()
    api.write("a", 5)
    await api.follow("a")
    api.epoch = "e2"
    api.chats["a"] = 3
    api.write("a")
    await api.follower.poll()
    assert await api.log.head("a") == Head("e2", 4)


async def test_a_dropped_log_is_begun_anew() -> None:
    api = Api()
    api.write("a", 5)
    await api.follow("a")
    api.log._chats.clear()
    await api.follower.nudge("a")
    assert await api.log.head("a") == Head("e1", 5)


async def test_an_api_that_is_away_is_said() -> None:
    api = Api()
    await api.follow("a")
    api.available = False
    with pytest.raises(ApiUnavailable):
        await api.follower.poll()
    with pytest.raises(ApiUnavailable):
        await api.follower.nudge("a")
    api.available = True
    api.write("a")
    await api.follower.poll()
    assert api.live["a"] == [1]


async def test_the_end_leaves_no_join_waiting() -> None:
    api = Api()
    api.hold = asyncio.Event()
    joining = asyncio.create_task(api.follower.admit("a", None, None))
    async with asyncio.timeout(5):
        await api.held.wait()
        await api.follower.close()
        with pytest.raises(ApiUnavailable):
            await joining
