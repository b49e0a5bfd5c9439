"""Connection state recovery with the official JavaScript client, whose connections are cut by a TCP proxy."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from roomcast.realtime import RecoveryOptions, Server, ServerOptions
from support.tcp_proxy import TcpProxy

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "web/node_modules/socket.io-client/build/esm-debug/index.js"


class Client:
    """The official client, a process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(20):
            return dict(json.loads(await self._process.stdout.readline()))

    async def connected(self) -> bool:
        """Wait for the next ``connect`` event; returns whether the session was recovered."""
        while "recovered" not in (line := await self.read()):
            pass
        return bool(line["recovered"])

    async def cut(self, proxy: TcpProxy) -> bool:
        """Cut its connection and wait until it has connected again; returns whether the session was recovered."""
        noticed = asyncio.create_task(self.read())
        while not noticed.done():
            proxy.cut()  # a polling client has no connection between two requests
            await asyncio.wait({noticed}, timeout=0.05)
        assert "reason" in noticed.result()
        return await self.connected()

    async def received(self, last: int) -> None:
        """Wait until it has received this number, or more."""
        assert self._process.stdin is not None
        async with asyncio.timeout(20):
            while True:
                self._process.stdin.write(b"\n")
                answer = await self.read()
                if (answer.get("last") or -1) >= last:
                    return
                await asyncio.sleep(0.005)

    async def end(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.close()
        while "numbers" not in (result := await self.read()):
            pass
        await self._process.wait()
        return result


@asynccontextmanager
async def official_client(port: int, transport: str) -> AsyncIterator[Client]:
    node = shutil.which("node")
    assert node is not None, "the marker `node` requires it"
    arguments = (str(HERE / "js/recovery.mjs"), str(CLIENT), f"http://127.0.0.1:{port}", transport)
    process = await asyncio.create_subprocess_exec(
        node, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


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
    numbers = 300
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
