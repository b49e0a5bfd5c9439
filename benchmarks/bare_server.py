"""`roomcast.realtime` alone, with the events that the load generator uses; node/server.mjs has the same."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from roomcast.realtime import ServeOptions, Server, ServerOptions, Site, loop_factory, serve

server = Server(ServerOptions(ping_interval_s=300.0))


@server.on("echo")
async def echo(_sid: str, number: int) -> int:
    """Acknowledge with the argument."""
    return number


@server.on("join-chat")
async def join(sid: str, chat_id: str) -> dict[str, bool]:
    """Join the room of a chat."""
    await server.enter_room(sid, f"chat:{chat_id}")
    return {"ok": True}


@server.on("blast")
async def blast(_sid: str, order: dict[str, Any]) -> None:
    """Emit numbered messages to the room, ``perTick`` in each of ``ticks`` loop ticks."""
    message = order["message"]
    for _ in range(order["ticks"]):
        for _ in range(order["perTick"]):
            await server.emit("new-msg", message, room=order["room"])
            message = {**message, "n": message["n"] + 1}
        await asyncio.sleep(0)


async def main(port: int) -> None:
    """Serve on loopback until stopped."""
    await serve([Site(server.asgi(), "127.0.0.1", port)], ServeOptions(on_ready=lambda _: print("ready", flush=True)))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(int(sys.argv[1])))
