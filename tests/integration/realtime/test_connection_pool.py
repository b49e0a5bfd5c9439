"""Connections to other nodes, against an owner that answers with the number of the connection."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roomcast.realtime import Server
from roomcast.realtime.cluster.nodes import NodeAddress
from roomcast.realtime.forwarding.connection_pool import NodeConnectionPool, NodeUnreachable
from roomcast.realtime.requests.request import EngineRequest

WAIT, QUICK, CLOSE, ZIPPED, MUCH, JUNK = b"/wait", b"/quick", b"/close", b"/zipped", b"/much", b"/junk"
PACKED = gzip.compress(b"packed")


class Owner:
    """A node whose response depends on the path. It numbers its connections."""

    def __init__(self) -> None:
        self.dialled = 0
        self.open: dict[int, asyncio.StreamWriter] = {}
        self.waiting = 0
        self.port = 0

    @property
    def address(self) -> NodeAddress:
        return NodeAddress("127.0.0.1", self.port, "secret")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.dialled = self.dialled + 1
        self.open[number] = writer
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                path = head.split(b" ")[1]
                fields, body = b"", b"%d" % number
                if path.startswith(WAIT):
                    self.waiting += 1
                    continue
                if path == CLOSE:
                    fields = b"connection: close\r\n"
                elif path == ZIPPED:
                    fields, body = b"Content-Encoding: gzip\r\n", PACKED
                elif path == MUCH:
                    body = b"x" * 100_000
                elif path == JUNK:
                    writer.write(b"220 mail.example ESMTP\r\n\r\n")
                    continue
                writer.write(b"HTTP/1.1 200 OK\r\n%bcontent-length: %d\r\n\r\n%b" % (fields, len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client closed the connection
        finally:
            del self.open[number]
            writer.close()


@pytest.fixture
async def owner() -> AsyncIterator[Owner]:
    owner = Owner()
    # All polls connect at once: the default queue of 100 would drop some until this process accepts.
    server = await asyncio.start_server(owner.serve, "127.0.0.1", 0, backlog=512)
    owner.port = server.sockets[0].getsockname()[1]
    async with server:
        yield owner
        for writer in list(owner.open.values()):
            writer.transport.abort()


@asynccontextmanager
async def connections(**options: Any) -> AsyncIterator[NodeConnectionPool]:
    pool = NodeConnectionPool(**options)
    try:
        yield pool
    finally:
        await pool.close()


async def ask(pool: NodeConnectionPool, node: NodeAddress, path: bytes = QUICK) -> bytes:
    status, _, body = await pool.request(node, "GET", path, [(b"host", b"x")], b"")
    assert status == 200
    return body


def poll(path: str) -> EngineRequest:
    headers = [(b"host", b"x")]
    return EngineRequest(
        method="GET",
        path=path,
        query_string="",
        headers=headers,
        address="127.0.0.1",
        secure=False,
        websocket=False,
    )


async def test_idle_connections_are_reused_while_many_polls_wait(owner: Owner, until: Any) -> None:
    class NodeDirectory:
        node_id = "AAAAAAAA"

        async def look_up(self, _node_id: str) -> NodeAddress:
            return owner.address

    forwarder = Server(directory=NodeDirectory()).engine.forwarder
    assert forwarder is not None
    waiting = [forwarder.request("BBBBBBBB", poll("/wait"), b"") for _ in range(120)]
    await until(lambda: owner.waiting == 120)
    answers = {(await forwarder.request("BBBBBBBB", poll("/quick"), b"")).body for _ in range(20)}
    assert answers == {b"121"}
    await forwarder.close()
    assert all(task.cancelled() for task in waiting)
    await until(lambda: not owner.open)


async def test_the_most_recently_used_connection_is_reused_and_concurrent_requests_use_several(owner: Owner) -> None:
    async with connections() as pool:
        both = await asyncio.gather(ask(pool, owner.address), ask(pool, owner.address))
        assert set(both) == {b"1", b"2"}
        assert pool.idle == 2
        latest = await ask(pool, owner.address)
        assert {await ask(pool, owner.address) for _ in range(3)} == {latest}


async def test_cancelling_a_request_closes_its_connection(owner: Owner, until: Any) -> None:
    async with connections() as pool:
        waiting = asyncio.create_task(ask(pool, owner.address, WAIT))
        await until(lambda: owner.waiting)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: not owner.open)
        assert pool.idle == 0


async def test_a_connection_that_the_other_side_closed_is_not_reused(owner: Owner, until: Any) -> None:
    async with connections() as pool:
        assert await ask(pool, owner.address, CLOSE) == b"1"
        assert pool.idle == 0
        assert await ask(pool, owner.address) == b"2"
        assert pool.idle == 1
        owner.open[2].close()
        await until(lambda: 2 not in owner.open)
        assert await ask(pool, owner.address) == b"3"


async def test_idle_connections_above_the_limit_are_closed(owner: Owner, until: Any) -> None:
    async with connections(max_idle=3) as pool:
        await asyncio.gather(*(ask(pool, owner.address) for _ in range(10)))
        assert pool.idle == 3
        await until(lambda: len(owner.open) == 3)


async def test_idle_connections_expire(owner: Owner, until: Any) -> None:
    async with connections(keep_alive_s=0.1, expiry_interval_s=0.05) as pool:
        for _ in range(2):  # the expiry task starts again
            assert len(set(await asyncio.gather(*(ask(pool, owner.address) for _ in range(5))))) == 5
            await until(lambda: not owner.open)
            await until(lambda: not pool.idle)


async def test_closing_the_pool_closes_all_connections(owner: Owner, until: Any) -> None:
    async with connections() as pool:
        await asyncio.gather(*(ask(pool, owner.address) for _ in range(5)))
    assert pool.idle == 0
    await until(lambda: not owner.open)


async def test_a_compressed_body_is_returned_unchanged(owner: Owner) -> None:
    async with connections() as pool:
        _, headers, body = await pool.request(owner.address, "POST", ZIPPED, [(b"host", b"x")], b"")
        assert body == PACKED
        assert (b"content-encoding", b"gzip") in [(name.lower(), value) for name, value in headers]


@pytest.mark.parametrize("path", [MUCH, JUNK])
async def test_an_invalid_or_oversize_response_closes_the_connection(owner: Owner, until: Any, path: bytes) -> None:
    async with connections(max_response_bytes=50_000) as pool:
        with pytest.raises(NodeUnreachable):
            await ask(pool, owner.address, path)
        assert pool.idle == 0
        await until(lambda: not owner.open)


@pytest.mark.parametrize(
    "node",
    [
        NodeAddress("127.0.0.1", 1, "s"),  # no listener
        NodeAddress("127.0.0.1", 70_000, "s"),
        NodeAddress("no\N{LATIN SMALL LETTER O WITH DIAERESIS}de", 80, "s"),
        NodeAddress("a..b", 80, "s"),
        NodeAddress("a" * 64 + ".test", 80, "s"),
        NodeAddress("a\0b", 80, "s"),
    ],
)
async def test_an_unreachable_or_invalid_address_raises(node: NodeAddress) -> None:
    async with connections() as pool:
        with pytest.raises(NodeUnreachable):
            await ask(pool, node)
        assert pool.idle == 0


async def test_proxy_environment_variables_are_ignored(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with connections() as pool:
        assert await ask(pool, owner.address) == b"1"
