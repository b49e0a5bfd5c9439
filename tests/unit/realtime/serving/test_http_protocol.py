from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from roomcast.realtime import ServeOptions
from roomcast.realtime.core.timers import TimerWheel
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
