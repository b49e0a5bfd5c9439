"""The server of fanout.py: `roomcast.realtime` alone, which emits when a client requests it."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from roomcast.realtime import ServeOptions, Server, ServerOptions, Site, loop_factory, serve

server = Server(ServerOptions(ping_interval_s=300.0))


@server.on("join")
async def join(sid: str, room: str) -> bool:
    """Join a room."""
    await server.enter_room(sid, room)
    return True


@server.on("blast")
async def blast(_sid: str, order: dict[str, Any]) -> None:
    """Emit to the room, ``perTick`` messages in each of ``ticks`` loop ticks."""
    for _ in range(order["ticks"]):
        for _ in range(order["perTick"]):
            await server.emit("new-msg", order["message"], room=order["room"])
        await asyncio.sleep(0)


async def main(port: int) -> None:
    """Serve on loopback until stopped."""
    await serve([Site(server.asgi(), "127.0.0.1", port)], ServeOptions(on_ready=lambda _: print("ready", flush=True)))


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(main(int(sys.argv[1])))
