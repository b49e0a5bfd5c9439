"""A cluster in which any node accepts any request, and forwards it to the owner of the session."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from roomcast.realtime import ServeOptions, Server, ServerOptions, Site, serve
from roomcast.realtime.cluster.nodes import DirectoryUnavailable, NodeAddress, new_node_id
from roomcast.realtime.forwarding.forwarder import NodeAuthenticator
from roomcast.realtime.transports.application import InternalApplication
from support.stopwatch import Stopwatch

POLLING = "/socket.io/?EIO=4&transport=polling"


class SharedDirectory:
    """The node addresses that all nodes of a test share."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeAddress] = {}
        self.unavailable = False
        #: Look-ups of unknown nodes wait for this event.
        self.answer_unknown: asyncio.Event | None = None
        self.waiting = 0


class NodeDirectory:
    """The directory of one node."""

    def __init__(self, shared: SharedDirectory) -> None:
        self._shared = shared
        self.node_id = new_node_id()

    async def look_up(self, node_id: str) -> NodeAddress | None:
        if self._shared.unavailable:
            raise DirectoryUnavailable
        found = self._shared.nodes.get(node_id)
        if found is None and self._shared.answer_unknown is not None:
            self._shared.waiting += 1
            await self._shared.answer_unknown.wait()
        return found


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "lifespan"
    while True:
        event = await receive()
        await send({"type": event["type"] + ".complete"})
        if event["type"] == "lifespan.shutdown":
            return


@dataclass
class Node:
    """One node, as `conftest.Running` with an internal address."""

    server: Server
    running: Any
    address: NodeAddress


@asynccontextmanager
async def cluster(
    running: Any, count: int, options: ServerOptions | None = None, observer: Any = None, **process: Any
) -> AsyncIterator[tuple[SharedDirectory, list[Node]]]:
    shared = SharedDirectory()
    async with AsyncExitStack() as stack:
        nodes = [node(running, shared, options, observer, ServeOptions(**process)) for _ in range(count)]
        yield shared, [await stack.enter_async_context(one) for one in nodes]


@asynccontextmanager
async def node(
    running: Any, shared: SharedDirectory, options: ServerOptions | None, observer: Any, process: ServeOptions
) -> AsyncIterator[Node]:
    directory = NodeDirectory(shared)
    server = Server(options, directory=directory, observer=observer)

    @server.on("echo")
    def echo(_sid: str, *args: Any) -> Any:
        return args

    @server.on("count")
    async def count(sid: str, upto: int) -> None:
        for number in range(upto):
            await server.emit("number", number, to=sid)

    application = server.asgi()
    secret = f"secret of {directory.node_id}"
    sites = [
        Site(application, "127.0.0.1", 0),
        Site(InternalApplication(application, NodeAuthenticator(secret), nothing), "127.0.0.1", 0),
    ]
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(sites, replace(process, on_ready=ready.set_result), stop=stop))
    try:
        (public, internal) = await ready
        address = shared.nodes[directory.node_id] = NodeAddress("127.0.0.1", internal[0][1], secret)
        yield Node(server, running(server, public[0][1], stop, task), address)
    finally:
        stop.set()
        await task


@pytest.fixture
def running() -> Any:
    from integration.realtime.conftest import Running

    return Running


async def connected(here: Node, there: Node) -> str:
    """Open a polling session on ``here``, and connect to the main namespace through ``there``."""
    sid = await here.running.poll_open()
    assert (await there.running.post(sid, b"40")).body == b"ok"
    assert (await there.running.poll(sid)).body.startswith(b"40{")
    return str(sid)


async def test_polls_and_posts_are_answered_by_the_owner_of_the_session(running: Any) -> None:
    async with cluster(running, 3) as (_, nodes):
        sid = await connected(nodes[0], nodes[1])
        for number in range(30):
            edge = nodes[number % 3].running
            assert (await edge.post(sid, b'42%d["echo",%d,"\xc3\xbc"]' % (number, number))).body == b"ok"
            answer = await nodes[(number + 1) % 3].running.poll(sid)
            assert (answer.status, answer.body) == (200, b'43%d[%d,"\xc3\xbc"]' % (number, number))
            assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert [node.server.connections for node in nodes] == [1, 0, 0]


