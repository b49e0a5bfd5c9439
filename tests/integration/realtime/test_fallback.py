"""The application behind a Socket.IO server: its own websockets, and responses without an end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from roomcast.realtime import Server
from roomcast.realtime.options import CUT_AT_DRAIN


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Echoes websocket messages at /echo, and streams without an end at /endless."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        if scope["path"] != "/echo":
            await send({"type": "websocket.close"})
            return
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    else:
        scope["extensions"][CUT_AT_DRAIN]["mark"]()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass


async def test_websockets_of_other_paths_reach_the_application(serving: Any) -> None:
    async with serving(Server(), application) as running:
        socket_io = await running.open()
        async with connect(f"ws://127.0.0.1:{running.port}/echo") as websocket:
            await websocket.send("hello")
            assert await asyncio.wait_for(websocket.recv(), 5) == "hello"
            assert running.server.connections == 1
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{running.port}/elsewhere")
        assert refused.value.response.status_code == 403
        await socket_io.close()


async def test_a_message_above_the_limit_closes_the_websocket_of_an_application(serving: Any) -> None:
    async with (
        serving(Server(), application, websocket_limit_bytes=1_000) as running,
        connect(f"ws://127.0.0.1:{running.port}/echo") as websocket,
    ):
        await websocket.send("x" * 1_000)
        assert await asyncio.wait_for(websocket.recv(), 5) == "x" * 1_000
        await websocket.send("x" * 1_001)
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(websocket.recv(), 5)
        assert websocket.close_code == 1009


@pytest.mark.parametrize("plain", [False, True])
async def test_a_client_that_sends_pings_and_reads_nothing_is_cut(serving: Any, plain: bool) -> None:
    head = (
        b"GET /echo HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    pings = (b"\x89\xfd\0\0\0\0" + b"x" * 125) * 8_000
    async with serving(Server(), application, plain=plain, unread_deadline_s=0.3) as running:
        reader, writer = await running.raw(head)
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(_write_forever(writer, pings), 20)
        writer.close()


async def _write_forever(writer: asyncio.StreamWriter, data: bytes) -> None:
    while True:
        writer.write(data)
        await writer.drain()


async def test_a_drain_closes_the_websockets_of_an_application_and_cuts_endless_responses(serving: Any) -> None:
    async with serving(Server(), application) as running:
        reader, writer = await running.raw(b"GET /endless HTTP/1.1\r\nhost: x\r\n\r\n")
        await asyncio.wait_for(reader.readuntil(b"begun\r\n"), 5)
        async with connect(f"ws://127.0.0.1:{running.port}/echo") as websocket:
            running.stop.set()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(websocket.recv(), 5)
            assert websocket.close_code == 1012
        # Without the chunk of length 0 that ends a response.
        assert await asyncio.wait_for(reader.read(), 1) == b""
        await asyncio.wait_for(running.task, 1)
        writer.close()
