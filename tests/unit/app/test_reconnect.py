"""What a process does when its log has reconnected to Redis, which may have lost the newest entries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from roomcast.app.backend import running_backend
from roomcast.app.composition import build_gateway
from roomcast.app.config import up_config
from roomcast.app.process import Process, SharedServices, running_process
from roomcast.chat.ports import Head, LogEntry, Replay
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from roomcast.gateway.api.open_admission import OpenAdmission
from roomcast.limits.memory import MemoryRateLimiter
from roomcast.settings import Settings
from support.backend import fresh_database
from support.gateway_model import ModelStreams, UnreliableLog, entry
from support.waiting import until


class Reconnects:
    """The callbacks of a process for a reconnect."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[], None]] = []

    def add(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def happen(self) -> None:
        for callback in self._callbacks:
            callback()


@asynccontextmanager
async def process_in(directory: Path) -> AsyncIterator[Process]:
    fresh_database(directory)
    config = up_config(Settings(), host="127.0.0.1", data=directory)
    async with running_process(config, lambda: None) as process:
        yield process


async def test_an_event_that_redis_lost_before_any_gateway_had_it_is_appended_again_after_the_reconnect(
    tmp_path: Path,
) -> None:
    """A failover to a replica that lacks the newest entry, while no gateway was connected.

    The heads of gateways and log agree, the outbox has no mark, and nothing but the relay knows the event.
    """
    log, reconnects, received = MemoryEventLog(), Reconnects(), list[int]()

    def receive(_epoch: str, entries: list[LogEntry]) -> None:
        received.extend(entry.seq for entry in entries)

    async def has_both_events() -> Head | None:
        head = await log.head("c")
        return head if head is not None and head.seq == 2 else None

    async with process_in(tmp_path) as process:
        shared = SharedServices(log, MemoryTurnStreams(log), MemoryRateLimiter({}), None, None, None, reconnects.add)
        async with running_backend(process, shared) as backend:
            transport = httpx.ASGITransport(app=backend.api)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                for _ in range(2):
                    message = {"chatId": "c", "role": "AI", "content": "hello"}  # no answer follows
                    (await client.post("/api/chat/messages", json=message)).raise_for_status()
            head = await until(has_both_events)
            found = await log.read("c", head.epoch, 0, 1)
            assert isinstance(found, Replay)
            log._chats.clear()
            await log.seed("c", Head(head.epoch, 1), found.entries)
            await log.subscribe("c", receive)
            reconnects.happen()
            await until(lambda: received == [2])


async def test_a_delivery_that_was_lost_with_the_connection_is_found_after_the_reconnect(tmp_path: Path) -> None:
    log, reconnects = UnreliableLog(), Reconnects()
    async with process_in(tmp_path) as process:
        shared = SharedServices(log, ModelStreams(log), MemoryRateLimiter({}), None, None, None, reconnects.add)
        gateway = build_gateway(process, shared, OpenAdmission(log))
        await log.append("c", "e1", [entry(1, chat_id="c")])
        feed = await gateway.feeds.acquire("c")
        log.drops_deliveries = True
        await log.append("c", "e1", [entry(2, chat_id="c")])
        assert feed.position == Head("e1", 1)
        reconnects.happen()
        await until(lambda: feed.position == Head("e1", 2))
