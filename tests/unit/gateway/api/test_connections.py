"""Requests over kept connections, to a server that answers with given bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from roomcast.gateway.api import connections as module
from roomcast.gateway.api.connections import Connections, NoAnswer
from support.waiting import until

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Server:
    """Answers each request with the next bytes; None ends the connection without an answer.

    Attributes:
        requests: The requests of each connection, in order.
    """

    def __init__(self, answers: Sequence[bytes | None]) -> None:
        self.requests: list[list[bytes]] = []
        self.ended = asyncio.Event()
        self.received = asyncio.Event()
        self.port = 0
        self._answers = list(answers)
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        requests: list[bytes] = []
        self.requests.append(requests)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"content-length: ")[2].partition(b"\r")[0])
                requests.append(head + await reader.readexactly(length))
                self.received.set()
                answer = self._answers.pop(0) if self._answers else b""
                if answer is None:
                    break
                for part in answer.split(b"|"):
                    writer.write(part)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.ended.set()
        finally:
            writer.close()

    def end_connections(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def serving(*answers: bytes | None, path: str = "") -> AsyncIterator[tuple[Server, Connections]]:
    server = Server(answers)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        server.port = port
        connections = Connections(f"http://127.0.0.1:{port}{path}", 5.0)
        try:
            yield server, connections
        finally:
            connections.close()
            server.end_connections()


async def test_a_request_has_its_headers_and_its_body() -> None:
    async with serving(OK, path="/base%20path/") as (server, connections):
        assert await connections.post("/api/x", "authorization: Bearer t\r\n", b'{"a":1}') == (200, b"{}")
    head = (
        f"POST /base%20path/api/x HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\nauthorization: Bearer t\r\n"
        "content-type: application/json\r\ncontent-length: 7\r\n\r\n"
    )
    assert server.requests == [[head.encode() + b'{"a":1}']]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (OK, (200, b"{}")),
        (b"HTTP/1.1 200 OK\r\ncon|tent-length: 2\r\n\r|\n{|}", (200, b"{}")),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n|1\r\n}\r\n0\r\n\r\n", (200, b"{}")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, (200, b"{}")),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 1\r\nretry-after: 1\r\n\r\nx", (503, b"x")),
    ],
)
async def test_connections_are_kept_after_every_kind_of_response(answer: bytes, expected: tuple[int, bytes]) -> None:
    async with serving(answer, OK) as (server, connections):
        assert await connections.post("/", "", b"") == expected
        assert await connections.post("/", "", b"") == (200, b"{}")
        assert [len(requests) for requests in server.requests] == [2]


async def test_concurrent_requests_have_connections_of_their_own() -> None:
    async with serving(OK, OK, OK) as (server, connections):
        await asyncio.gather(connections.post("/", "", b""), connections.post("/", "", b""))
        await connections.post("/", "", b"")
        assert sorted(len(requests) for requests in server.requests) == [1, 2]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2000000\r\n\r\n" + b"x" * 2_000_000,
    ],
)
async def test_a_request_without_a_valid_response_fails_and_the_next_one_uses_another_connection(
    answer: bytes | None,
) -> None:
    async with serving(answer, OK) as (server, connections):
        with pytest.raises(NoAnswer):
            await connections.post("/", "", b"")
        assert await connections.post("/", "", b"") == (200, b"{}")
        assert [len(requests) for requests in server.requests] == [1, 1]


async def test_a_response_that_ends_too_early_fails() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{") as (server, connections):
        request = asyncio.create_task(connections.post("/", "", b""))
        await server.received.wait()
        server.end_connections()
        with pytest.raises(NoAnswer, match="closed"):
            await request


@pytest.mark.parametrize("last", [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", OK + b"more"])
async def test_a_connection_that_cannot_be_used_again_is_not(last: bytes) -> None:
    async with serving(last, OK) as (server, connections):
        await connections.post("/", "", b"")
        assert await connections.post("/", "", b"") == (200, b"{}")
        assert [len(requests) for requests in server.requests] == [1, 1]


async def test_a_connection_that_the_server_has_closed_is_not_used_again() -> None:
    async with serving(OK, OK) as (server, connections):
        await connections.post("/", "", b"")
        (idle,) = connections._idle
        server.end_connections()
        await until(lambda: not idle.reusable)
        assert await connections.post("/", "", b"") == (200, b"{}")
        assert [len(requests) for requests in server.requests] == [1, 1]


async def test_a_connection_is_not_kept_longer_than_the_server_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(OK, OK) as (server, connections):
        await connections.post("/", "", b"")
        monkeypatch.setattr(module, "_KEEP_ALIVE_S", 0.0)
        await connections.post("/", "", b"")
        assert [len(requests) for requests in server.requests] == [1, 1]


async def test_a_cancelled_request_closes_its_connection() -> None:
    async with serving() as (server, connections):
        request = asyncio.create_task(connections.post("/", "", b""))
        await server.received.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await server.ended.wait()
        assert not connections._idle


@pytest.mark.parametrize("host", ["127.0.0.1:9", "no-such-host.invalid", "a" * 70 + ".invalid"])
async def test_a_server_that_cannot_be_reached_gives_no_answer(host: str) -> None:
    with pytest.raises(NoAnswer, match="cannot connect"):
        await Connections(f"http://{host}", 5.0).post("/", "", b"")


async def test_a_server_that_does_not_accept_in_time_gives_no_answer() -> None:
    loop = asyncio.get_running_loop()
    connections = Connections("http://127.0.0.1:1", 0.01)
    blocked: Callable[..., Any] = lambda *_, **__: asyncio.sleep(60)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "create_connection", blocked)
        with pytest.raises(NoAnswer, match="TimeoutError"):
            await connections.post("/", "", b"")
