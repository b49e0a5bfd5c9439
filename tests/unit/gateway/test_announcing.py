from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from roomcast.contract.events import ChatActivity
from roomcast.gateway.announcing import RoomAnnouncer


async def test_an_announcement_is_one_emit_to_the_rooms_of_all_users() -> None:
    emitted: list[tuple[str, Any, Any]] = []

    class Recorder:
        async def emit(self, event: str, data: Any = None, *, to: str | Collection[str] | None = None) -> None:
            emitted.append((event, data, to))

    time = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    activity = ChatActivity(chat_id="c", epoch="e", seq=7, user_id=None, time=time, last_message=None)
    await RoomAnnouncer(Recorder()).announce(["ann", "u:1"], activity)
    expected = {
        "chatId": "c",
        "epoch": "e",
        "seq": 7,
        "userId": None,
        "time": "2026-01-02T03:04:05.678Z",
        "lastMessage": None,
    }
    assert emitted == [("chat-activity", expected, ("user:ann", "user:u:1"))]
