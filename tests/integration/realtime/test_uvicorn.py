"""The plain ASGI application under uvicorn with each of its websocket implementations."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect as connect_websocket

from roomcast.realtime import Server
from support.waiting import until

IMPLEMENTATIONS = ["websockets-sansio", "wsproto", "websockets"]


@asynccontextmanager
async def uvicorn_port(server: Server, websockets: str, application: Any = None) -> AsyncIterator[int]:
    config = uvicorn.Config(application or server.asgi(), port=0, log_level="error", lifespan="off", ws=websockets)  # type: ignore[arg-type]
    process = uvicorn.Server(config)
    task = asyncio.create_task(process._serve())
    await until(lambda: process.started)
    try:
        yield process.servers[0].sockets[0].getsockname()[1]
    finally:
        process.should_exit = True
        await server.shutdown()
        await task


@pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated", "ignore::DeprecationWarning")
@pytest.mark.parametrize("websockets", IMPLEMENTATIONS)
async def test_a_poll_that_follows_the_upgrade_packet_is_refused(websockets: str) -> None:
    server = Server()
    async with uvicorn_port(server, websockets) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)

        async def response() -> tuple[int, bytes]:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return int(head.split(b" ")[1]), await reader.readexactly(length)

        def get(sid: str) -> None:
            query = f"EIO=4&transport=polling{sid and f'&sid={sid}'}"
            writer.write(f"GET /socket.io/?{query} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n".encode())

        for _ in range(5):
            get("")
            sid = json.loads((await response())[1][1:])["sid"]
            url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket&sid={sid}"
            async with connect_websocket(url, compression=None, ping_interval=None) as websocket:
                await websocket.send("2probe")
                await websocket.send("5")
                get(sid)
                assert (await response())[0] == 400
        writer.close()


async def test_the_environ_has_the_scope_with_what_a_middleware_has_put_into_it() -> None:
    server = Server()
    seen: list[object] = []

    @server.event
    def connect(sid: str, environ: Any) -> None:
        scope = environ["asgi.scope"]
        seen.append((scope["user"], scope["type"], environ["SERVER_PORT"], dict(scope["headers"])[b"x-test"]))

    application = server.asgi()

    async def middleware(scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "user": "ada"}, receive, send)

    async with uvicorn_port(server, "websockets-sansio", middleware) as port:
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        async with connect_websocket(url, compression=None, additional_headers={"x-test": "1"}) as websocket:
            await websocket.recv()
            await websocket.send("40")
            sid = json.loads(str(await websocket.recv())[2:])["sid"]
            assert seen == [("ada", "websocket", str(port), b"1")]
            assert server.get_environ(sid)["asgi.scope"]["user"] == "ada"
