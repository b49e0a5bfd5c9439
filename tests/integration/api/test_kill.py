"""SIGKILL at any moment: every acknowledged message is stored once, in one order."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.store.engine.database import sqlite_url

SCRIPT = Path(__file__).with_name("api_process.py")
SENDERS = 12
CHATS = 3


@asynccontextmanager
async def api(directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """The API as a process, and a client of it. The process is killed at the end."""
    url = sqlite_url(directory / "roomcast.db")
    process = await asyncio.create_subprocess_exec(sys.executable, SCRIPT, url, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    port = int(await process.stdout.readline())
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def events_of(client: httpx.AsyncClient, chat_id: str) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while True:
        after = events[-1]["seq"] if events else 0
        page = (await client.get(f"/api/chats/{chat_id}/events", params={"after": after, "limit": 500})).json()
        events += page["events"]
        if not page["more"]:
            return events


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_acknowledged_messages_survive_a_kill_under_load(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    asked: set[tuple[str, str]] = set()
    answered: dict[tuple[str, str], dict[str, Any]] = {}

    async def send(client: httpx.AsyncClient, chat_id: str, key: str) -> None:
        asked.add((chat_id, key))
        body = {"chatId": chat_id, "role": "USER", "content": f"text of {key}", "clientMsgId": key}
        response = await client.post("/api/chat/messages", json=body)
        assert response.status_code in {200, 201}
        answered[chat_id, key] = response.json()

    async def sender(client: httpx.AsyncClient, number: int, stop_at: int, enough: asyncio.Event) -> None:
        count = 0
        while True:
            try:
                await send(client, f"chat-{count % CHATS}", f"{number}-{count}")
            except httpx.TransportError:
                return
            count += 1
            if len(answered) >= stop_at:
                enough.set()

    async with api(tmp_path) as (process, client):
        enough = asyncio.Event()
        stop_at = chance.randrange(20, 300)
        senders = [asyncio.create_task(sender(client, number, stop_at, enough)) for number in range(SENDERS)]
        reached = asyncio.create_task(enough.wait())
        await asyncio.wait({reached, *senders}, return_when=asyncio.FIRST_COMPLETED)
        assert reached.done(), "a sender ended before the kill"
        process.send_signal(signal.SIGKILL)
        await asyncio.gather(*senders)
        await process.wait()

    before = dict(answered)
    async with api(tmp_path) as (_, client):
        # Repeat every request, as clients repeat those without a response.
        await asyncio.gather(*(send(client, chat_id, key) for chat_id, key in asked))
        for key, message in before.items():
            assert answered[key] == message
        stored: list[tuple[str, str]] = []
        for number in range(CHATS):
            events = await events_of(client, f"chat-{number}")
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            stored += [(f"chat-{number}", event["data"]["clientMsgId"]) for event in events]
        assert len(stored) == len(set(stored))
        assert set(stored) == asked


async def test_a_second_process_on_the_same_data_exits_with_one_line(tmp_path: Path) -> None:
    async with api(tmp_path):
        url = sqlite_url(tmp_path / "roomcast.db")
        second = await asyncio.create_subprocess_exec(
            sys.executable, SCRIPT, url, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        _, errors = await second.communicate()
        assert second.returncode != 0
        assert b"in use by another roomcast (process " in errors
