"""The ASGI servers in which a Socket.IO server may be mounted, each in the event loop of the test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from roomcast.realtime import ServeOptions, Site, serve
from support.ports import free_port
from support.programs import unavailable
from support.waiting import until

#: Runs an application on a free port of loopback, and returns the port.
AsgiServer = Callable[[Any], AbstractAsyncContextManager[int]]


@asynccontextmanager
async def _serve(app: Any) -> AsyncIterator[int]:
    stop = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    options = ServeOptions(on_ready=ready.set_result, drain_pause_s=0)
    task = asyncio.create_task(serve([Site(app, "127.0.0.1", 0)], options, stop=stop))
    await asyncio.wait({task, ready}, return_when=asyncio.FIRST_COMPLETED)
    try:
        yield ready.result()[0][0][1]
    finally:
        stop.set()
        await task


def _uvicorn(ws: str) -> AsgiServer:
    @asynccontextmanager
    async def run(app: Any) -> AsyncIterator[int]:
        import uvicorn

        config = uvicorn.Config(
            app,
            port=0,
            ws=ws,  # type: ignore[arg-type]  # newer than the annotation
            log_config=None,
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve())
        await until(lambda: server.started)
        try:
            yield server.servers[0].sockets[0].getsockname()[1]
        finally:
            server.should_exit = True
            await task

    return run


@asynccontextmanager
async def _hypercorn(app: Any) -> AsyncIterator[int]:
    try:
        from hypercorn.asyncio import serve as run
        from hypercorn.config import Config
    except ImportError:
        unavailable("no hypercorn here: pip install hypercorn")
    config = Config()
    config.bind = [f"127.0.0.1:{(port := free_port())}"]
    config.graceful_timeout = config.shutdown_timeout = 1
    stop = asyncio.Event()
    task = asyncio.create_task(run(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]  # our scope
    await until(lambda: _accepts(port))
    try:
        yield port
    finally:
        stop.set()
        await task


@asynccontextmanager
async def _granian(app: Any) -> AsyncIterator[int]:
    try:
        from granian.constants import Interfaces
        from granian.server.embed import Server
    except ImportError:
        unavailable("no granian here: pip install granian")
    port = free_port()
    threads = _native_threads()
    server = Server(app, port=port, interface=Interfaces.ASGI, log_enabled=False)
    task = asyncio.create_task(server.serve())
    await until(lambda: _accepts(port))
    try:
        yield port
    finally:
        server.stop()
        await task
        # A thread of granian that outlives the interpreter aborts the process.
        await until(lambda: _native_threads() <= threads)


def _native_threads() -> int:
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) - threading.active_count() if tasks.exists() else 0


async def _accepts(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


ASGI_SERVERS: dict[str, AsgiServer] = {
    "serve": _serve,
    "uvicorn websockets": _uvicorn("websockets"),
    "uvicorn websockets-sansio": _uvicorn("websockets-sansio"),
    "uvicorn wsproto": _uvicorn("wsproto"),
    "hypercorn": _hypercorn,
    "granian": _granian,
}
