"""A server process for test_serving: prints its ports, then one line for each event."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from roomcast.realtime import ServeError, ServeOptions, Server, Site, serve
from roomcast.realtime.serving.process import loop_factory


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def main(mode: str, port: int) -> None:
    server = Server()

    @server.event
    def disconnect(sid: str, reason: str) -> None:
        say("disconnected", reason)

    @server.on("busy")
    async def busy(sid: str, seconds: float) -> None:
        say("busy")
        try:
            await asyncio.sleep(seconds)
        finally:
            say("not busy")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            if mode == "broken":
                await send({"type": "lifespan.startup.failed", "message": "no database"})
                return
            await send({"type": "lifespan.startup.complete"})
            await receive()
            say("lifespan ended")
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["path"] == "/slow":
            say("request")
            await asyncio.sleep(0.3)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
            await send({"type": "http.response.body", "body": b"slow"})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    def ready(addresses: Any) -> None:
        say("ready", *(port for _, port in (site[0] for site in addresses)))

    options = ServeOptions(on_ready=ready, on_unready=lambda: say("unready"), drain_batch=2, drain_pause_s=0.01)
    number = await serve([Site(server.asgi(app), "127.0.0.1", port), Site(app, "127.0.0.1", 0)], options)
    say("ended", number.name if number is not None else None)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory() if sys.argv[1] != "asyncio" else None) as runner:
        try:
            runner.run(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
        except ServeError as error:
            say(type(error).__name__, error)
            sys.exit(3)
