"""Messages that another program publishes on the guide's Redis channel: on the page and in the Python client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from roomcast.client import Client
from support.chat_page import LIMIT_MS, open_tab
from support.clients import send
from support.processes import Roomcast
from support.redis_server import RedisServer, environment
from support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


def publish(redis: RedisServer, kind: str = "MESSAGE_CREATED", **data: Any) -> bytes:
    """The guide's event, as its application publishes it."""
    message = {"id": "live-1", "role": "AI", "time": "2026-01-02T03:04:05.678Z", **data}
    event = {"type": kind, "chatId": "lobby", "userId": "u", "messageId": message["id"], "data": message}
    return redis.command("PUBLISH", "chat:events", json.dumps(event))


async def test_published_messages_are_shown_as_not_stored_and_move_no_cursor(
    browser: Browser, tmp_path: Path, redis: RedisServer
) -> None:
    with Roomcast.up(tmp_path / "data", env=environment(redis, ROOMCAST_RESPONDER="none")) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, Client(server.api_url, user_id="bot") as client:
            await ann.say("Before")
            live: list[str] = []
            stored: list[tuple[int, str]] = []

            async def follow() -> None:
                async for item in client.chat("lobby").events(0, on_live=lambda data: live.append(data["content"])):
                    message = getattr(item, "message", None)
                    if message is not None:
                        stored.append((message.seq, message.content))

            following = asyncio.create_task(follow())
            await until(lambda: stored, limit_s=10)
            await until(lambda: publish(redis, content="Half an answer") and live, limit_s=10, step_s=0.1)
            # The seq of another program means nothing here.
            publish(redis, "AI_RESPONSE_GENERATED", content="The **whole** answer", seq=99, epoch="x")
            publish(redis, id="live-2", role="USER", userId="Carol", content="A question from the old system")
            await expect(ann.by("live")).to_have_count(2, timeout=LIMIT_MS)
            await ann.say("After")
            texts = ann.by("message-text")
            await expect(texts).to_have_text(
                ["Before", "The whole answer", "A question from the old system", "After"], timeout=LIMIT_MS
            )
            part = ann.by("message").filter(has_text="A question")
            await expect(part).to_contain_text("Not stored")
            await expect(part).to_have_attribute("data-author", "Carol")
            for action in ("react", "pin", "reply", "edit", "delete"):
                await expect(part.get_by_test_id(action)).to_have_count(0)
            await until(lambda: len(stored) == 2, limit_s=10)
            assert live[-2:] == ["The **whole** answer", "A question from the old system"]
            # The application stores the message, too, and publishes it with the id of the stored one.
            sent = await send(server.api_url, "lobby", "Stored at last", userId="Dan")
            publish(redis, id=sent["id"], role="USER", userId="Dan", content="Stored at last")
            publish(redis, id="live-3", content="The end")
            await expect(ann.by("live")).to_have_count(3, timeout=LIMIT_MS)
            await expect(texts.filter(has_text="Stored at last")).to_have_count(1)
            await ann.page.reload()
            await expect(texts).to_have_text(["Before", "After", "Stored at last"], timeout=LIMIT_MS)
            await until(lambda: len(stored) == 3, limit_s=10)
            assert [content for _, content in stored] == ["Before", "After", "Stored at last"]
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
