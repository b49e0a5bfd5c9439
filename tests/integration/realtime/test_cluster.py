"""Two servers whose adapters share a bus."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.realtime import EncodedEvent, Server, SocketGone
from roomcast.realtime.adapters.memory import MemoryAdapter, MemoryBus


async def test_emits_joins_and_disconnects_reach_the_other_server_and_broadcasts_do_not(
    until: Any, serving: Any
) -> None:
    bus = MemoryBus()
    a, b = Server(adapter=MemoryAdapter(bus)), Server(adapter=MemoryAdapter(bus))
    async with serving(a) as running_a, serving(b) as running_b:
        here, there = await running_a.open(), await running_b.open()
        (sid,) = [socket.sid for socket in b.sockets()]
        await a.enter_room(sid, "r")
        await until(lambda: b.sockets("r"))
        await a.emit("one", 1, room="r")
        await a.emit("two", {"bytes": b"\x01"})
        await a.emit("three", skip_sid=sid)
        a.broadcast(None, EncodedEvent.from_args("local"))
        assert [await there.recv() for _ in range(3)] == [
            '42["one",1]',
            '451-["two",{"bytes":{"_placeholder":true,"num":0}}]',
            b"\x01",
        ]
        assert [await here.recv() for _ in range(4)][2:] == ['42["three"]', '42["local"]']
        await a.close_room("r")
        await until(lambda: not b.sockets("r"))
        await a.disconnect(sid)
        assert await there.recv() == "41"
        await here.close()
        await there.close()


async def test_a_single_server_reports_an_unknown_socket_as_gone(serving: Any) -> None:
    server = Server()
    async with serving(server):
        with pytest.raises(SocketGone):
            await server.enter_room("unknown", "r")
        with pytest.raises(KeyError):
            server.socket("unknown")
        await server.disconnect("unknown")
        assert await server.emit("nothing", to="unknown") is None
