"""A pipe between two real connections: when it ends if a side accepts no bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from roomcast.realtime.forwarding.pipe import Pipe

HEAD = b"handshake"


@dataclass
class Piped:
    """A started pipe, and the streams of both peers."""

    pipe: Pipe
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    owner: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    connections: set[Any]
    ended: list[Pipe] = field(default_factory=list)


@asynccontextmanager
async def piped(stall_limit_s: float) -> AsyncIterator[Piped]:
    loop = asyncio.get_running_loop()
    arrived: asyncio.Future[asyncio.Transport] = loop.create_future()
    called: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = loop.create_future()

    class Edge(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            transport.pause_reading()
            arrived.set_result(transport)

    async with (
        await loop.create_server(Edge, "127.0.0.1", 0) as edge,
        await asyncio.start_server(lambda *ends: called.set_result(ends), "127.0.0.1", 0) as node,
    ):
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        narrow.setblocking(False)
        await loop.sock_connect(narrow, edge.sockets[0].getsockname())
        client = await asyncio.open_connection(sock=narrow)
        connections, ended = set[Any](), list[Pipe]()
        pipe = Pipe(await arrived, connections, ended.append, stall_limit_s=stall_limit_s)
        await loop.create_connection(pipe.owner_side, *node.sockets[0].getsockname())
        pipe.begin(HEAD)
        owner = await called
        assert await owner[0].readexactly(len(HEAD)) == HEAD
        try:
            yield Piped(pipe, client, owner, connections, ended)
        finally:
            pipe.abort()
            for _, writer in (client, owner):
                writer.transport.abort()


@pytest.mark.parametrize(("idle", "busy"), [("client", "owner"), ("owner", "client")])
async def test_a_pipe_ends_when_one_side_accepts_no_bytes(until: Any, idle: str, busy: str) -> None:
    async with piped(stall_limit_s=0.3) as ends:
        getattr(ends, idle)[1].transport.pause_reading()
        getattr(ends, busy)[1].write(b"x" * 8_000_000)
        await until(lambda: ends.ended)
        assert not ends.connections


async def test_a_pipe_ends_when_its_client_half_closes_and_does_not_read(until: Any) -> None:
    async with piped(stall_limit_s=3_600) as ends:
        ends.client[1].transport.pause_reading()
        ends.owner[1].write(b"x" * 8_000_000)
        # The kernel buffers are full: the rest waits in the edge node.
        await until(lambda: ends.pipe.transport and ends.pipe.transport.get_write_buffer_size() > 65_536)
        ends.client[1].write_eof()
        await until(lambda: ends.ended)


async def test_a_client_that_reads_slowly_keeps_its_pipe(until: Any) -> None:
    limit_s = 0.8
    async with piped(stall_limit_s=limit_s) as ends:
        size, taken = 20_000_000, 0
        ends.owner[1].write(b"x" * size)
        began = asyncio.get_running_loop().time()
        while taken < size:
            taken += len(await ends.client[0].readexactly(1_000_000))
            await asyncio.sleep(limit_s / 8)  # a slow reader, not a stalled one
        assert asyncio.get_running_loop().time() - began > 2 * limit_s
        assert not ends.ended
        ends.pipe.shutdown()
        await until(lambda: ends.ended)
        assert await ends.owner[0].read() == b""
