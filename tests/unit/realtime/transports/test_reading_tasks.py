"""Transports that a task reads: polling and plain ASGI. A client's packets are processed in turns there too."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.realtime import Server
from roomcast.realtime.limits.reading import TURN_PACKETS
from support.virtual_time import run_in_virtual_time

PACKETS = 10 * TURN_PACKETS


def event(number: int) -> str:
    return f'42["x",{number}]'


async def websocket(server: Server, packets: list[str]) -> None:
    waiting = [{"type": "websocket.connect"}, *({"type": "websocket.receive", "text": text} for text in packets)]
    waiting.append({"type": "websocket.disconnect"})

    async def receive() -> Any:
        return waiting.pop(0)  # does not wait, like the queue of an ASGI server

    async def send(_event: Any) -> None: ...

    scope = {"type": "websocket", "path": "/socket.io/", "query_string": b"EIO=4&transport=websocket", "headers": []}
    await server.asgi()(scope, receive, send)


async def polling(server: Server, packets: list[str]) -> None:
    application = server.asgi()
    answers: list[Any] = []

    async def request(method: str, query: str, body: bytes) -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": body}

        async def send(answer: Any) -> None:
            answers.append(answer)

        scope = {"type": "http", "method": method, "path": "/socket.io/", "query_string": query.encode(), "headers": []}
        await application(scope, receive, send)

    await request("GET", "EIO=4&transport=polling", b"")
    (sid,) = server.engine.connections
    await request("POST", f"EIO=4&transport=polling&sid={sid}", "\x1e".join(packets).encode())


@pytest.mark.parametrize("transport", [websocket, polling])
def test_packets_that_arrive_together_are_processed_in_turns(transport: Any) -> None:
    async def main() -> None:
        server = Server()
        handled: list[int] = []
        longest = 0
        server.on("x", lambda _sid, number: handled.append(number))
        task = asyncio.create_task(transport(server, ["40", *map(event, range(PACKETS))]))
        while not task.done():
            before = len(handled)
            await asyncio.sleep(0)
            longest = max(longest, len(handled) - before)
        await task
        assert handled == list(range(PACKETS))
        assert longest <= TURN_PACKETS
        await server.shutdown()

    asyncio.run(main())


@pytest.mark.parametrize("transport", [websocket, polling])
def test_packets_above_the_rate_are_processed_later(transport: Any) -> None:
    async def main() -> None:
        server = Server()
        handled: list[float] = []
        loop = asyncio.get_running_loop()
        server.on("x", lambda _sid, _number: handled.append(loop.time()))
        await transport(server, ["40", *map(event, range(3000))])
        assert len(handled) == 3000
        assert 1.9 < handled[-1] - handled[0] < 2.5  # 1,000 at once, then 1,000 per second
        await server.shutdown()

    run_in_virtual_time(main())


@pytest.mark.parametrize("transport", [websocket, polling])
def test_packets_before_connect_are_limited(transport: Any, recording: Any) -> None:
    server = Server(observer=recording)
    asyncio.run(transport(server, ["3"] * 200))
    assert len(recording.of("peer_malformed")) == 1
