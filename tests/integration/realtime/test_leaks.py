"""Closed connections leave no objects, tasks or timers."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

import pytest

from roomcast.realtime import Server, ServerOptions

KINDS = {"Connection", "Socket", "BoundWebSocketProtocol", "BoundHttpProtocol", "PollingTransport", "AsgiWebSocket"}


def alive() -> Counter[str]:
    gc.collect()
    return Counter(name for thing in gc.get_objects() if (name := type(thing).__name__) in KINDS)


@pytest.mark.parametrize("plain", [False, True], ids=["fast path", "plain ASGI"])
async def test_connections_of_every_kind_leave_no_object_task_or_timer_behind(
    until: Any, serving: Any, plain: bool
) -> None:
    server = Server(ServerOptions(namespaces=("/n",)))

    @server.event
    async def connect(sid: str, environ: dict[str, Any]) -> None:
        await server.enter_room(sid, "r")

    @server.event
    async def disconnect(sid: str, reason: str) -> None:
        await asyncio.sleep(0)

    async with serving(server, plain=plain) as running:
        tasks = len(asyncio.all_tasks())
        before = alive()
        for round_number in range(15):
            websocket = await running.open()
            await websocket.send("40/n,")
            await websocket.send('420["unhandled"]')
            polling = await running.poll_open()
            await running.post(polling, b"40")
            upgrade = await running.poll_open()
            async with running.websocket(f"EIO=4&transport=websocket&sid={upgrade}") as second:
                await second.send("2probe")
                await second.recv()
                await second.send("5" if round_number % 2 else "nonsense")
            await running.post(polling, b"1")
            if round_number % 2:
                await websocket.close()
            else:
                websocket.transport.abort()
            await running.post(upgrade, b"1")
        await until(lambda: not server.connections)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        await until(lambda: alive() <= before)
        assert server.engine.used_hub("/") is None
        assert server.engine.tasks == set()
        assert len(server.engine.log) == 0
