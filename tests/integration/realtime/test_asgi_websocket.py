"""WebSocket over plain ASGI, without the fast path; `tests/contract/test_asgi_servers.py` has what is the same."""

from __future__ import annotations

import asyncio
from typing import Any

from roomcast.realtime import Server, ServerOptions


async def test_a_malformed_client_is_closed(until: Any, serving: Any, recording: Any) -> None:
    async with serving(Server(observer=recording), plain=True) as running:
        async with running.websocket() as websocket:
            await websocket.recv()
            await websocket.send("4abc")
            await asyncio.wait_for(websocket.wait_closed(), 5)
        await until(lambda: not running.server.connections)
        assert len(recording.of("peer_malformed")) == 1


async def test_a_full_inbox_pauses_reading(until: Any, serving: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=2, inbox_limit=2))
    gate = asyncio.Event()
    started: list[int] = []

    @server.on("work")
    async def work(sid: str, number: int) -> None:
        started.append(number)
        await gate.wait()

    async with serving(server, plain=True) as running:
        websocket = await running.open()
        for number in range(50):
            await websocket.send(f'42["work",{number}]')
        (connection,) = server.engine.connections.values()
        await until(lambda: connection.input_waits and len(started) >= 2)
        assert started == [0, 1]
        gate.set()
        await until(lambda: len(started) == 50)
        assert started == list(range(50))
        await websocket.close()