async def test_a_forwarded_answer_has_each_header_of_the_server_once(running: Any) -> None:
    async with cluster(running, 2) as (_, nodes):
        sid = await connected(nodes[0], nodes[1])
        reader, writer = await nodes[1].running.raw(
            f"POST {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\n3".encode()
        )
        head, _, body = (await reader.read()).lower().partition(b"\r\n\r\n")
        writer.close()
        assert body == b"ok"
        assert [head.count(name) for name in (b"\r\ndate:", b"\r\nx-content-type-options:")] == [1, 1]


async def test_a_forwarded_poll_returns_heartbeats_and_the_next_message(running: Any, until: Any) -> None:
    options = ServerOptions(ping_interval_s=0.3, ping_timeout_s=5.0)
    async with cluster(running, 2, options) as (_, (here, there)):
        sid = await connected(here, there)
        assert (await there.running.poll(sid)).body == b"2"
        assert (await there.running.post(sid, b"3")).body == b"ok"
        poll = asyncio.create_task(there.running.poll(sid))
        await until(lambda: any(c.session._poll_pending for c in here.server.engine.connections.values()))
        await here.server.emit("news", 1)
        assert (await poll).body == b'42["news",1]'


async def test_a_client_that_disconnects_from_another_node_ends_its_session(running: Any, until: Any) -> None:
    async with cluster(running, 2) as (_, (here, there)):
        sid = await connected(here, there)
        _, writer = await there.running.raw(f"GET {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        await until(lambda: any(c.session._poll_pending for c in here.server.engine.connections.values()))
        writer.close()
        await until(lambda: not here.server.connections)


async def test_an_upgrade_through_another_node_takes_over_the_session(running: Any, until: Any) -> None:
    async with cluster(running, 2) as (_, (here, there)):
        sid = await connected(here, there)
        async with there.running.websocket(f"EIO=4&transport=websocket&sid={sid}") as websocket:
            await websocket.send("2probe")
            assert await websocket.recv() == "3probe"
            await websocket.send("5")
            await websocket.send('42["count",500]')
            assert [await websocket.recv() for _ in range(500)] == [f'42["number",{number}]' for number in range(500)]
            await websocket.send(b"\x00" * 100_000)  # not expected: the owner closes, and the close is forwarded
            with pytest.raises(ConnectionClosed):
                await websocket.recv()
        await until(lambda: not here.server.connections)
        await until(lambda: there.server.engine.forwarder and not there.server.engine.forwarder.pipes)


async def test_an_upgrade_that_the_owner_refuses_is_refused_through_another_node(running: Any) -> None:
    async with cluster(running, 2) as (_, (here, there)), here.running.websocket() as websocket:
        sid = json.loads(str(await websocket.recv())[1:])["sid"]
        async with there.running.websocket(f"EIO=4&transport=websocket&sid={sid}") as second:
            with pytest.raises(ConnectionClosed):
                await second.recv()
        await websocket.send("40")
        assert str(await websocket.recv()).startswith("40")


@asynccontextmanager
async def stalled(here: Node, there: Node, recording: Any, until: Any) -> AsyncIterator[asyncio.StreamWriter]:
    """A websocket of ``here``, piped through ``there``, that reads nothing until the owner has closed it as slow."""
    sid = await connected(here, there)
    reader, writer = await there.running.raw()
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    writer.write(
        f"GET /socket.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n"
        "connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        "".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    writer.write(b"\x81\x86\x00\x00\x00\x002probe")
    assert (await reader.readexactly(8)).endswith(b"3probe")
    writer.write(b"\x81\x81\x00\x00\x00\x005")
    await until(lambda: recording.of("connection_upgraded"))
    writer.transport.pause_reading()
    try:
        for _ in range(400):
            await here.server.emit("much", "x" * 65_536)
            await asyncio.sleep(0)
            if recording.of("peer_slow"):
                break
        await until(lambda: recording.of("peer_slow"))
        yield writer
    finally:
        writer.transport.abort()


async def test_a_client_that_stalls_behind_a_pipe_is_closed_by_the_owner(
    running: Any, recording: Any, until: Any
) -> None:
    options = ServerOptions(ping_interval_s=1.5, ping_timeout_s=0.5)
    async with (
        cluster(running, 2, options, recording) as (_, (here, there)),
        stalled(here, there, recording, until),
    ):
        await until(lambda: not here.server.connections)
        # The edge node does not see this close: it has paused reading from the owner, as the client does not read.
        await until(lambda: there.server.engine.forwarder and not there.server.engine.forwarder.pipes)


async def test_the_pipe_of_a_client_that_half_closes_and_stalls_ends(running: Any, recording: Any, until: Any) -> None:
    async with (
        cluster(running, 2, observer=recording) as (_, (here, there)),
        stalled(here, there, recording, until) as writer,
    ):
        writer.write_eof()
        await until(lambda: there.server.engine.forwarder and not there.server.engine.forwarder.pipes)
        await until(lambda: not here.server.connections)


async def test_requests_without_the_secret_are_rejected_at_the_internal_address(running: Any) -> None:
    async with cluster(running, 1) as (_, (here,)):
        inside = running(here.server, here.address.port, asyncio.Event(), None)
        sid = await here.running.poll_open()
        for secret in (None, "", "guess", here.address.secret + "x"):
            headers = {} if secret is None else {"x-roomcast-forward": secret}
            answer = await inside.http("GET", f"{POLLING}&sid={sid}", headers=headers)
            assert (answer.status, json.loads(answer.body)["code"]) == (403, 4)
        with pytest.raises(Exception, match="403"):
            await inside.websocket(f"EIO=4&transport=websocket&sid={sid}")
        assert here.server.connections == 1


async def test_a_client_cannot_impersonate_a_node_or_another_address(running: Any) -> None:
    async with cluster(running, 2) as (_, (here, there)):
        sid = await here.running.poll_open()
        forged = {
            "x-roomcast-forward": here.address.secret,
            "x-roomcast-client": "203.0.113.9",
            "x-roomcast-secure": "1",
            "connection": "x-other",
            "x-other": "hop",
        }
        answer = await there.running.http("POST", f"{POLLING}&sid={sid}", b"40", forged)
        assert answer.body == b"ok"
        # Forged headers of a handshake are ignored too.
        opened = await there.running.http("GET", POLLING, headers=forged)
        (connection,) = there.server.engine.connections.values()
        assert (opened.status, connection.handshake.address) == (200, "127.0.0.1")


async def test_a_session_of_an_unknown_node_is_unknown(running: Any) -> None:
    async with cluster(running, 2) as (shared, (here, there)):
        sid = await here.running.poll_open()
        for invented in (sid[:20] + "AAAAAAAA", sid[:-1], "x" * 28, "x" * 20 + "../../..", sid[:20] + "127.0.0."):
            answer = await there.running.poll(invented)
            assert (answer.status, json.loads(answer.body)["code"]) == (400, 1)
        with pytest.raises(Exception, match="400"):
            await there.running.websocket(f"EIO=4&transport=websocket&sid={sid[:20]}AAAAAAAA")
        shared.unavailable = True
        assert (await there.running.poll(sid)).status == 503
        with pytest.raises(Exception, match="503"):
            await there.running.websocket(f"EIO=4&transport=websocket&sid={sid}")


async def test_requests_to_a_killed_node_get_503(running: Any) -> None:
    async with cluster(running, 2) as (shared, (here, there)):
        sid = await here.running.poll_open()
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            shared.nodes = {key: NodeAddress("127.0.0.1", closed.getsockname()[1], "s") for key in shared.nodes}
        assert (await there.running.poll(sid)).status == 503
        with pytest.raises(Exception, match="503"):
            await there.running.websocket(f"EIO=4&transport=websocket&sid={sid}")
        assert there.server.engine.forwarder is not None
        assert not there.server.engine.forwarder.pipes


async def test_an_oversize_body_is_refused_by_the_edge_node_and_the_session_stays_open(running: Any) -> None:
    async with cluster(running, 2) as (_, (here, there)):
        sid = await connected(here, there)
        reader, writer = await there.running.raw(
            f"POST {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\ncontent-length: 40000000\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 413")
        writer.close()
        assert (await there.running.post(sid, b'420["echo"]')).body == b"ok"
        assert (await there.running.poll(sid)).body == b"430[]"


async def test_the_number_of_concurrent_forwards_is_limited(running: Any, until: Any) -> None:
    async with cluster(running, 2, ServerOptions(max_forwards=1)) as (_, (here, there)):
        first, second = await connected(here, there), await here.running.poll_open()
        poll = asyncio.create_task(there.running.poll(first))
        await until(lambda: any(c.session._poll_pending for c in here.server.engine.connections.values()))
        assert (await there.running.poll(second)).status == 503
        await here.server.emit("news")
        assert (await poll).body == b'42["news"]'


async def test_look_ups_of_unknown_nodes_do_not_use_up_the_forward_limit(running: Any, until: Any) -> None:
    async with cluster(running, 2, ServerOptions(max_forwards=1)) as (shared, (here, there)):
        sid = await connected(here, there)
        shared.answer_unknown = asyncio.Event()
        waiting = [asyncio.create_task(there.running.poll(sid[:20] + f"AAAAAAA{number}")) for number in range(5)]
        await until(lambda: shared.waiting == 5)
        assert (await there.running.post(sid, b'420["echo"]')).body == b"ok"
        shared.answer_unknown.set()
        assert [(await poll).status for poll in waiting] == [400] * 5


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_requests_to_an_invalid_node_address_get_503(
    running: Any, until: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with cluster(running, 2) as (shared, (here, there)):
        sid = await here.running.poll_open()
        shared.nodes = {key: NodeAddress("a" * 64 + ".test", 80, "s") for key in shared.nodes}
        assert (await there.running.poll(sid)).status == 503
        assert not errors(caplog)
        with pytest.raises(Exception, match="503"):
            await there.running.websocket(f"EIO=4&transport=websocket&sid={sid}")
        assert there.server.engine.forwarder is not None
        await until(lambda: not there.server.engine.forwarder.pipes)
        assert [record.exc_info is not None for record in errors(caplog)] == [True]


async def test_a_draining_node_closes_the_pipes_through_it(running: Any, until: Any) -> None:
    async with cluster(running, 2) as (_, (here, there)):
        sid = await connected(here, there)
        websocket = await there.running.websocket(f"EIO=4&transport=websocket&sid={sid}")
        await websocket.send("2probe")
        assert await websocket.recv() == "3probe"
        await websocket.send("5")
        await until(lambda: all(c.session.transport == "websocket" for c in here.server.engine.connections.values()))
        there.running.stop.set()
        with pytest.raises(ConnectionClosed):
            await websocket.recv()
        await there.running.task
        await until(lambda: not here.server.connections)


async def test_a_draining_node_answers_forwarded_polls_with_503(running: Any, until: Any) -> None:
    async with cluster(running, 2) as (_, (here, there)):
        sid = await connected(here, there)
        poll = asyncio.create_task(there.running.poll(sid))
        await until(lambda: any(c.session._poll_pending for c in here.server.engine.connections.values()))
        stopwatch = Stopwatch()
        there.running.stop.set()
        assert (await poll).status == 503
        await there.running.task
        assert stopwatch.elapsed_s < 2
        await until(lambda: not here.server.connections)


async def test_a_draining_node_forwards_no_new_polls(running: Any, until: Any) -> None:
    async with cluster(running, 2, drain_batch=1, drain_pause_s=0.2) as (_, (here, there)):
        sid = await connected(here, there)
        for _ in range(4):
            await there.running.poll_open()  # the drain takes several batches
        reader, writer = await there.running.raw()

        async def ask(method: str, body: bytes = b"") -> bytes:
            """The status, over one connection."""
            request = f"{method} {POLLING}&sid={sid} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(request.encode() + body)
            first, *head = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
            (length,) = (line[16:] for line in head if line.startswith(b"content-length: "))
            await reader.readexactly(int(length))
            return first.split(b" ")[1]

        assert (await ask("POST", b'420["echo"]'), await ask("GET")) == (b"200", b"200")
        stopwatch = Stopwatch()
        there.running.stop.set()
        await until(lambda: not there.server.engine.accepting)
        assert await ask("GET") == b"503"
        await there.running.task
        assert stopwatch.elapsed_s < 2
        writer.close()


async def test_a_server_without_a_directory_does_not_forward(running: Any, serving: Any) -> None:
    async with serving(Server()) as alone:
        answer = await alone.poll("x" * 28)
        assert (answer.status, json.loads(answer.body)["code"]) == (400, 1)
