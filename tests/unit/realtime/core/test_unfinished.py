"""Limits of what clients leave unfinished: binary packets, sessions without a namespace, memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from roomcast.realtime import (
    Namespace,
    Reason,
    Server,
    ServerOptions,
)
from roomcast.realtime.core.handlers.registry import Handler
from roomcast.realtime.transports.polling import PollingTransport
from roomcast.wire.engineio_refusals import RequestRefused
from support.virtual_time import run_in_virtual_time
from unit.realtime.conftest import POLLING

HEADER = '52-["upload",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'


def upload_server(**options: Any) -> tuple[Server, list[int]]:
    server = Server(ServerOptions(**options))
    sizes: list[int] = []

    @server.event
    def upload(sid: str, first: bytes, second: bytes) -> None:
        sizes.append(len(first) + len(second))

    return server, sizes


async def test_incomplete_binary_packets_of_all_clients_share_a_budget_and_the_oldest_is_closed(peer: Any) -> None:
    server, sizes = upload_server(unfinished_limit_bytes=5_000_000)
    clients = [peer(server) for _ in range(20)]
    for client in clients:
        await client.enter()
        client.say("4" + HEADER, b"x" * 1_000_000)
        assert server.engine.unfinished.size_bytes <= 5_000_000
    assert [client.transport.closed for client in clients] == [Reason.PARSE_ERROR] * 16 + [None] * 4
    clients[-1].say(b"y")
    assert sizes == [1_000_001]
    for client in clients:
        client.connection.abort(Reason.TRANSPORT_CLOSE)
    assert server.engine.unfinished.size_bytes == 0


def test_a_client_that_does_not_send_its_attachments_is_closed_at_the_deadline(peer: Any, recording: Any) -> None:
    async def main() -> None:
        server, sizes = upload_server(unfinished_timeout_s=10, ping_interval_s=1000)
        stalled, slow = peer(server), peer(server)
        for client in (stalled, slow):
            await client.enter()
            client.say("4" + HEADER, b"x")
        await asyncio.sleep(9.9)
        assert stalled.transport.closed is None
        slow.say(b"y")
        await asyncio.sleep(1)
        assert stalled.transport.closed is Reason.PARSE_ERROR
        slow.say("4" + HEADER)
        await asyncio.sleep(9)
        slow.say(b"x", b"y")
        assert sizes == [2, 2]
        await server.engine.abort()

    run_in_virtual_time(main())


async def test_attachments_of_an_event_without_a_handler_are_not_held(peer: Any) -> None:
    server, sizes = upload_server()
    client = peer(server)
    await client.enter()
    client.say("4" + HEADER.replace("upload", "other"), b"x" * 1_000_000)
    assert server.engine.unfinished.size_bytes == 0
    client.say(b"y", "4" + HEADER, b"x", b"y")
    assert sizes == [2]


@pytest.mark.parametrize("says", [[], ["2"], ["44"], ["40nonsense"], ["40", "40"]])
def test_a_polling_session_ends_at_the_connect_deadline_whatever_it_sends(says: list[str]) -> None:
    async def main() -> None:
        server = Server(ServerOptions(connect_timeout_s=12))

        @server.event
        def connect(sid: str, environ: Any) -> bool:
            return False

        transport = PollingTransport()
        connection = server.engine.open(POLLING, transport.bind)
        for data in says:
            with suppress(RequestRefused):
                connection.session.post_started(server.engine.now())
                for effects in connection.session.post_received(data.encode(), server.engine.now()):
                    connection.apply(effects)
            await asyncio.sleep(5)
        await asyncio.sleep(12.5 - 5 * len(says))
        assert server.connections == 0
        await server.engine.abort()

    run_in_virtual_time(main())


def test_refused_connects_do_not_extend_the_connect_deadline(peer: Any) -> None:
    async def main() -> None:
        server = Server(ServerOptions(connect_timeout_s=12))

        @server.event
        def connect(sid: str, environ: Any) -> bool:
            return False

        client = peer(server)
        for _ in range(4):
            client.say("40")
            await asyncio.sleep(4)
        assert client.transport.closed is Reason.CONNECT_TIMEOUT
        await server.engine.abort()

    run_in_virtual_time(main())


async def test_sessions_without_a_namespace_take_at_most_half_of_the_connections(peer: Any) -> None:
    server = Server(ServerOptions(max_connections=4))
    first, second = peer(server), peer(server)
    assert server.engine.full
    await first.enter()
    assert not server.engine.full
    third = peer(server)
    assert server.engine.full
    third.connection.abort(Reason.TRANSPORT_CLOSE)
    assert not server.engine.full
    await second.enter()
    assert not server.engine.unconnected


def test_a_client_whose_connect_handler_runs_does_not_yield_to_a_new_session(peer: Any) -> None:
    async def main() -> None:
        server = Server(ServerOptions(max_connections=4, connect_timeout_s=12))

        @server.on("connect")
        async def connect(_sid: str, _environ: object) -> None:
            await asyncio.sleep(10)

        client = peer(server)
        client.say("40")
        await asyncio.sleep(5)
        idle = peer(server)
        assert server.engine.full
        await asyncio.sleep(4.5)
        peer(server)
        assert idle.transport.aborted
        assert not client.transport.aborted
        await asyncio.sleep(1)
        assert client.transport.texts[-1].startswith("40")
        await server.engine.abort()

    run_in_virtual_time(main())


def test_the_oldest_session_without_a_namespace_yields_to_a_new_one(peer: Any) -> None:
    async def main() -> None:
        server = Server(ServerOptions(max_connections=8, connect_timeout_s=12))
        client = peer(server)
        await client.enter()
        idle = []
        for _ in range(4):
            idle.append(peer(server))
            await asyncio.sleep(1)
        assert server.engine.full is False  # the first is 4 s old
        other = peer(server)
        assert idle[0].transport.aborted
        assert server.engine.full  # the second is not
        await other.enter()
        assert not server.engine.full
        await asyncio.sleep(1)
        for _ in range(20):  # while a client opens more and more sessions, others connect
            idle.append(peer(server))
            await asyncio.sleep(1)
            assert not server.engine.full
            visitor = peer(server)
            await visitor.enter()
            visitor.connection.abort(Reason.TRANSPORT_CLOSE)
        assert len(server.engine.unconnected) <= 4
        clients = [peer(server)]
        await clients[0].enter()
        while server.connections < 8:  # connected ones are many, too
            await asyncio.sleep(2)
            clients.append(peer(server))
            await clients[-1].enter()
            idle.append(peer(server))
        await asyncio.sleep(4)
        await peer(server).enter()
        assert server.connections == 8
        assert all(other.transport.closed is None and not other.transport.aborted for other in [client, *clients])
        await server.engine.abort()

    run_in_virtual_time(main())


class NoMemory(Namespace):
    """Runs out of memory while a message is read."""

    def find_handler(self, event: str) -> Handler | None:
        if event == "upload":
            raise MemoryError
        return super().find_handler(event)


async def test_a_session_ends_and_the_error_is_raised_when_there_is_no_memory_for_a_message(peer: Any) -> None:
    server = Server()
    server.register_namespace(NoMemory())
    client = peer(server)
    await client.enter()
    with pytest.raises(MemoryError):
        client.say("4" + HEADER)
    assert client.transport.aborted
    assert server.connections == 0
