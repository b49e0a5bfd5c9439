from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from roomcast.realtime import ServeOptions
from roomcast.realtime.core.timers import TimerWheel
from roomcast.realtime.serving.http_protocol import bounded_http_protocol
from support.virtual_time import run_in_virtual_time
from unit.realtime.conftest import StreamTransport

RESOLUTION_S = 0.25


async def app(scope: Any, receive: Any, send: Any) -> None: ...


def open_protocol(wheel: TimerWheel, **options: Any) -> tuple[Any, StreamTransport]:
    protocol_class = bounded_http_protocol(ServeOptions(**options), wheel)
    protocol = protocol_class(Config(app, log_config=None, ws="none"), ServerState(), {})
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
