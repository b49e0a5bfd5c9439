"""A server process for test_hostile_clients: ``python hostile_server.py serve|uvicorn|python-socketio``.

Prints ``ready PORT``, then ``gone`` and ``slow BYTES`` for each client that ends so.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import socketio
import uvicorn

from roomcast.realtime import Observer, ServeOptions, Server, ServerOptions, Site, serve
from roomcast.realtime.serving.process import loop_factory

ORIGIN = "https://chat.example"


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


class Report(Observer):
    def peer_slow(self, connection: Any, waiting_bytes: int) -> None:
        say("slow", waiting_bytes)


def server_of(kind: str) -> Any:
    if kind == "python-socketio":
        return socketio.AsyncServer(async_mode="asgi", cors_allowed_origins=[ORIGIN])
    return Server(ServerOptions(cors_allowed_origins=(ORIGIN,)), observer=Report())


def handle(server: Any) -> None:
    @server.event
    def connect(sid: str, environ: Any) -> None: ...

    @server.event
    def disconnect(sid: str, reason: str) -> None:
        say("gone")

    @server.on("echo")
    def echo(sid: str, value: Any) -> Any:
        return value

    @server.on("upload")
    def upload(sid: str, *data: bytes) -> int:
        return sum(map(len, data))

    @server.on("flood")
    async def flood(sid: str, count: int) -> None:
        for number in range(count):
            await server.emit("big", (number, "z" * 65536))


async def main(kind: str) -> None:
    server = server_of(kind)
    handle(server)
    if kind == "serve":
        options = ServeOptions(on_ready=lambda sites: say("ready", sites[0][0][1]))
        await serve([Site(server.asgi(), "127.0.0.1", 0)], options)
        return
    application = server.asgi() if kind == "uvicorn" else socketio.ASGIApp(server)
    config = uvicorn.Config(application, port=0, log_level="error", lifespan="off", ws="websockets-sansio")
    process = uvicorn.Server(config)
    task = asyncio.create_task(process.serve())
    while not process.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    say("ready", process.servers[0].sockets[0].getsockname()[1])
    await task


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(sys.argv[1]))
