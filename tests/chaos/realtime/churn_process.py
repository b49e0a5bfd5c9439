"""A server for test_churn: prints its port, and for each line of standard input what it holds, as JSON."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from roomcast.realtime import Server, ServerOptions
from support.asgi_servers import ASGI_SERVERS


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def held(server: Server) -> dict[str, Any]:
    """What the process holds now."""
    gc.collect()
    kinds = Counter(type(thing).__name__ for thing in gc.get_objects())
    wheel = server.engine.wheel
    return {
        "connections": server.connections,
        "tasks": len(asyncio.all_tasks()),
        "handlers": len(server.engine.tasks),
        "timers": sum(map(len, wheel._buckets.values())),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "memory_kib": int(Path("/proc/self/statm").read_text().split()[1]) * 4,
        "objects": sum(kinds.values()),
        "most": kinds.most_common(12),
    }


async def main(name: str) -> None:
    server = Server(ServerOptions(ping_interval_s=0.5, ping_timeout_s=0.5, max_connections=100_000))

    @server.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await server.enter_room(sid, "lobby")
        await server.enter_room(sid, f"room of {sid}")
        await server.emit("hello", {"sid": sid}, to=sid)

    @server.event
    async def disconnect(sid: str, reason: str) -> None:
        await asyncio.sleep(0)

    server.on("echo", lambda _sid, *args: args)
    async with ASGI_SERVERS[name](server.asgi()) as port:
        say(port)
        while await asyncio.to_thread(sys.stdin.readline):
            say(json.dumps(held(server)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
