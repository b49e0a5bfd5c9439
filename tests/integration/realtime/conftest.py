"""A server on a free port in the test's event loop, and raw clients."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from roomcast.realtime import ServeOptions, Server, Site, serve
from support.recording_observer import RecordingObserver
from support.waiting import until


@dataclass
class Running:
    """A running server."""

    server: Server
    port: int
    stop: asyncio.Event
    task: asyncio.Task[Any]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def websocket(self, query: str = "EIO=4&transport=websocket", **options: Any) -> connect:
        return connect(
            f"ws://127.0.0.1:{self.port}/socket.io/?{query}", compression=None, ping_interval=None, **options
        )

    async def open(self, **options: Any) -> ClientConnection:
        """A websocket that is connected to the main namespace."""
        websocket = await self.websocket(**options)
        await websocket.recv()
        await websocket.send("40")
        assert str(await websocket.recv()).startswith("40")
        return websocket

    async def raw(self, data: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        return reader, writer

    async def http(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        reader, writer = await self.raw()
        lines = [f"{method} {path} HTTP/1.1", "host: 127.0.0.1", "connection: close", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        first, *rest = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in rest)
        return Answer(int(first.split(" ")[1]), fields, content)

    async def poll_open(self) -> str:
        answer = await self.http("GET", "/socket.io/?EIO=4&transport=polling")
        assert answer.status == 200
        return str(json.loads(answer.body[1:])["sid"])

    async def poll(self, sid: str) -> Answer:
        return await self.http("GET", f"/socket.io/?EIO=4&transport=polling&sid={sid}")

    async def post(self, sid: str, body: bytes) -> Answer:
        return await self.http("POST", f"/socket.io/?EIO=4&transport=polling&sid={sid}", body)


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """Run every test here on uvloop, the default of `serve`'s callers, and on asyncio's loop."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


Serving = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def serving() -> Serving:
    @asynccontextmanager
    async def run(server: Server, app: Any = None, *, plain: bool = False, **options: Any) -> AsyncIterator[Running]:
        """``plain``: without the fast path, as under another ASGI server."""
        stop = asyncio.Event()
        ready = asyncio.get_running_loop().create_future()
        application = server.asgi(app)
        site = Site((lambda *args: application(*args)) if plain else application, "127.0.0.1", 0)  # noqa: PLW0108
        task = asyncio.create_task(serve([site], ServeOptions(on_ready=ready.set_result, **options), stop=stop))
        await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        try:
            yield Running(server, ready.result()[0][0][1], stop, task)
        finally:
            stop.set()
            await task

    return run


@pytest.fixture(name="until")
def until_() -> Callable[..., Any]:
    """See `support.waiting`."""
    return until


@pytest.fixture
def recording() -> RecordingObserver:
    return RecordingObserver()
