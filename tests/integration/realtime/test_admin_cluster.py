"""The namespace for the admin UI on two servers of a cluster over Redis."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final

import pytest
from websockets.asyncio.client import ClientConnection

from roomcast.realtime import Server
from roomcast.realtime.adapters.redis import RedisAdapter, ShardedRedisAdapter
from roomcast.realtime.admin import AdminOptions, hash_password, instrument
from support.redis_server import RedisServer, running
from support.socketio_cluster import redis_options

PASSWORD_HASH: Final = hash_password("secret")


class Ui:
    """What the UI has received."""

    def __init__(self, websocket: ClientConnection) -> None:
        self.websocket = websocket
        self.events: list[list[Any]] = []

    async def until(self, *beginning: Any) -> list[Any]:
        """The first event that begins with these values, which is removed."""
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if event[: len(beginning)] == list(beginning):
                        self.events.remove(event)
                        return event
                text = str(await self.websocket.recv())
                assert not text.startswith("44"), text
                if text.startswith("42/admin,"):
                    self.events.append(json.loads(text.removeprefix("42/admin,")))

    async def say(self, *event: Any) -> None:
        await self.websocket.send("42/admin," + json.dumps(event))


async def packets_until(client: ClientConnection, last: str) -> list[str]:
    got: list[str] = []
    while last not in got:
        got.append(str(await asyncio.wait_for(client.recv(), 10)))
    return got


@pytest.mark.parametrize("adapter", [RedisAdapter, ShardedRedisAdapter])
async def test_the_ui_shows_and_controls_the_sockets_of_every_server(
    tmp_path: Path, serving: Any, until: Any, adapter: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("roomcast.realtime.admin._STATS_INTERVAL_S", 0.05)
    with running(RedisServer(tmp_path)) as redis:
        servers = [Server(adapter=adapter(redis_options(redis.port))) for _ in range(2)]
        for name, server in zip("ab", servers, strict=True):
            options = AdminOptions(username="admin", password_hash=PASSWORD_HASH, mode="development", server_id=name)
            instrument(server, options)
        a, b = servers
        async with serving(a) as running_a, serving(b) as running_b:
            before = await running_b.open()
            (first,) = [socket.sid for socket in b.sockets()]
            async with running_a.websocket() as websocket:
                await websocket.recv()
                await websocket.send('40/admin,{"username":"admin","password":"secret"}')
                ui = Ui(websocket)
                _, sockets = await ui.until("all_sockets")
                assert [described["id"] for described in sockets if described["nsp"] == "/"] == [first]
                for name in "ab":
                    while (await ui.until("server_stats"))[1]["serverId"] != name:
                        pass
                after = await running_b.open()
                (second,) = [socket.sid for socket in b.sockets() if socket.sid != first]
                _, described, _ = await ui.until("socket_connected")
                while described["nsp"] != "/":
                    _, described, _ = await ui.until("socket_connected")
                assert described["id"] == second
                await after.send('42["hello",1]')
                assert (await ui.until("event_received", "/", second))[3] == ["hello", 1]
                await ui.say("join", "/", "team", second)
                await until(lambda: [socket.sid for socket in b.sockets("team")] == [second])
                await ui.until("room_joined", "/", "team", second)
                await ui.say("emit", "/", "team", "news", 1)
                await ui.say("emit", "/", None, "last")
                assert await packets_until(after, '42["last"]') == ['42["news",1]', '42["last"]']
                assert await packets_until(before, '42["last"]') == ['42["last"]']
                await ui.say("leave", "/", "team")
                await ui.until("room_left", "/", "team", second)
                await ui.say("_disconnect", "/", False, second)
                assert await packets_until(after, "41") == ["41"]
                await ui.until("socket_disconnected", "/", second, "server namespace disconnect")
            await before.close()
            await after.close()
