"""10,000 clients that connect and disconnect, in every way, leave no task, timer, descriptor or memory behind."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.processes import clean_environment
from support.waiting import until

HERE = Path(__file__).parent
CLIENTS = 10_000
AT_ONCE = 50
#: Room for what the allocator keeps: 400 bytes a client, where one connection takes several kilobytes.
MEMORY_KIB = 4_096

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


class Client:
    """Raw HTTP and websocket bytes: a client library would take more time than the server."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def http(self, method: str, query: str, body: bytes = b"") -> bytes:
        path = f"/socket.io/?EIO=4&transport=polling{query}"
        self.writer.write(f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200"), head
        return await self.reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))

    async def open_polling(self) -> str:
        await self.open()
        return str(json.loads((await self.http("GET", ""))[1:])["sid"])

    async def open_websocket(self, query: str = "") -> None:
        await self.open()
        self.writer.write(
            f"GET /socket.io/?EIO=4&transport=websocket{query} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
            "connection: Upgrade\r\nsec-websocket-version: 13\r\n"
            "sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n".encode()
        )
        assert (await self.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")

    def send(self, text: str) -> None:
        self.writer.write(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode())

    async def receive(self) -> bytes:
        head = await self.reader.readexactly(2)
        length = head[1]
        if length == 126:
            length = int.from_bytes(await self.reader.readexactly(2), "big")
        return await self.reader.readexactly(length)

    async def receive_until(self, start: bytes) -> None:
        while not (await self.receive()).startswith(start):
            pass

    async def connect(self) -> None:
        self.send("40")
        await self.receive_until(b'42["hello"')

    async def close(self) -> None:
        self.writer.close()

    def abort(self) -> None:
        self.writer.transport.abort()


async def websocket_closed(port: int) -> None:
    client = Client(port)
    await client.open_websocket()
    await client.connect()
    client.send('421["echo",1]')
    await client.receive_until(b"431")
    client.writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
    await client.reader.read()
    await client.close()


async def websocket_aborted(port: int) -> None:
    client = Client(port)
    await client.open_websocket()
    await client.connect()
    client.abort()


async def websocket_disconnected(port: int) -> None:
    client = Client(port)
    await client.open_websocket()
    await client.connect()
    client.send("41")
    client.send("1")
    await client.receive_until(b"\x03")  # the server closes the websocket
    client.writer.write(b"\x88\x82\0\0\0\0\x03\xe8")
    await client.reader.read()
    await client.close()


async def polling_closed(port: int) -> None:
    client = Client(port)
    sid = await client.open_polling()
    await client.http("POST", f"&sid={sid}", b"40")
    await client.http("GET", f"&sid={sid}")
    await client.http("POST", f"&sid={sid}", b"1")
    await client.close()


async def polling_left(port: int) -> None:
    client = Client(port)
    sid = await client.open_polling()
    await client.http("POST", f"&sid={sid}", b"40")
    client.abort()


async def upgraded(port: int) -> None:
    polling, client = Client(port), Client(port)
    sid = await polling.open_polling()
    await polling.http("POST", f"&sid={sid}", b"40")
    await polling.http("GET", f"&sid={sid}")
    await client.open_websocket(f"&sid={sid}")
    client.send("2probe")
    await client.receive_until(b"3probe")
    client.send("5")
    client.send('421["echo"]')
    await client.receive_until(b"431")
    client.abort()
    await polling.close()


async def refused(port: int) -> None:
    client = Client(port)
    await client.open_websocket()
    client.send("40/unknown,")
    await client.receive_until(b"44/unknown")
    client.abort()


KINDS = [
    websocket_closed,
    websocket_aborted,
    websocket_disconnected,
    polling_closed,
    polling_left,
    upgraded,
    refused,
]


async def churn(port: int, count: int) -> None:
    for first in range(0, count, AT_ONCE):
        await asyncio.gather(*(KINDS[number % len(KINDS)](port) for number in range(first, first + AT_ONCE)))


@pytest.mark.parametrize("name", ["serve", "uvicorn websockets-sansio"])
async def test_clients_that_have_left_leave_nothing_behind(name: str) -> None:
    root = HERE.parents[2]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "churn_process.py"),
        name,
        env=clean_environment({"PYTHONPATH": f"{root / 'src'}:{root / 'tests'}"}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin, process.stdout
    port = int(await stdout.readline())

    async def held() -> dict[str, Any]:
        stdin.write(b"\n")
        return dict(json.loads(await stdout.readline()))

    async def settled() -> dict[str, Any]:
        async def without_clients() -> dict[str, Any] | None:
            now = await held()
            return now if now["connections"] == 0 and now["handlers"] == 0 and now["timers"] == 0 else None

        # The sessions of clients that left without a word end with the heartbeat.
        return dict(await until(without_clients, step_s=0.2))

    try:
        await churn(port, CLIENTS // 5)  # caches, pools and the allocator fill
        before = await settled()
        await churn(port, CLIENTS)
        after = await settled()
        print(name, {key: (before[key], after[key]) for key in before if key != "most"})  # noqa: T201 - figures of the run
        for key in ("tasks", "timers", "descriptors"):
            assert after[key] <= before[key], (key, before, after)
        assert after["objects"] <= before["objects"] + 500, (before, after)
        assert after["memory_kib"] <= before["memory_kib"] + MEMORY_KIB, (before, after)
    finally:
        stdin.close()
        await process.wait()
