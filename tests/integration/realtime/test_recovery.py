"""Connection state recovery with the official JavaScript client, whose connections are cut by a TCP proxy."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.realtime import RecoveryOptions, Server, ServerOptions
from support.recovery_client import official_client
from support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.node


def room_server() -> Server:
    server = Server(ServerOptions(ping_interval_s=1.0, ping_timeout_s=0.5, recovery=RecoveryOptions()))

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        if not server.socket(sid).recovered:
            await server.enter_room(sid, "r")

    return server


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_after_each_cut_the_client_has_every_event_once_and_in_order(serving: Any, transport: str) -> None:
    server = room_server()
    numbers = 160
    async with (
        serving(server) as running,
        TcpProxy(running.port) as proxy,
        official_client(proxy.port, transport) as client,
    ):
        assert await client.connected() is False
        (sid,) = [socket.sid for socket in server.sockets("r")]
        assert await client.cut(proxy) is True  # before the first event
        for number in range(numbers):
            await server.emit("number", number, room="r" if number % 3 else sid)
            if number % 50 == 5:
                await server.emit("hint", "text that is no offset", room="r", volatile=True)
                await asyncio.sleep(0)
                if transport == "polling" or number != 55:  # an idle connection for polling would be used again
                    assert await client.cut(proxy) is True
                else:
                    proxy.strand()  # the client notices first
                    assert await client.connected() is True
            await asyncio.sleep(0.001)
        assert await client.cut(proxy) is True
        await client.received(numbers - 1)
        seen = await client.end()
    assert [number for number, _ in seen["numbers"]] == list(range(numbers))
    assert {extra for _, extra in seen["numbers"]} == {1}  # the offset
    assert {connect["sid"] for connect in seen["connects"]} == {sid}
    assert [connect["recovered"] for connect in seen["connects"]] == [False] + [True] * (len(seen["connects"]) - 1)
    # The missed events were there before the client was connected.
    assert seen["connects"][-1]["after"] == numbers
