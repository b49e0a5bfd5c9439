"""The official JavaScript client as a process, for tests of connection state recovery."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from support.tcp_proxy import TcpProxy

HERE = Path(__file__).parent
CLIENT = HERE.parents[1] / "web/node_modules/socket.io-client/build/esm-debug/index.js"


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
    arguments = (str(HERE / "recovery_client.mjs"), str(CLIENT), f"http://127.0.0.1:{port}", transport)
    process = await asyncio.create_subprocess_exec(
        node, *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        yield Client(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
