from __future__ import annotations

import asyncio
from typing import Any

from roomcast.realtime import Server, ServerOptions


async def test_handlers_start_in_order_of_arrival_whatever_kind_they_are(peer: Any, settle: Any) -> None:
    server = Server()
    started: list[int] = []

    @server.on("sync")
    def sync(sid: str, number: int) -> int:
        started.append(number)
        return number

    @server.on("async")
    async def coroutine(sid: str, number: int) -> int:
        started.append(number)
        await asyncio.sleep(0)
        return number

    client = peer(server)
    await client.enter()
    client.say(*(f'42{n}["{"sync" if n % 3 else "async"}",{n}]' for n in range(12)))
    await settle(30)
    assert started == list(range(12))
    assert sorted(client.transport.texts) == sorted(f"43{n}[{n}]" for n in range(12))


async def test_a_plain_function_is_answered_in_the_turn_in_which_its_event_came(peer: Any) -> None:
    server = Server()
    server.on("ping", lambda sid: "pong")
    client = peer(server)
    await client.enter()
    client.say('420["ping"]')
    server.engine.log.flush()
    assert client.transport.texts == ['430["pong"]']


async def test_the_acknowledgement_is_behind_what_its_handler_emitted_and_before_what_comes_later(
    peer: Any, settle: Any
) -> None:
    server = Server()

    @server.on("join")
    async def join(sid: str) -> str:
        await asyncio.sleep(0)
        socket = server.socket(sid)
        for number in range(3):
            socket.emit("replay", number)
        socket.join("r")
        asyncio.get_running_loop().call_soon(lambda: server.engine.hub("/") and socket.emit("live"))
        return "joined"

    client = peer(server)
    await client.enter()
    client.say('420["join"]')
    await settle(10)
    assert client.transport.texts == [
        '42["replay",0]',
        '42["replay",1]',
        '42["replay",2]',
        '430["joined"]',
        '42["live"]',
    ]


async def test_at_most_so_many_coroutines_run_and_then_the_transport_is_not_read(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=2, inbox_limit=3))
    gates = [asyncio.Event() for _ in range(8)]
    running: set[int] = set()
    most = 0

    @server.on("work")
    async def work(sid: str, number: int) -> None:
        nonlocal most
        running.add(number)
        most = max(most, len(running))
        await gates[number].wait()
        running.discard(number)

    client = peer(server)
    await client.enter()
    for number in range(8):
        client.say(f'42["work",{number}]')
        await settle()
        assert client.transport.paused is (number >= 4)
    for gate in gates:
        gate.set()
    await settle(40)
    assert most == 2
    assert running == set()
    assert not client.transport.paused


async def test_large_events_that_wait_stop_the_reading_by_their_size(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=1, max_payload_bytes=1000))
    gate = asyncio.Event()

    @server.on("work")
    async def work(sid: str, data: str) -> None:
        await gate.wait()

    client = peer(server)
    await client.enter()
    for _ in range(3):
        client.say('42["work","' + "x" * 600 + '"]')
        await settle()
    assert client.transport.paused
    gate.set()
    await settle(20)
    assert not client.transport.paused


async def test_a_handler_that_ends_its_own_socket_runs_to_its_end_before_the_disconnect_handler(peer: Any) -> None:
    server = Server()
    calls: list[str] = []

    @server.on("leave")
    def leave(sid: str) -> None:
        server.socket(sid).disconnect()
        calls.append("left")

    @server.event
    def disconnect(sid: str, reason: str) -> None:
        calls.append(reason)

    client = peer(server)
    await client.enter()
    client.say('42["leave"]', '42["leave"]')
    assert calls == ["left", "server disconnect"]
