"""Emits in a loop: clients that read receive everything, those that do not are closed, on every transport."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest

from roomcast.realtime import Server, ServerOptions
from roomcast.realtime.core import backlogs

TRANSPORTS = ["fast path", "asgi", "polling"]
COUNT = 1_500

Next = Callable[[], Awaitable[list[str]]]


@asynccontextmanager
async def reader(running: Any, transport: str) -> AsyncIterator[Next]:
    """A connected client: a function that returns its next packets."""
    if transport == "polling":
        sid = await running.poll_open()
        await running.post(sid, b"40")

        async def poll() -> list[str]:
            answer = await running.poll(sid)
            assert answer.status == 200
            return str(answer.body.decode()).split("\x1e")

        assert (await poll())[0].startswith("40")
        yield poll
        return
    websocket = await running.open()

    async def receive() -> list[str]:
        return [str(await websocket.recv())]

    yield receive
    websocket.transport.abort()


async def numbers(read: Next, count: int) -> list[int]:
    got: list[int] = []
    async with asyncio.timeout(30):
        while len(got) < count:
            got += [json.loads(packet[2:])[1] for packet in await read() if packet.startswith("42")]
    return got


@pytest.mark.parametrize(
    ("transport", "to"),
    [*((name, "one") for name in TRANSPORTS), *(("polling", to) for to in ("all", "room", "operator", "at once"))],
)
async def test_a_client_that_reads_receives_a_burst_above_the_outbox_limit(
    serving: Any, recording: Any, transport: str, to: str
) -> None:
    server = Server(observer=recording)

    async def emit(number: int, sid: str) -> None:
        args = (number, "x" * 1000)
        if to == "operator":
            await server.to("r").emit("n", *args)
        else:
            await server.emit("n", args, to={"all": None, "room": "r"}.get(to, sid))

    async with serving(server, plain=transport == "asgi") as running, reader(running, transport) as read:
        (socket,) = server.sockets()
        socket.join("r")

        async def burst() -> None:
            if to == "at once":
                await asyncio.gather(*(emit(number, socket.sid) for number in range(COUNT)))
                return
            for number in range(COUNT):
                await emit(number, socket.sid)

        task = asyncio.create_task(burst())
        assert await numbers(read, COUNT) == list(range(COUNT))
        await task
        assert recording.of("peer_slow") == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_does_not_read_is_closed_and_delays_the_emits_to_others_once(
    serving: Any, recording: Any, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlogs, "STALLED_S", 0.2)
    server = Server(observer=recording)
    count = 300  # 19 MiB
    async with (
        serving(server, plain=transport == "asgi") as running,
        reader(running, transport),
        reader(running, "asgi") as read,
    ):
        slow = next(iter(server.engine.connections.values()))
        most = 0
        healthy = asyncio.create_task(numbers(read, count))
        process = psutil.Process(os.getpid())
        before, began = process.memory_info().rss, time.monotonic()
        for number in range(count):
            await server.emit("n", (number, "z" * 65536))
            most = max(most, slow.backlog_bytes)
        assert await healthy == list(range(count))
        assert time.monotonic() - began < 10
        ((_, waiting_bytes),) = recording.of("peer_slow")
        assert most <= 2**20 < waiting_bytes
        assert process.memory_info().rss - before < 20 * 2**20
        assert slow not in server.engine.backlogs.watched


async def test_volatile_emits_do_not_wait(serving: Any, recording: Any) -> None:
    server = Server(ServerOptions(outbox_limit_bytes=100_000), observer=recording)
    async with serving(server) as running, reader(running, "polling"):
        await server.emit("n", "x" * 60_000)
        server.engine.log.flush()
        assert server.engine.backlogs.watched
        async with asyncio.timeout(0.5):
            await server.emit("n", "x" * 60_000, volatile=True)
            await server.volatile.emit("n", "x" * 60_000)
        assert recording.of("peer_slow") == []


async def test_a_loop_of_emits_leaves_turns_to_the_event_loop(serving: Any) -> None:
    server = Server()
    data = "z" * 65536
    async with serving(server) as running, reader(running, "fast path") as read:
        loop = asyncio.get_running_loop()
        turns = 0

        def turn() -> None:
            nonlocal turns, handle
            turns += 1
            handle = loop.call_soon(turn)

        handle = loop.call_soon(turn)
        for number in range(12):
            await server.emit("n", (number, data))
        before = turns
        assert before >= 2
        for number in range(12, 24):
            await server.local.emit("n", number, data)
        assert turns - before >= 2
        handle.cancel()
        assert await numbers(read, 24) == list(range(24))
