"""The sharded adapter beside Node's ``createShardedAdapter``: the same bytes, every message once for each recipient."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from roomcast.realtime.adapters.redis import ShardedRedisAdapter
from roomcast.redis_client import RedisAddress, RedisConnection, RedisOptions
from support.redis_server import RedisServer
from support.redis_topology import ClusterNodes, redis_cluster
from support.socketio_cluster import Client, Cluster
from support.waiting import until

pytestmark = pytest.mark.node

PAYLOADS: list[list[Any]] = [
    ["e"],
    ["e", {"text": "grüße 🎉", "n": [0, -1, 1.5, 2**40], "none": None, "yes": True}, "second"],
    ["e", b"\x00\xff", {"deep": [{"file": b"PNG" * 100}]}],
]
TARGETS: list[tuple[list[str], list[str]]] = [
    ([], []),
    (["r"], []),
    (["r"], ["x", "y"]),
    (["r", "s"], []),
    (["twenty-characters-ab"], []),
]


class ShardedCluster(Cluster):
    """Servers ``a`` and ``b`` of this package, ``node``, and Redis or a Redis Cluster."""

    def __init__(self, redis: RedisServer | ClusterNodes, stack: AsyncExitStack) -> None:
        super().__init__(self._adapter, stack)
        self.redis = redis if isinstance(redis, RedisServer) else redis.servers[0]
        self.owner = redis.owner if isinstance(redis, ClusterNodes) else lambda _: redis
        self.in_order = isinstance(redis, RedisServer)
        self.adapters: list[ShardedRedisAdapter] = []

    def _adapter(self) -> ShardedRedisAdapter:
        address = RedisAddress("127.0.0.1", self.redis.port)
        options = RedisOptions(addresses=(address,), cluster=not self.in_order, probe_interval_s=0.2, retry_max_s=0.1)
        self.adapters.append(ShardedRedisAdapter(options))
        return self.adapters[-1]

    async def start(self) -> None:
        await self.add_node("node", self.redis.port, "sharded" if self.in_order else "sharded-cluster")
        await self.add("a")
        await self.add("b")

    @property
    def node(self) -> Any:
        return self.nodes["node"]


@pytest.fixture
async def sharded(redis_server: RedisServer) -> AsyncIterator[ShardedCluster]:
    async with AsyncExitStack() as stack:
        made = ShardedCluster(redis_server, stack)
        await made.start()
        yield made


@pytest.fixture(scope="module", params=["one server", "cluster"])
def any_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer | ClusterNodes]:
    if request.param == "cluster":
        with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=False) as nodes:
            yield nodes
    else:
        yield request.getfixturevalue("redis_server")


@pytest.fixture
async def anywhere(any_redis: RedisServer | ClusterNodes) -> AsyncIterator[ShardedCluster]:
    async with AsyncExitStack() as stack:
        made = ShardedCluster(any_redis, stack)
        await made.start()
        yield made


async def subscribed(cluster: ShardedCluster, channel: str, servers: int) -> None:
    def count() -> bool:
        return cluster.owner(channel).command("PUBSUB", "SHARDNUMSUB", channel).endswith(b":%d" % servers)

    await until(count)


class ShardReader(RedisConnection):
    """Receives every message of one shard channel, undecoded."""

    def __init__(self, port: int, channel: str, messages: asyncio.Queue[list[bytes]]) -> None:
        super().__init__(RedisAddress("127.0.0.1", port), max_message_bytes=1_000_000)
        self._channel = channel
        self._messages = messages

    async def greet(self) -> None:
        await self.ask_subscription("SSUBSCRIBE", self._channel)

    def message_received(self, message: list[bytes]) -> None:
        self._messages.put_nowait(message)


@pytest.fixture
async def published(anywhere: ShardedCluster) -> AsyncIterator[Callable[[], Awaitable[tuple[bytes, bytes]]]]:
    """Returns the next message of any server, and its channel."""
    messages: asyncio.Queue[list[bytes]] = asyncio.Queue()
    names = [f"socket.io#/#{part}" for part in ("", "r#", "s#", "twenty-characters-ab#")]
    readers = [ShardReader(anywhere.owner(name).port, name, messages) for name in names]
    for reader in readers:
        await reader.open(RedisOptions(), "test")

    async def following() -> tuple[bytes, bytes]:
        async with asyncio.timeout(5):
            _, channel, data = await messages.get()
        return channel, re.sub(rb"[0-9a-f]{16}(?=.{1,8}nsp)", b"0" * 16, data)

    yield following
    for reader in readers:
        reader.abort()


async def test_commands_are_the_same_bytes_on_the_same_channel(anywhere: ShardedCluster, published: Any) -> None:
    a = anywhere.servers["a"]
    by_node: dict[str, Any] = {"from": "node"}
    for args in PAYLOADS:
        for rooms, skip in TARGETS:
            for volatile in (False, True):
                await anywhere.node("emit", **by_node, rooms=rooms, **{"except": skip}, volatile=volatile, args=args)
                theirs = await published()
                await a.emit(args[0], tuple(args[1:]), to=rooms or None, skip_sid=skip, volatile=volatile)
                assert await published() == theirs
    await anywhere.node("join", **by_node, rooms=["sid"], join=["j"])
    theirs = await published()
    await a.enter_room("sid", "j")
    assert await published() == theirs
    await anywhere.node("leave", **by_node, rooms=["sid"], leave=["j"])
    theirs = await published()
    await a.leave_room("sid", "j")
    assert await published() == theirs
    await anywhere.node("disconnect", **by_node, rooms=["sid"], close=False)
    theirs = await published()
    await a.disconnect("sid")
    assert await published() == theirs


async def test_every_sender_reaches_every_selected_client_exactly_once(anywhere: ShardedCluster) -> None:
    members = {"node": ["r"], "a": ["r", "s"], "b": ["s", "twenty-characters-ab"]}
    clients = {}
    for name, rooms in members.items():
        client = clients[name] = await anywhere.client(name)
        for ack, room in enumerate(rooms):
            await client.websocket.send(f"42{ack}" + json.dumps(["join", room]))
            assert (await client.packet()).ack_id == ack
    await subscribed(anywhere, "socket.io#/#r#", 2)
    await subscribed(anywhere, "socket.io#/#s#", 2)
    for sender in ("node", "a", "b"):
        cases = [
            (f"{number}.{kind}", rooms, skip, payload[1:])
            for number, (rooms, skip) in enumerate([*TARGETS, ([clients["b"].sid], []), ([], ["r"])])
            for kind, payload in enumerate(PAYLOADS)
        ]
        # One on each channel: in a Redis Cluster the channels belong to several servers, which share no order.
        fences: list[tuple[str, list[str], list[str], list[Any]]] = [
            ("fence", rooms, [], [sender, *rooms]) for rooms in ([], ["r"], ["s"])
        ]
        for event, rooms, skip, payload in [*cases, *fences]:
            if sender == "node":
                await anywhere.node("emit", **{"from": "node"}, rooms=rooms, **{"except": skip}, args=[event, *payload])
            else:
                await anywhere.servers[sender].emit(event, tuple(payload), to=rooms or None, skip_sid=skip)
        for name, client in clients.items():
            own = {*members[name], client.sid}
            expected = [
                [event, *payload]
                for event, rooms, skip, payload in [*cases, *fences]
                if (not rooms or own & set(rooms)) and not own & set(skip)
            ]
            got = await events(client, fences=sum(event == "fence" for event, *_ in expected))
            if not anywhere.in_order:
                got.sort(key=expected.index)
            assert got == expected, (sender, name)


async def events(client: Client, *, fences: int) -> list[Any]:
    """The events up to so many fences."""
    got: list[Any] = []
    async with asyncio.timeout(10):
        while sum(event == "fence" for event, *_ in got) < fences:
            got.append((await client.packet()).data)
    return got


async def test_commands_of_every_sender_apply_on_every_server(sharded: ShardedCluster) -> None:
    a = sharded.servers["a"]
    on_node, on_a, on_b = [await sharded.client(name) for name in ("node", "a", "b")]
    await sharded.node("join", **{"from": "node"}, rooms=[on_a.sid], join=["j"])
    await until(lambda: a.rooms(on_a.sid) == [on_a.sid, "j"])
    await sharded.node("leave", **{"from": "node"}, rooms=["j"], leave=["j"])
    await until(lambda: a.rooms(on_a.sid) == [on_a.sid])
    await a.enter_room(on_node.sid, "from-a")

    async def joined() -> bool:
        return set((await sharded.node("fetch", rooms=[on_node.sid]))[0]["rooms"]) == {on_node.sid, "from-a"}

    await until(joined)
    await sharded.node("disconnect", **{"from": "node"}, rooms=[on_b.sid], close=True)
    assert (await on_b.packet()).type == 1
    await a.disconnect(on_node.sid)
    assert (await on_node.packet()).type == 1


async def test_events_between_servers_reach_every_other_one_once(sharded: ShardedCluster) -> None:
    notes: list[Any] = []
    for name, server in sharded.servers.items():
        server.on_server_side_emit("note", lambda *args, name=name: notes.append((name, *args)))
        server.on_server_side_emit("who", lambda name=name: name)
    await sharded.servers["a"].server_side_emit("note", 1)
    await sharded.node("note", **{"from": "node"}, args=[2])
    assert sorted(await sharded.node("serverSideEmit", args=["who"])) == ["a", "b"]
    await until(lambda: len(notes) == 3)
    assert sorted(notes) == [("a", 2), ("b", 1), ("b", 2)]

    async def noted_by_node() -> bool:
        return bool(await sharded.node("notes") == [[1]])

    await until(noted_by_node)


async def test_node_gets_answers_from_every_server(anywhere: ShardedCluster) -> None:
    clients = {name: await anywhere.client(name) for name in ("node", "a", "b")}
    assert await anywhere.node("servers") == 3
    anywhere.servers["b"].socket(clients["b"].sid).data["lock"] = object()
    fetched = {socket["id"]: socket for socket in await anywhere.node("fetch")}
    assert fetched.keys() == {client.sid for client in clients.values()}
    assert fetched[clients["b"].sid]["data"] == {}
    mine, theirs = fetched[clients["a"].sid], fetched[clients["node"].sid]
    assert mine["handshake"].keys() == theirs["handshake"].keys()
    assert await anywhere.node("serverSideEmit", args=["who"]) == [None, None]
    asking = asyncio.create_task(anywhere.node("emitWithAck", args=["ask", b"\x01"], timeout=3_000))
    for name, client in clients.items():
        packet = await client.packet()
        assert packet.data == ["ask", b"\x01"]
        await client.websocket.send(f'43{packet.ack_id}["{name}","second"]')
    assert sorted(await asking) == ["a", "b", "node"]
    with pytest.raises(RuntimeError, match="timed out"):
        await anywhere.node("emitWithAck", args=["ask"], timeout=100)


async def test_the_channel_of_a_room_is_subscribed_while_it_has_a_member(sharded: ShardedCluster) -> None:
    a = sharded.servers["a"]
    one, two = await sharded.client("a"), await sharded.client("a")
    await a.enter_room(one.sid, "room")
    await a.enter_room(two.sid, "room")
    await subscribed(sharded, "socket.io#/#room#", 1)
    await a.leave_room(one.sid, "room")
    sharded.redis.kill()
    await until(lambda: not sharded.adapters[0].ready)
    sharded.redis.start()
    await until(lambda: all(adapter.ready for adapter in sharded.adapters))
    await subscribed(sharded, "socket.io#/#room#", 1)
    await two.websocket.close()
    await subscribed(sharded, "socket.io#/#room#", 0)


async def test_in_the_static_mode_rooms_share_the_channel_of_the_namespace(redis_server: RedisServer) -> None:
    address = RedisAddress("127.0.0.1", redis_server.port)
    made = partial(ShardedRedisAdapter, RedisOptions(addresses=(address,)), subscription_mode="static")
    async with AsyncExitStack() as stack:
        cluster = Cluster(made, stack)
        node = await cluster.add_node("node", redis_server.port, "static")
        server = await cluster.add("a")
        for name, sender in (("node", server), ("a", None)):
            client = await cluster.client(name)
            await client.websocket.send('420["join","r"]')
            assert (await client.packet()).ack_id == 0
            if sender is not None:
                await sender.emit("e", name, to="r")
            else:
                await node("emit", **{"from": "node"}, rooms=["r"], args=["e", name])
            assert (await client.packet()).data == ["e", name]
        assert redis_server.command("PUBSUB", "SHARDCHANNELS", "socket.io#/#r#") == b"*0"


async def test_malformed_messages_are_counted_and_dropped(sharded: ShardedCluster) -> None:
    client = await sharded.client("a")
    adapter = sharded.adapters[0]
    junk = [b"", b"{", b"\x81", b'{"type":3}', b'{"type":3,"uid":"u","nsp":"/","data":{}}', b"[]", b"\xc1"]
    junk += [b'{"type":3,"uid":"u","nsp":"/","data":{"packet":{"type":2,"data":["connect"]},"opts":{}}}']
    for data in junk:
        sharded.redis.command("SPUBLISH", "socket.io#/#", data)
    await until(lambda: adapter.counters.dropped["malformed"] == len(junk))
    sharded.redis.command("SPUBLISH", "socket.io#/#", b'{"type":99,"uid":"u","nsp":"/"}')
    await sharded.servers["b"].emit("fence")
    assert await client.until("fence") == []
