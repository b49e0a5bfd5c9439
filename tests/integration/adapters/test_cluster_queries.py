"""Queries over the sharded and the streams adapter: the bytes of Node's, servers that do not answer, large answers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, Self

import msgpack
import pytest
import redis.asyncio

from roomcast.realtime import BroadcastAckTimeout, ClusterTimeout, RecoveryOptions, ServerOptions
from roomcast.realtime.adapters.redis import RedisAdapterOptions, RedisStreamsAdapter, ShardedRedisAdapter
from support.redis_server import RedisServer
from support.socketio_cluster import Cluster, redis_options
from support.waiting import until

ADAPTERS: dict[str, Any] = {"sharded": ShardedRedisAdapter, "streams": RedisStreamsAdapter}
FAST = RedisAdapterOptions(list_interval_s=0.02)
UID = "00112233445566aa"
CHANNEL, OWN = "socket.io#/#", f"socket.io#/#{UID}#"
IDS = re.compile(r"[0-9a-f]{16}(?![0-9a-f])(-[\w-]{12})?")


class QueryCluster(Cluster):
    """Servers of this package, and a subscriber that poses as one of Node."""

    def __init__(
        self, kind: str, redis_server: RedisServer, stack: AsyncExitStack, options: RedisAdapterOptions
    ) -> None:
        super().__init__(lambda: ADAPTERS[kind](redis_options(redis_server.port), options), stack)
        self.kind = kind
        self.redis = redis_server

    async def fake(self) -> Fake:
        return await self._stack.enter_async_context(Fake(self.kind, self.redis.port))


class Fake:
    """Receives the messages of a namespace, undecoded, and sends what the test says."""

    def __init__(self, kind: str, port: int) -> None:
        self._kind = kind
        self._client = redis.asyncio.Redis(port=port)
        self._pubsub = self._client.pubsub()

    async def __aenter__(self) -> Self:
        await (self._pubsub.ssubscribe if self._kind == "sharded" else self._pubsub.subscribe)(CHANNEL, OWN)
        for _ in range(2):
            await self._message()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pubsub.aclose()
        await self._client.aclose()

    async def _message(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while True:
                message = await self._pubsub.get_message(timeout=5)
                if message is not None:
                    return dict(message)

    async def next(self, channel: str = OWN) -> Any:
        """The next message on a channel."""
        while (message := await self._message())["channel"] != channel.encode():
            pass
        data = message["data"]
        return json.loads(data) if data.startswith(b"{") else msgpack.unpackb(data)

    async def masked(self, channel: str = OWN) -> str:
        """The next message with its fields in their order, without uids and ids of queries."""
        return IDS.sub("id", str(await self.next(channel)))

    async def send(self, kind: int, data: dict[str, Any], channel: str = CHANNEL) -> None:
        message = {"type": kind, "data": data, "uid": UID, "nsp": "/"}
        packed: Any = msgpack.packb(message) if self._kind == "streams" else json.dumps(message, separators=(",", ":"))
        await self._client.execute_command("SPUBLISH" if self._kind == "sharded" else "PUBLISH", channel, packed)


Make = Callable[..., Any]


@pytest.fixture(params=list(ADAPTERS))
async def make(request: pytest.FixtureRequest, redis_server: RedisServer) -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:
        redis_server.command("FLUSHALL")

        async def made(
            *names: str, options: RedisAdapterOptions = FAST, server_options: ServerOptions | None = None
        ) -> QueryCluster:
            cluster = QueryCluster(request.param, redis_server, stack, options)
            for name in names:
                await cluster.add(name, server_options=server_options)
            return cluster

        yield made


@pytest.mark.node
async def test_queries_and_answers_are_those_of_node(make: Make) -> None:
    cluster = await make("a")
    a, node = cluster.servers["a"], await cluster.add_node("node", cluster.redis.port, cluster.kind)
    a.on_server_side_emit("who", lambda: "node")
    on_a, on_node = await cluster.client("a"), await cluster.client("node")
    fake = await cluster.fake()
    to = {"rooms": ["r", "s"], "except": ["x"]}
    texts, binary = ["ask", 1.5, "ü"], ["ask", b"\x01"]
    queries = [
        (node("fetch"), a.fetch_sockets()),
        (node("fetch", **to), a.to(["r", "s"]).except_("x").fetch_sockets()),
        (node("serverSideEmit", args=["who"]), a.server_side_emit_with_ack("who")),
        (
            node("emitWithAck", **to, args=texts, timeout=300),
            a.to(["r", "s"]).except_("x").timeout(0.3).emit_with_ack(*texts),
        ),
        (node("emitWithAck", rooms=["r"], args=binary, timeout=300), a.to("r").timeout(0.3).emit_with_ack(*binary)),
    ]
    for theirs, ours in queries:
        asked = []
        for query in (theirs, ours):
            task = asyncio.ensure_future(query)
            asked.append(await fake.masked(CHANNEL))
            task.cancel()  # the fake server does not answer
            await asyncio.wait({task})
        assert asked[0] == asked[1]
    answers: dict[str, list[str]] = {}
    opts = {"rooms": [], "except": [], "flags": {"timeout": 5_000}}
    await fake.send(9, {"requestId": "q1", "packet": ["who"]})
    await fake.send(3, {"requestId": "q2", "packet": {"type": 2, "data": ["ask"]}, "opts": opts})
    for client in (on_a, on_node):
        packet = await client.packet()
        assert packet.data == ["ask"]
        await client.websocket.send(f'43{packet.ack_id}["yes",{{"x":1}}]')
    for _ in range(6):
        answer = await fake.next()
        answers.setdefault("ours" if answer["uid"] == a.engine.adapter.uid else "theirs", []).append(
            IDS.sub("id", str(answer))
        )
    assert sorted(answers["ours"]) == sorted(answers["theirs"])
    await fake.send(7, {"opts": {"rooms": [], "except": [], "flags": {}}, "requestId": "q3"})
    first, second = await fake.next(), await fake.next()
    for one, other in ((first, second), (first["data"], second["data"])):
        assert list(one) == list(other)
    (one,), (other,) = first["data"]["sockets"], second["data"]["sockets"]
    assert list(one) == list(other)
    assert one["handshake"].keys() == other["handshake"].keys()


async def test_a_server_that_joins_after_the_query_is_not_waited_for(make: Make, monkeypatch: Any) -> None:
    cluster = await make("a", "b")
    on_b = await cluster.client("b")
    adapter: Any = cluster.servers["a"].engine.adapter
    list_channels, joined = adapter._commands.channels, asyncio.Event()
    if cluster.kind == "sharded":
        list_channels = adapter._commands.shard_channels

    async def list_later(pattern: str) -> frozenset[str]:
        await joined.wait()
        return await list_channels(pattern)  # type: ignore[no-any-return]

    monkeypatch.setattr(adapter._commands, list_channels.__name__, list_later)
    asking = asyncio.create_task(cluster.servers["a"].timeout(30).fetch_sockets())
    await until(lambda: cluster.servers["b"].engine.adapter.counters.answered == 1)
    await cluster.fake()
    assert not asking.done()
    joined.set()
    assert [socket.sid for socket in await asking] == [on_b.sid]


async def test_a_server_that_does_not_answer_is_waited_for_until_it_leaves(make: Make) -> None:
    cluster = await make("a", "b")
    on_b = await cluster.client("b")
    a = cluster.servers["a"]
    fake = await cluster.fake()
    with pytest.raises(ClusterTimeout) as caught:
        await a.timeout(0.2).fetch_sockets()
    assert [socket.sid for socket in caught.value.received] == [on_b.sid]
    query = await fake.next(CHANNEL)
    asking = asyncio.create_task(a.timeout(30).emit_with_ack("ask"))
    query = await fake.next(CHANNEL)
    answer = partial(fake.send, channel=f"socket.io#/#{query['uid']}#")
    request_id = query["data"]["requestId"]
    for count in (-1, "1", None):
        await answer(11, {"requestId": request_id, "clientCount": count})
    await answer(12, {"requestId": request_id, "packet": "early"})
    await answer(11, {"requestId": f"{request_id}x", "clientCount": 1})
    await answer(11, {"requestId": 5, "clientCount": 1})
    await answer(11, {"requestId": request_id, "clientCount": 3})
    await answer(12, {"requestId": request_id, "packet": "theirs"})
    packet = await on_b.packet()
    await on_b.websocket.send(f'43{packet.ack_id}["b"]')
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(asyncio.shield(asking), 0.1)
    await fake.__aexit__()
    with pytest.raises(BroadcastAckTimeout) as late:
        await asking
    assert (sorted(late.value.received), late.value.missing) == (["b", "early", "theirs"], 1)
    assert not a.engine.adapter._queries._pending  # type: ignore[attr-defined]


async def test_answers_larger_than_a_message_arrive_in_parts(make: Make) -> None:
    cluster = await make("a", "b", options=RedisAdapterOptions(max_message_bytes=20_000, queue_limit_bytes=20_000))
    clients = [await cluster.client("b") for _ in range(20)]
    b = cluster.servers["b"]
    for client in clients:
        b.socket(client.sid).data["text"] = "x" * 4_000
    found = await cluster.servers["a"].fetch_sockets()
    assert {socket.sid for socket in found} == {client.sid for client in clients}
    assert all(socket.data == {"text": "x" * 4_000} for socket in found)


async def test_a_query_without_redis_fails_at_once(make: Make) -> None:
    cluster = await make("a", "b")
    on_a = await cluster.client("a")
    a = cluster.servers["a"]
    fake = await cluster.fake()
    asking = asyncio.create_task(a.timeout(30).fetch_sockets())
    await fake.next(CHANNEL)
    cluster.redis.kill()
    with pytest.raises(ClusterTimeout, match="lost"):
        await asking
    with pytest.raises(ClusterTimeout, match="not connected") as caught:
        await a.timeout(30).fetch_sockets()
    assert [socket.sid for socket in caught.value.received] == [on_a.sid]
    cluster.redis.start()
    await until(lambda: all(server.engine.adapter.ready for server in cluster.servers.values()))
    await a.sockets_join("r")
    assert [socket.sid for socket in await a.to("r").fetch_sockets()] == [on_a.sid]


async def test_a_room_that_is_named_like_a_server_is_not_waited_for(make: Make) -> None:
    cluster = await make("a", "b")
    on_b = await cluster.client("b")
    await cluster.servers["b"].enter_room(on_b.sid, UID)
    if cluster.kind == "sharded":
        await until(lambda: cluster.redis.command("PUBSUB", "SHARDNUMSUB", OWN).endswith(b":1"))
    found = await cluster.servers["a"].timeout(30).fetch_sockets()
    assert [socket.sid for socket in found] == [on_b.sid]


@pytest.mark.parametrize("make", ["streams"], indirect=True)
async def test_a_query_is_answered_after_the_commands_that_were_published_before_it(
    make: Make, monkeypatch: Any
) -> None:
    cluster = await make("a", "b", server_options=ServerOptions(recovery=RecoveryOptions()))
    a, adapter = cluster.servers["a"], cluster.servers["b"].engine.adapter
    on_b = await cluster.client("b")
    await a.sockets_join("r")
    reader = adapter._reader
    read, go, waits = reader._read, asyncio.Event(), asyncio.Event()

    async def read_later(connection: Any) -> None:
        waits.set()
        await go.wait()
        waits.clear()
        await read(connection)

    # While `b` reads nothing, a query that has arrived waits.
    monkeypatch.setattr(reader, "_read", read_later)
    await a.sockets_leave("s")
    await waits.wait()
    await a.sockets_join("s")
    asking = asyncio.create_task(a.to("s").fetch_sockets())
    await until(lambda: bool(adapter._early))
    go.set()
    assert [socket.sid for socket in await asking] == [on_b.sid]
    go.clear()
    await a.sockets_leave("s")
    await waits.wait()
    await a.sockets_join("s")
    asking = asyncio.create_task(a.timeout(30).fetch_sockets())
    await until(lambda: bool(adapter._early))
    # Its sender has stopped to wait meanwhile.
    (early,) = adapter._early
    adapter._early[0] = replace(early, since=early.since - 6)
    answered = adapter.counters.answered
    asking.cancel()
    go.set()
    await until(lambda: not adapter._early)
    assert adapter.counters.answered == answered
