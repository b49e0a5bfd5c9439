"""A process with few file descriptors, and clients that take all that they get."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from support.clients import send
from support.processes import Roomcast
from support.redis_server import RedisServer, environment
from support.waiting import until

OPEN_FILES = 256
CLIENTS = 140
MORE = 80  # more than the descriptors that are left for requests
WEBSOCKET = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\n"
    "upgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n"
)
GET = "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
CONNECT = b"\x81\x82\0\0\0\x0040"  # a masked frame

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Clients:
    """Connections that are kept open."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def open(self, port: int | None, request: str = "") -> Stream:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        writer.write(request.encode())
        return reader, writer

    async def status(self, port: int | None, request: str) -> bytes:
        """The status of the response; the connection stays open."""
        reader, _ = await self.open(port, request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert (b"retry-after: " in head.lower()) == (b" 503 " in head)
        return head.split(b" ")[1]

    async def websocket(self, port: int | None) -> bool:
        """Open a websocket and connect to the main namespace; False: the server is full."""
        reader, writer = await self.open(port, WEBSOCKET)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        if b" 503 " in head:
            assert b"retry-after: " in head.lower()
            return False
        writer.write(CONNECT)
        await asyncio.wait_for(reader.readuntil(b'40{"sid"'), 10)
        return True


@asynccontextmanager
async def clients() -> AsyncIterator[Clients]:
    opened = Clients()
    try:
        yield opened
    finally:
        for writer in opened.writers:
            writer.transport.abort()
        for writer in opened.writers:
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_clients_cannot_take_the_descriptors_of_probes_and_requests(tmp_path: Path) -> None:
    server = Roomcast.up(tmp_path / "data")
    server.open_files = OPEN_FILES
    with server:
        api, gateway = server.api_port, server.gateway_port

        async def serves() -> None:
            async with clients() as probes:
                for port, path in ((gateway, "/health"), (api, "/health"), (api, "/ready"), (api, "/api/chats")):
                    assert await probes.status(port, GET.format(path=path)) == b"200"
            assert (await send(server.api_url, "lobby", "sent while the server is full"))["seq"] > 0

        async with clients() as held:
            accepted = [await held.websocket(gateway) for _ in range(CLIENTS)]
            assert OPEN_FILES // 4 < sum(accepted) <= OPEN_FILES // 2
            assert not any(accepted[sum(accepted) :])
            await serves()
            # Each of these has been answered, and stays open.
            assert {await held.status(port, GET.format(path="/health")) for port in [api, gateway] * MORE} == {b"200"}
            await serves()
            # Of clients that do not finish their requests.
            for request in ("", "GET / HTTP/1.1\r\n", "POST /api/chats HTTP/1.1\r\ncontent-length: 9\r\n\r\n"):
                for _ in range(MORE):
                    await held.open(api, request)
                await serves()
            await asyncio.gather(*(held.open(gateway) for _ in range(2 * MORE)))
            await serves()
            assert not await held.websocket(gateway)
        # All descriptors are free again.
        process = psutil.Process(server.pid)
        await until(lambda: process.num_fds() < OPEN_FILES // 4)
        async with clients() as others:
            assert await others.websocket(gateway)
        assert "too many open files" not in server.output.lower()
        assert "the process may open 256 files, so it accepts 128 connections; raise its limit" in server.output


async def test_each_worker_keeps_descriptors_for_probes(tmp_path: Path, redis: RedisServer) -> None:
    with Roomcast.api(tmp_path / "data", env=environment(redis)) as api:
        gateway = Roomcast.gateway("--workers", "2", env=environment(redis, API_URL=api.internal_url))
        gateway.open_files = OPEN_FILES
        with gateway:
            async with clients() as held:
                accepted = [await held.websocket(gateway.gateway_port) for _ in range(2 * CLIENTS)]
                assert OPEN_FILES // 2 < sum(accepted) < OPEN_FILES
                for path in ["/health", "/ready"] * 10:  # the kernel chooses a worker for each
                    assert await held.status(gateway.gateway_port, GET.format(path=path)) == b"200"
