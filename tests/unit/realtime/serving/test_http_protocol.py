from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from roomcast.realtime import ServeOptions
from roomcast.realtime.limits.timers import TimerWheel
from roomcast.realtime.serving.http_protocol import bounded_http_protocol
from support.virtual_time import run_in_virtual_time
from unit.realtime.conftest import StreamTransport, settle

RESOLUTION_S = 0.25


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def open_protocol(wheel: TimerWheel, application: Any = app, **options: Any) -> tuple[Any, StreamTransport]:
    protocol_class = bounded_http_protocol(ServeOptions(**options), wheel)
    protocol = protocol_class(Config(application, log_config=None, ws="none"), ServerState(), {})
    transport = StreamTransport()
    protocol.connection_made(transport)
    return protocol, transport


def test_a_head_that_trickles_does_not_extend_its_deadline() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocol, transport = open_protocol(TimerWheel(loop, RESOLUTION_S), head_deadline_s=10)
        protocol.data_received(b"GET / HTTP/1.1\r\nx: ")
        while loop.time() < 9.5:
            await asyncio.sleep(0.5)
            protocol.data_received(b"y")
        assert not transport.written
        await asyncio.sleep(0.5 + RESOLUTION_S)
        assert transport.written.startswith(b"HTTP/1.1 408 ")
        assert transport.closed
        protocol.connection_lost(None)

    run_in_virtual_time(main())


async def test_pipelined_requests_are_not_parsed_ahead() -> None:
    gate = asyncio.Event()
    served = 0

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        nonlocal served
        served += 1
        await gate.wait()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    wheel = TimerWheel(asyncio.get_running_loop(), RESOLUTION_S)
    protocol, transport = open_protocol(wheel, application=slow)
    for _ in range(3):
        protocol.data_received(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 100)
    await settle()
    assert len(protocol.pipeline) == 1
    assert served == 1
    assert not transport.reading
    gate.set()
    await settle(3000)
    assert served == 300
    assert transport.written.count(b"HTTP/1.1 204 ") == 300
    assert transport.reading
    protocol.connection_lost(None)
    wheel.stop()


async def test_empty_lines_before_a_request_are_read_in_turns_too() -> None:
    wheel = TimerWheel(asyncio.get_running_loop(), RESOLUTION_S)
    protocol, transport = open_protocol(wheel)
    protocol.data_received(b"\r\n" * 20_000)
    assert not transport.reading
    for _ in range(1000):
        await asyncio.sleep(0)
        if transport.reading:
            break
    assert transport.reading
    protocol.connection_lost(None)
    wheel.stop()


REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def writes_of(*messages: dict[str, Any] | None, request: bytes = REQUEST) -> list[bytes]:
    """The writes of a response; None: the application waits for turns of the loop."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await (settle() if message is None else send(message))

    wheel = TimerWheel(asyncio.get_running_loop(), RESOLUTION_S)
    protocol, transport = open_protocol(wheel, application=answer)
    writes: list[bytes] = []
    transport.write = writes.append  # type: ignore[method-assign]
    protocol.data_received(request)
    await settle(30)
    protocol.connection_lost(None)
    wheel.stop()
    return writes


def start(size: int | None = None) -> dict[str, Any]:
    headers = [] if size is None else [(b"content-length", b"%d" % size)]
    return {"type": "http.response.start", "status": 200, "headers": headers}


async def test_a_head_and_the_body_that_follows_at_once_are_one_write() -> None:
    (written,) = await writes_of(start(5), {"type": "http.response.body", "body": b"hello"})
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert written.endswith(b"\r\n\r\nhello")


async def test_a_head_without_a_body_at_once_is_not_held_back() -> None:
    head, first, second = await writes_of(
        start(),
        None,
        {"type": "http.response.body", "body": b"a", "more_body": True},
        {"type": "http.response.body", "body": b"b"},
    )
    assert head.endswith(b"\r\n\r\n")
    assert [first, second] == [b"1\r\na\r\n", b"1\r\nb\r\n0\r\n\r\n"]


async def test_a_large_body_is_not_copied_behind_its_head() -> None:
    body = bytes(100_000)
    head, written = await writes_of(start(len(body)), {"type": "http.response.body", "body": body})
    assert head.endswith(b"\r\n\r\n")
    assert written is body


async def test_the_head_of_a_response_without_a_body_is_written_before_the_connection_closes() -> None:
    request = b"HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    (written,) = await writes_of(start(5), {"type": "http.response.body", "body": b""}, request=request)
    assert written.startswith(b"HTTP/1.1 200 OK\r\n")
