from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest

from roomcast.realtime import Server, ServerOptions
from roomcast.realtime.core.handlers.inbox import weight
from support.virtual_time import run_in_virtual_time


async def test_functions_and_coroutines_start_in_order_of_arrival(peer: Any, settle: Any) -> None:
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


async def test_the_return_value_of_a_plain_function_is_sent_in_the_loop_turn_of_its_event(peer: Any) -> None:
    server = Server()
    server.on("ping", lambda sid: "pong")
    client = peer(server)
    await client.enter()
    client.say('420["ping"]')
    server.engine.log.flush()
    assert client.transport.texts == ['430["pong"]']


async def test_an_acknowledgement_follows_the_emits_of_its_handler_and_precedes_later_ones(
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


async def test_an_acknowledgement_that_is_written_at_once_does_not_overtake_an_emit(peer: Any, settle: Any) -> None:
    server = Server()
    replies = {"first": ["answer", "event"], "last": ["event", "answer"]}

    @server.on("first")
    def first(sid: str) -> str:
        asyncio.get_running_loop().call_soon(lambda: server.socket(sid).emit("event"))
        return "answer"

    @server.on("last")
    def last(sid: str) -> str:
        server.socket(sid).emit("event")
        return "answer"

    for name, expected in replies.items():
        client = peer(server, fast=True)
        client.say("40")
        await settle()
        client.transport.frames.clear()
        client.say(f'427["{name}"]')
        await settle()
        written = b"".join(client.transport.frames)
        positions = {"event": written.index(b'42["event"]'), "answer": written.index(b'437["answer"]')}
        assert sorted(positions, key=positions.__getitem__) == expected


async def test_the_number_of_running_coroutines_is_limited_and_a_full_inbox_pauses_reading(
    peer: Any, settle: Any
) -> None:
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


async def test_waiting_events_pause_reading_at_their_size_limit(peer: Any, settle: Any) -> None:
    event = '42["work","' + "x" * 600 + '"]'
    server = Server(ServerOptions(handler_concurrency=1, max_payload_bytes=2 * len(event[1:])))
    gates = [asyncio.Event(), asyncio.Event()]
    gate = gates[0]

    @server.on("work")
    async def work(sid: str, data: str) -> None:
        await gate.wait()

    client = peer(server)
    await client.enter()
    assert not client.connection.input_waits
    for gate in gates:  # the second time with the sizes of the first subtracted again
        for waiting in range(3):
            client.say(event)
            await settle()
            assert client.transport.paused is client.connection.input_waits is (waiting == 2)
        gate.set()
        await settle(20)
        assert not client.transport.paused
        assert not client.connection.input_waits


@pytest.mark.parametrize("awaited_in", ["call", "callback", "coroutine callback"])
async def test_acknowledgements_are_read_behind_a_full_inbox_whose_handlers_await_them(
    peer: Any, settle: Any, awaited_in: str
) -> None:
    server = Server(ServerOptions(handler_concurrency=2, inbox_limit=3))

    @server.on("work")
    async def work(sid: str, number: int) -> Any:
        await asyncio.sleep(0)  # the inbox is full before the first question
        if awaited_in == "call":
            return await server.call("question", number, to=sid)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def later(value: Any) -> None:
            answer.set_result(value)

        await server.emit("question", number, to=sid, callback=answer.set_result if awaited_in == "callback" else later)
        return await answer

    client = peer(server)
    await client.enter()
    waiting = [f'42{n}["work",{n}]' for n in range(50)]
    answered: list[str] = []
    for _ in range(400):
        while waiting and not client.transport.paused:
            client.say(waiting.pop(0))
        await settle(3)
        for text in client.transport.texts:
            if "question" in text:
                waiting.append(f"43{text[2 : text.index('[')]}[{text[:-1].rpartition(',')[2]}]")
            else:
                answered.append(text)
        client.transport.messages.clear()
    assert sorted(answered) == sorted(f"43{n}[{n}]" for n in range(50))
    assert not client.transport.paused


async def test_what_waits_behind_handlers_that_await_acknowledgements_is_limited(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=1, inbox_limit=3, max_payload_bytes=4_000))

    @server.on("work")
    async def work(sid: str, data: str) -> None:
        await server.call("question", to=sid)

    client = peer(server)
    await client.enter()
    sent = 0
    while not client.transport.paused:
        client.say('42["work","' + "x" * 500 + '"]')
        await settle()
        sent += 1
        assert sent < 100
    assert 10 <= sent <= 1 + 4 * 4_000 / 1_000  # one runs
    await server.engine.abort()


