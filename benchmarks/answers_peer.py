"""The peer of `answers.py`: python-socketio, which emits every token to the client that asked."""

from __future__ import annotations

import asyncio
import sys

import socketio
import uvicorn
from answers_responder import answer

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")


async def go(sid: str) -> None:
    """Stream one answer in the background."""
    server.start_background_task(stream, sid)


async def stream(sid: str) -> None:
    """Emit each token."""
    async for token in answer(None):
        await server.emit("token", token, to=sid)


async def main() -> None:
    """Serve, and print a line once the port accepts connections."""
    uvicorn_server = uvicorn.Server(
        uvicorn.Config(socketio.ASGIApp(server), port=int(sys.argv[1]), log_level="warning")
    )
    serving = asyncio.create_task(uvicorn_server.serve())
    while not uvicorn_server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    print("ready", flush=True)
    await serving


if __name__ == "__main__":
    server.on("go", go)
    asyncio.run(main())
