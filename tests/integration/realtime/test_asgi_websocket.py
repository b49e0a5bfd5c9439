"""WebSocket over plain ASGI: the same server without the fast path."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from roomcast.realtime import Server, ServerOptions


def echo_server(**options: Any) -> Server:
    server = Server(ServerOptions(**options))

    @server.on("echo")
    def echo(sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    return server


async def test_text_and_binary_go_both_ways_in_order(serving: Any) -> None:
    async with serving(echo_server(), plain=True) as running:
        websocket = await running.open()
        await websocket.send('451-0["echo",{"_placeholder":true,"num":0}]')
        await websocket.send(b"\x00\xff")
        await websocket.send('421["echo","ü"]')
        assert await websocket.recv() == '461-0[{"_placeholder":true,"num":0}]'
        assert await websocket.recv() == b"\x00\xff"
        assert await websocket.recv() == '431["ü"]'
        await websocket.close()


async def test_a_foreign_origin_is_refused_before_the_handshake(serving: Any) -> None:
    async with serving(echo_server(), plain=True) as running:
        with pytest.raises(InvalidStatus) as refused:
            await running.websocket(additional_headers={"origin": "https://evil.example"})
        assert refused.value.response.status_code == 403


async def test_a_malformed_client_is_closed(until: Any, serving: Any, recording: Any) -> None:
    async with serving(Server(observer=recording), plain=True) as running:
        async with running.websocket() as websocket:
            await websocket.recv()
            await websocket.send("4abc")
            await asyncio.wait_for(websocket.wait_closed(), 5)
        await until(lambda: not running.server.connections)
        assert len(recording.of("peer_malformed")) == 1


async def test_a_client_that_does_not_read_is_closed_at_its_outbox_limit(
    until: Any, serving: Any, recording: Any
) -> None:
    async with serving(Server(observer=recording), plain=True) as running:
        websocket = await running.open()
        websocket.transport.pause_reading()
        while running.server.connections:
            await running.server.emit("big", "z" * 65536)
            await asyncio.sleep(0)
        ((_, waiting),) = recording.of("peer_slow")
        assert waiting < 2**20 + 2 * 65600
        websocket.transport.abort()


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
