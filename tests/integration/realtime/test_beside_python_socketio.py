"""Behaviours that applications of python-socketio depend on, on both servers, each under uvicorn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import socketio
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from roomcast.realtime import ConnectionRefusedError, Server  # noqa: A004 - python-socketio's name
from support.waiting import until


@pytest.fixture(params=["roomcast", "python-socketio"])
def server(request: pytest.FixtureRequest) -> Any:
    return Server() if request.param == "roomcast" else socketio.AsyncServer(async_mode="asgi")


@asynccontextmanager
async def running(server: Any) -> AsyncIterator[int]:
    """Serve with uvicorn, as a plain ASGI application; yield the port."""
    ours = isinstance(server, Server)
    application = server.asgi() if ours else socketio.ASGIApp(server)
    config = uvicorn.Config(application, port=0, log_level="error", lifespan="off", ws="websockets-sansio")
    process = uvicorn.Server(config)
    process.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # not all versions have it
    task = asyncio.create_task(process._serve())
    await until(lambda: process.started)
    try:
        yield process.servers[0].sockets[0].getsockname()[1]
    finally:
        process.should_exit = True
        if ours:
            await server.shutdown()
        await task


@asynccontextmanager
async def client(port: int) -> AsyncIterator[ClientConnection]:
    """A websocket that has sent its CONNECT packet."""
    url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
    async with connect(url, compression=None, ping_interval=None) as websocket:
        await websocket.recv()
        await websocket.send("40")
        yield websocket


async def received(websocket: ClientConnection, count: int) -> list[str]:
    """The next packets."""
    async with asyncio.timeout(10):
        return [str(await websocket.recv()) for _ in range(count)]


async def test_every_emit_of_a_connect_handler_reaches_its_client_in_order(server: Any) -> None:
    answers: list[Any] = []

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        await server.enter_room(sid, "lobby")
        await server.emit("room", room="lobby")
        await server.emit("all")
        await server.emit("own", to=sid)
        await server.emit("asked", to=sid, callback=answers.append)

    async with running(server) as port, client(port) as websocket:
        packets = await received(websocket, 5)
        (connected,) = [packet for packet in packets if packet.startswith("40{")]
        packets.remove(connected)
        *events, asked = packets
        assert events == ['42["room"]', '42["all"]', '42["own"]']
        ack_id = asked.removeprefix("42").removesuffix('["asked"]')
        await websocket.send(f"43{ack_id}[1]")
        await until(lambda: answers)
        assert answers == [1]


async def test_handlers_that_await_the_client_get_its_answers_behind_a_burst_of_events(server: Any) -> None:
    @server.on("work")
    async def work(sid: str, number: int) -> Any:
        return await server.call("question", number, to=sid, timeout=5)

    @server.event
    async def connect(sid: str, environ: Any) -> None: ...

    async with running(server) as port, client(port) as websocket:
        await websocket.recv()
        for number in range(300):
            await websocket.send(f'42{number}["work",{number}]')
        answers: dict[str, str] = {}
        async with asyncio.timeout(20):
            while len(answers) < 300:
                packet = str(await websocket.recv())
                head, _, args = packet.partition("[")
                if head.startswith("42"):
                    await websocket.send(f"43{head[2:]}[{args.rpartition(',')[2]}")
                elif head.startswith("43"):
                    answers[head[2:]] = args
        assert answers == {str(number): f"{number}]" for number in range(300)}


async def test_rooms_with_numbers_and_clients_that_are_gone(server: Any) -> None:
    rooms: list[Any] = []

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        await server.enter_room(sid, 5)
        rooms.extend(server.rooms(sid))
        await server.emit("number", room=5)
        await server.emit("text", room="5")
        await server.leave_room("gone", 5)
        rooms.extend(server.rooms("gone"))

    @server.on("done")
    def done(sid: str) -> bool:
        return sid in rooms and 5 in rooms and len(rooms) == 2

    async with running(server) as port, client(port) as websocket:
        packets = await received(websocket, 2)
        assert '42["number"]' in packets
        await websocket.send('420["done"]')
        assert await received(websocket, 1) == ["430[true]"]


async def test_a_number_refuses_a_client_as_text(server: Any) -> None:
    refusal = ConnectionRefusedError if isinstance(server, Server) else socketio.exceptions.ConnectionRefusedError

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        raise refusal(5)

    async with running(server) as port, client(port) as websocket:
        assert await received(websocket, 1) == ['44{"message":"5"}']


async def test_a_context_variable_of_one_event_is_not_set_in_the_next(server: Any) -> None:
    user: ContextVar[str] = ContextVar("user", default="none")

    @server.event
    def connect(sid: str, environ: Any) -> None: ...

    @server.on("who")
    def who(sid: str) -> str:
        before = user.get()
        user.set("ada")
        return before

    async with running(server) as port, client(port) as websocket:
        await websocket.recv()
        for _ in range(2):
            await websocket.send('420["who"]')
            assert await received(websocket, 1) == ['430["none"]']
