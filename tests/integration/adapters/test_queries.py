"""Queries over Redis: servers that do not answer, die or lie, monitors, outages, large answers, Redis Cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import msgpack
import pytest
import redis.asyncio

from roomcast.realtime import BroadcastAckTimeout, ClusterTimeout, Server
from roomcast.realtime.adapters.redis import RedisAdapter, RedisAdapterOptions
from roomcast.redis_client import RedisAddress, RedisOptions
from support.redis_server import RedisServer
from support.redis_topology import redis_cluster
from support.socketio_cluster import Client, Cluster

FAST = RedisAdapterOptions(list_interval_s=0.02)


def adapter(port: int, options: RedisAdapterOptions = FAST) -> RedisAdapter:
    return RedisAdapter(RedisOptions(addresses=(RedisAddress("127.0.0.1", port),)), options)


@pytest.fixture
async def pair(redis_server: RedisServer) -> AsyncIterator[Cluster]:
    """Servers ``a`` and ``b`` of this package."""
    async with AsyncExitStack() as stack:
        made = Cluster(lambda: adapter(redis_server.port), stack)
        await made.add("a")
        await made.add("b")
        yield made


class Impostor:
    """Subscribes as a server of Node does, and answers what the test says."""

    def __init__(self, client: Any, uid: str = "fake01") -> None:
        self.client = client
        self.pubsub = client.pubsub()
        self.own = f"socket.io-response#/#{uid}#"

    async def __aenter__(self) -> Self:
        await self.pubsub.subscribe("socket.io-request#/#", self.own)
        for _ in range(2):
            await self.pubsub.get_message(timeout=5)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.pubsub.aclose()

    async def request(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while True:
                message = await self.pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
                if message is not None and message["channel"] == b"socket.io-request#/#":
                    data = message["data"]
                    return dict(json.loads(data) if data.startswith(b"{") else msgpack.unpackb(data))

    async def respond(self, data: Any) -> None:
        text = data if isinstance(data, bytes) else json.dumps(data)
        await self.client.publish("socket.io-response#/#", text)


async def test_a_monitor_that_subscribes_to_the_requests_is_not_waited_for(pair: Cluster, redis_server: Any) -> None:
    async with redis.asyncio.Redis(port=redis_server.port) as client, client.pubsub() as monitor:
        await monitor.subscribe("socket.io-request#/#", "socket.io-response#/#")
        await monitor.psubscribe("socket.io*")
        for _ in range(3):
            await monitor.get_message(timeout=5)
        on_b = await pair.client("b")
        found = await pair.servers["a"].timeout(30).fetch_sockets()
        assert [socket.sid for socket in found] == [on_b.sid]


async def test_a_server_that_dies_meanwhile_is_not_waited_for(pair: Cluster, redis_server: Any) -> None:
    on_b = await pair.client("b")
    async with redis.asyncio.Redis(port=redis_server.port) as client:
        async with Impostor(client) as server:
            asking = asyncio.create_task(pair.servers["a"].timeout(30).fetch_sockets())
            await server.request()
            assert not asking.done()
        assert [socket.sid for socket in await asking] == [on_b.sid]


async def test_a_server_that_does_not_answer_ends_in_an_error_that_has_the_answers_of_the_others(
    pair: Cluster, redis_server: Any
) -> None:
    on_a, on_b = await pair.client("a"), await pair.client("b")
    async with redis.asyncio.Redis(port=redis_server.port) as client, Impostor(client):
        with pytest.raises(ClusterTimeout, match=r"0\.2 s") as caught:
            await pair.servers["a"].timeout(0.2).fetch_sockets()
    assert {socket.sid for socket in caught.value.received} == {on_a.sid, on_b.sid}
    made: Any = pair.servers["a"].engine.adapter
    assert not made._queries._pending


async def test_malformed_late_and_foreign_responses_change_nothing(pair: Cluster, redis_server: Any) -> None:
    on_b = await pair.client("b")
    a = pair.servers["a"]
    async with redis.asyncio.Redis(port=redis_server.port) as client, Impostor(client) as server:
        asking = asyncio.create_task(a.timeout(30).fetch_sockets())
        request = await server.request()
        request_id, uid = request["requestId"], request["uid"]
        good = {"id": "s1", "handshake": {}, "rooms": ["s1", "r", 5], "data": "text"}
        for wrong in (
            b"{",
            b"\xff",
            b"\x81\xa9requestId\xa3abc",
            {"requestId": request_id},
            {"requestId": request_id, "sockets": 5},
            {"requestId": request_id, "sockets": [5]},
            {"requestId": request_id, "sockets": [{"id": 5}]},
            {"requestId": request_id, "sockets": [{**good, "rooms": "r"}]},
            {"requestId": f"{request_id}x", "sockets": [good]},
            {"requestId": request_id[:7], "sockets": [good]},
            {"requestId": request_id, "uid": 5, "sockets": []},
        ):
            await server.respond(wrong)
        assert not asking.done()
        response = {"requestId": request_id, "sockets": [good, good]}
        # Where Node responds with the option `publishOnSpecificResponseChannel`.
        await client.publish(f"socket.io-response#/#{uid}#", json.dumps(response))
        found = {socket.sid: socket for socket in await asking}
        assert found.keys() == {on_b.sid, "s1"}
        assert (found["s1"].rooms, found["s1"].data, found["s1"].handshake.headers) == ({"r"}, {}, {})
        await server.respond({"requestId": request_id, "sockets": [good]})
    assert len(await a.fetch_sockets()) == 1


async def test_a_query_during_an_outage_fails_at_once_and_one_that_loses_its_connection_too(
    pair: Cluster, redis_server: RedisServer, until: Any
) -> None:
    on_a = await pair.client("a")
    a = pair.servers["a"]
    made: Any = a.engine.adapter
    async with redis.asyncio.Redis(port=redis_server.port) as client, Impostor(client) as server:
        asking = asyncio.create_task(a.timeout(30).fetch_sockets())
        await server.request()
        redis_server.kill()
        with pytest.raises(ClusterTimeout, match="lost"):
            await asking
    with pytest.raises(ClusterTimeout, match="not connected") as caught:
        await a.timeout(30).fetch_sockets()
    assert [socket.sid for socket in caught.value.received] == [on_a.sid]
    redis_server.start()
    await until(lambda: made.ready and pair.servers["b"].engine.adapter.ready)  # type: ignore[attr-defined]
    assert [socket.sid for socket in await a.fetch_sockets()] == [on_a.sid]


async def test_a_namespace_that_this_server_does_not_serve_is_named(pair: Cluster) -> None:
    with pytest.raises(ClusterTimeout, match="'/other'"):
        await pair.servers["a"].of("/other").fetch_sockets()


async def test_answers_larger_than_the_queue_arrive_in_parts(redis_server: RedisServer) -> None:
    options = RedisAdapterOptions(max_message_bytes=20_000, queue_limit_bytes=20_000)
    async with AsyncExitStack() as stack:
        made = Cluster(lambda: adapter(redis_server.port, options), stack)
        a, b = await made.add("a"), await made.add("b")
        clients = [await made.client("b") for _ in range(20)]
        for client in clients:
            b.socket(client.sid).data["text"] = "x" * 4_000
        found = await a.fetch_sockets()
        assert {socket.sid for socket in found} == {client.sid for client in clients}
        assert all(socket.data == {"text": "x" * 4_000} for socket in found)


async def test_an_answer_with_a_lost_part_is_not_complete(pair: Cluster, redis_server: Any) -> None:
    async with redis.asyncio.Redis(port=redis_server.port) as client, Impostor(client) as server:
        asking = asyncio.create_task(pair.servers["a"].timeout(0.3).fetch_sockets())
        request_id = (await server.request())["requestId"]
        for part, more in ((0, True), (2, False)):
            socket = {"id": f"s{part}", "handshake": {}, "rooms": []}
            response = {"requestId": request_id, "sockets": [socket], "uid": "fake01", "part": part, "more": more}
            await server.respond(response)
        with pytest.raises(ClusterTimeout) as caught:
            await asking
    assert [socket.sid for socket in caught.value.received] == ["s0"]


async def test_in_a_redis_cluster_servers_on_every_node_are_asked(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=False) as nodes:
        async with AsyncExitStack() as stack:
            ports = iter([server.port for server in nodes.servers])

            def on_next_node() -> RedisAdapter:
                address = RedisAddress("127.0.0.1", next(ports))
                return RedisAdapter(RedisOptions(addresses=(address,), cluster=True), FAST)

            made = Cluster(on_next_node, stack)
            servers: list[Server] = [await made.add(name) for name in "abc"]
            clients: list[Client] = [await made.client(name) for name in "abc"]
            for server in servers:
                found = await server.fetch_sockets()
                assert {socket.sid for socket in found} == {client.sid for client in clients}


async def test_acknowledgements_of_a_server_that_dies_are_not_waited_for(pair: Cluster, redis_server: Any) -> None:
    on_b = await pair.client("b")
    async with redis.asyncio.Redis(port=redis_server.port) as client:
        async with Impostor(client) as server:
            asking = asyncio.create_task(pair.servers["a"].timeout(30).emit_with_ack("ask"))
            request_id = (await server.request())["requestId"]
            await server.respond({"type": 8, "requestId": request_id, "clientCount": 3})
            await server.respond(msgpack.packb({"type": 9, "requestId": request_id, "packet": "theirs"}))
            packet = await on_b.packet()
            await on_b.websocket.send(f'43{packet.ack_id}["b"]')
        with pytest.raises(BroadcastAckTimeout) as caught:
            await asking
    assert (sorted(caught.value.received), caught.value.missing) == (["b", "theirs"], 2)


async def test_no_server_can_send_more_acknowledgements_than_clients(pair: Cluster, redis_server: Any) -> None:
    async with redis.asyncio.Redis(port=redis_server.port) as client, Impostor(client) as server:
        asking = asyncio.create_task(pair.servers["a"].timeout(30).emit_with_ack("ask"))
        request_id = (await server.request())["requestId"]
        ack = msgpack.packb({"type": 9, "requestId": request_id, "packet": 1})
        await server.respond(ack)
        for count in (-1, 1.5, "1", None):
            await server.respond({"type": 8, "requestId": request_id, "clientCount": count})
        await server.respond({"type": 99, "requestId": request_id})
        assert not asking.done()
        await server.respond({"type": 8, "requestId": request_id, "clientCount": 1})
        await server.respond(ack)
        await server.respond(ack)
        assert await asking == [1]