async def test_waiting_events_count_with_all_of_their_attachments(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=1, max_payload_bytes=4_000))

    @server.on("work")
    async def work(sid: str, *data: bytes) -> None:
        await asyncio.Event().wait()

    client = peer(server)
    await client.enter()
    places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(3))
    for waiting in (False, True):
        client.say(f'453-["work",{places}]', b"x" * 2_000, b"x" * 2_000, b"")
        await settle()
        assert client.transport.paused is waiting
    await server.engine.abort()


@pytest.mark.parametrize("value", ["[]", '{"":0}', "1.5"])
async def test_events_whose_values_take_many_times_their_text_wait_in_bounded_memory(
    peer: Any, settle: Any, value: str
) -> None:
    server = Server(ServerOptions(handler_concurrency=1))

    @server.on("work")
    async def work(sid: str, *data: Any) -> None:
        await server.call("question", to=sid)

    client = peer(server)
    await client.enter()
    client.say('42["work"]')
    await settle()
    event = '42["work",' + ",".join([value] * (100_000 // len(value))) + "]"
    tracemalloc.start()
    try:
        for _ in range(50):
            if not client.transport.paused:
                client.say(event)
        assert client.transport.paused
        assert tracemalloc.get_traced_memory()[0] < 26_000_000
    finally:
        tracemalloc.stop()
    await server.engine.abort()


@pytest.mark.parametrize(
    ("data", "most"),
    [
        ('42["say","' + "Hello, all of you in this room. " * 30 + '"]', 1),
        ('42["rows",' + '{"id":"7f3a","text":"Hello, all of you","seq":12},' * 30 + "]", 2),
        (b"[,{" * 9, 1),
    ],
)
def test_a_common_packet_counts_with_about_its_size(data: str | bytes, most: float) -> None:
    assert len(data) <= weight(data) <= most * len(data)


def test_a_pong_is_read_behind_a_full_inbox(peer: Any) -> None:
    async def main() -> None:
        server = Server(ServerOptions(handler_concurrency=1, inbox_limit=2, ping_interval_s=25, ping_timeout_s=20))

        @server.on("work")
        async def work(sid: str) -> None:
            await asyncio.sleep(300)

        client = peer(server)
        await client.enter()
        client.say(*['42["work"]'] * 3)
        for _ in range(5):
            await asyncio.sleep(10)
            assert client.transport.paused
            await asyncio.sleep(16)
            assert not client.transport.paused  # a ping was sent
            client.say("3", '42["work"]')
            assert client.transport.paused
        assert server.connections == 1
        await asyncio.sleep(50)
        assert server.connections == 0
        await server.engine.abort()

    run_in_virtual_time(main())


async def test_a_waiting_coroutine_does_not_delay_the_next_handler(peer: Any, settle: Any) -> None:
    server = Server()
    started: list[int] = []

    @server.on("work")
    async def work(sid: str, number: int) -> None:
        started.append(number)
        await asyncio.Event().wait()

    client = peer(server)
    await client.enter()
    client.say('42["work",1]', '42["work",2]', '42["work",3]')
    await settle()
    assert started == [1, 2, 3]
    await server.engine.abort()


async def test_a_handler_that_disconnects_its_own_socket_finishes_before_the_disconnect_handler(peer: Any) -> None:
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
