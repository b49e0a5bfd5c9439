"""Clients that do not read, flood or stay silent, beside python-socketio: what it does is logged, not asserted.

``pytest -m chaos --log-cli-level=info tests/chaos/realtime`` logs one line for each server and attack.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import socket as stdlib_socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from support.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

logger = logging.getLogger(__name__)

ROOT = Path(__file__).parents[3]
OURS = ["serve", "uvicorn"]
KINDS = [*OURS, "python-socketio"]
MIB = 2**20
HANDSHAKE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\n"
    b"upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
CONNECT = b"\x81\x82\x00\x00\x00\x0040"  # a masked text frame with the packet "40"


@dataclass
class Process:
    """A server process; ``lines`` are what it has printed."""

    kind: str
    port: int
    process: psutil.Process
    lines: list[str] = field(default_factory=list)

    @property
    def rss(self) -> int:
        return int(self.process.memory_info().rss)

    async def open(self, **options: Any) -> ClientConnection:
        url = f"ws://127.0.0.1:{self.port}/socket.io/?EIO=4&transport=websocket"
        websocket = await connect(url, compression=None, ping_interval=None, max_size=None, **options)
        await websocket.recv()
        await websocket.send("40")
        assert str(await websocket.recv()).startswith("40")
        return websocket

    async def raw(self, data: bytes, receive_bytes: int | None = None) -> stdlib_socket.socket:
        raw = stdlib_socket.socket()
        if receive_bytes is not None:
            raw.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, receive_bytes)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", self.port))
        await loop.sock_sendall(raw, data)
        return raw


@pytest.fixture(params=KINDS)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Process]:
    async with served(request.param) as process:
        yield process


@asynccontextmanager
async def served(kind: str) -> AsyncIterator[Process]:
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("hostile_server.py")),
        kind,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert process.stdout is not None
    ready = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().split()
    running = Process(kind, int(ready[1]), psutil.Process(process.pid))

    async def read(stdout: asyncio.StreamReader) -> None:
        while line := await stdout.readline():
            running.lines.append(line.decode().strip())

    reading = asyncio.create_task(read(process.stdout))
    try:
        yield running
    finally:
        process.kill()
        await process.wait()
        await reading


async def receive_until(raw: stdlib_socket.socket, part: bytes) -> None:
    received = b""
    while part not in received:
        received += await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 4096), 5)


async def test_a_stalled_reader_is_cut_and_others_receive_everything(server: Process) -> None:
    ours = server.kind in OURS
    count = 8_000 if ours else 1_500  # python-socketio keeps all of it
    healthy = await server.open()
    stalled = await server.raw(HANDSHAKE, receive_bytes=4096)
    await receive_until(stalled, b'0{"sid"')
    await asyncio.get_running_loop().sock_sendall(stalled, CONNECT)
    await receive_until(stalled, b"40{")
    before, most, began, cut_s = server.rss, 0, time.monotonic(), 0.0
    await healthy.send(f'42["flood",{count}]')
    for number in range(count):
        packet = str(await asyncio.wait_for(healthy.recv(), 10))
        assert packet.startswith(f'42["big",{number},')
        if number % 20 == 0:
            most = max(most, server.rss - before)
            cut_s = cut_s or ("gone" in server.lines and time.monotonic() - began) or 0.0
    took_s = time.monotonic() - began
    logger.info(
        "%s: stalled reader: cut after %.1f s, RSS +%d MiB, %d in %.1f s", server.kind, cut_s, most / MIB, count, took_s
    )
    if ours:
        assert server.lines.count("gone") == 1
        assert cut_s < 10
        assert most < 20 * MIB
        assert any(line.startswith("slow ") for line in server.lines)
    stalled.close()
    healthy.transport.abort()


async def test_attachment_headers_of_any_count_are_refused(server: Process) -> None:
    healthy = await server.open()
    before = server.rss
    counts = [int(11 * (10**9 / 11) ** (number / 49)) for number in range(50)]

    async def attack(count: int) -> bool:
        websocket = await server.open()
        closed = True
        try:
            await websocket.send(f'45{count}-["upload",{{"_placeholder":true,"num":0}}]')
            for _ in range(10):
                await websocket.send(b"x" * 900_000)
            closed = False
        except ConnectionClosed:
            pass
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            await asyncio.wait_for(websocket.recv(), 1)
        closed = closed or websocket.close_code is not None
        websocket.transport.abort()
        return closed

    closed = await asyncio.gather(*map(attack, counts))
    await healthy.send('420["echo",1]')
    began = time.monotonic()
    assert await asyncio.wait_for(healthy.recv(), 30) == "430[1]"
    grown, echo_s = server.rss - before, time.monotonic() - began
    logger.info(
        "%s: attachments: %d of 50 closed, RSS +%d MiB, echo in %.2f s", server.kind, sum(closed), grown / MIB, echo_s
    )
    if server.kind in OURS:
        assert all(closed)
        assert grown < 50 * MIB
    healthy.transport.abort()


async def test_normal_clients_connect_beside_half_sent_heads_and_silent_sockets(server: Process) -> None:
    heads = [await server.raw(b"GET /socket.io/ HTTP/1.1\r\nhost: x\r\nx-slow: ") for _ in range(1_000)]
    silent = [await server.raw(HANDSHAKE) for _ in range(1_000)]
    began = time.monotonic()
    clients = await asyncio.gather(*(server.open() for _ in range(50)))
    connected_s = time.monotonic() - began
    for client in clients:
        await client.send('420["echo",1]')
        assert await asyncio.wait_for(client.recv(), 5) == "430[1]"

    def open_sockets() -> int:
        return len([c for c in server.process.net_connections("tcp") if c.status == psutil.CONN_ESTABLISHED])

    with contextlib.suppress(TimeoutError):
        await until(lambda: open_sockets() <= 50 + 1_000 * (server.kind != "serve"), limit_s=40, step_s=0.5)
    left = open_sockets() - 50
    logger.info("%s: 2,000 idle: 50 clients in %.2f s, %d idle left after 40 s", server.kind, connected_s, left)
    assert connected_s < 5
    if server.kind == "serve":
        assert left == 0
    elif server.kind == "uvicorn":
        # uvicorn has no deadline for heads, and waits 10 s for the close frame of a silent client.
        assert left <= 1_000
    for raw in [*heads, *silent]:
        raw.close()
    for client in clients:
        client.transport.abort()


ORIGINS = {
    None: True,
    "https://chat.example": True,
    "http://chat.example": False,
    "https://chat.example.evil": False,
    "https://evil.example": False,
    "null": False,
}


async def test_an_origin_is_judged_alike_on_both_transports(server: Process) -> None:
    url = f"127.0.0.1:{server.port}/socket.io/?EIO=4&transport="
    judged: dict[str | None, tuple[bool, bool]] = {}
    async with httpx.AsyncClient() as http:
        for origin in ORIGINS:
            headers = {} if origin is None else {"origin": origin}
            polling = (await http.get(f"http://{url}polling", headers=headers)).status_code == 200
            try:
                async with connect(f"ws://{url}websocket", additional_headers=headers, compression=None) as websocket:
                    websocket_too = str(await websocket.recv()).startswith("0")
            except (InvalidStatus, ConnectionClosed):
                websocket_too = False
            judged[origin] = (polling, websocket_too)
    logger.info("%s: origins (polling, websocket): %s", server.kind, judged)
    if server.kind in OURS:
        assert judged == {origin: (allowed, allowed) for origin, allowed in ORIGINS.items()}
