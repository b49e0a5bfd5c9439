"""What a server does to selected sockets of a cluster, over every adapter, and mixed with a server of Node.

Servers ``a`` and ``b`` are of this package; ``c`` is of this package, or of Node.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio

from roomcast.realtime import (
    BroadcastAckTimeout,
    BroadcastOperator,
    ClusterTimeout,
    Namespace,
    QueryLimitExceeded,
    ServerOptions,
    SocketGone,
)
from roomcast.realtime.adapters.memory import MemoryAdapter, MemoryBus
from roomcast.realtime.adapters.redis import RedisAdapter, RedisStreamsAdapter, ShardedRedisAdapter
from roomcast.wire.errors import EncodeError
from support.redis_server import RedisServer, running
from support.redis_topology import redis_cluster
from support.socketio_cluster import Client, Cluster, redis_options
from support.waiting import until

ADAPTERS = {"classic": RedisAdapter, "sharded": ShardedRedisAdapter, "streams": RedisStreamsAdapter}

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(scope="module")
def redis_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A node of a Redis Cluster."""
    with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=False) as nodes:
        yield nodes.servers[0]


def kinds() -> Iterator[Any]:
    """Adapters, each with whether ``c`` is of Node."""
    yield pytest.param(("memory", False), id="memory")
    # Not the sharded adapter, whose channels share no order there; see tests/integration/adapters/test_sharded.py.
    for kind in (*ADAPTERS, "streams-cluster"):
        yield pytest.param((kind, False), id=kind)
        yield pytest.param((kind, True), id=f"{kind}-node", marks=pytest.mark.node)


@pytest_asyncio.fixture(params=list(kinds()), scope="module", loop_scope="module")
async def servers(request: pytest.FixtureRequest) -> AsyncIterator[Cluster]:
    kind, with_node = request.param
    async with AsyncExitStack() as stack:
        if kind == "memory":
            bus = MemoryBus()
            made = Cluster(lambda: MemoryAdapter(bus), stack)
        else:
            adapter, *clustered = kind.split("-")
            port = request.getfixturevalue("redis_nodes" if clustered else "redis_server").port
            options = replace(redis_options(port), cluster=bool(clustered))
            made = Cluster(lambda: ADAPTERS[adapter](options), stack)
        if with_node:
            await made.add_node("c", port, kind)
        else:
            await made.add("c")
        await made.add("a")
        await made.add("b")
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(servers: Cluster) -> AsyncIterator[Cluster]:
    """The servers, without clients of other tests."""
    async with AsyncExitStack() as stack:
        yield servers.borrowed(stack)

    async def left() -> bool:
        a = servers.servers["a"]
        return not await a.fetch_sockets() and not await a.of("/x").fetch_sockets()

    await until(left)


async def has(find: Any, count: int) -> bool:
    return len(await find()) == count


async def clients_of(cluster: Cluster, namespace: str = "/") -> dict[str, Client]:
    """Two clients of each server, by names such as ``a1``."""
    return {f"{name}{n}": await cluster.client(name, namespace) for name in "abc" for n in (1, 2)}


async def subscribed(cluster: Cluster, namespace: str = "/", **servers: int) -> None:
    """Wait until so many servers receive what is emitted to these rooms: sharded, a room is a channel."""
    adapter = cluster.servers["a"].engine.adapter
    if isinstance(adapter, ShardedRedisAdapter):
        async with redis.asyncio.Redis(port=adapter._redis.addresses[0].port) as client:

            async def all_of_them() -> bool:
                found = await client.execute_command(
                    "PUBSUB", "SHARDNUMSUB", *(f"socket.io#{namespace}#{room}#" for room in servers)
                )
                return bool(found[1::2] == list(servers.values()))

            await until(all_of_them)


async def received(clients: dict[str, Client], fence: BroadcastOperator) -> dict[str, list[str]]:
    """Who has received each event since the last call."""
    await fence.emit("fence")
    got: dict[str, list[str]] = {}
    for name, client in clients.items():
        for event, *_ in await client.until("fence"):
            got.setdefault(event, []).append(name)
    return got


async def test_an_operator_reaches_the_selected_sockets_of_every_server_once(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    sid = {name: client.sid for name, client in clients.items()}
    # The commands of a server apply in order, so none of them is waited for.
    await a.to([sid["a1"], sid["b1"], sid["c1"]]).sockets_join(["r", "s"])
    await a.to(sid["a2"]).to(sid["c2"]).sockets_join("s")
    await a.to("s").except_("r").in_(sid["b2"]).sockets_join("t")
    await a.to("s").except_([sid["a1"], sid["a2"], sid["b1"]]).sockets_leave(["s", "unknown"])
    await subscribed(cluster, r=3, s=2, t=3)
    for event, target in {
        "all": a.everyone,
        "r": a.to("r"),
        "r or s": a.to(["r", "s"]),
        "t": a.in_("t"),
        "not r": a.except_("r"),
        "one": a.to(sid["c2"]),
        "none": a.to([]),
        "empty": a.to("empty"),
        "here": a.local,
        "r here": a.to("r").local,
        "others": a.socket(sid["a1"]).broadcast,
        "others in s": a.socket(sid["a1"]).to("s"),
        "others not in s": a.socket(sid["a1"]).except_("s"),
        "others here": a.socket(sid["a1"]).local,
    }.items():
        await target.emit(event, {"n": 1}, b"\x00")
    assert await received(clients, a.everyone) == {
        "all": ["a1", "a2", "b1", "b2", "c1", "c2"],
        "r": ["a1", "b1", "c1"],
        "r or s": ["a1", "a2", "b1", "c1"],
        "t": ["a2", "b2", "c2"],
        "not r": ["a2", "b2", "c2"],
        "one": ["c2"],
        "here": ["a1", "a2"],
        "r here": ["a1"],
        "others": ["a2", "b1", "b2", "c1", "c2"],
        "others in s": ["a2", "b1"],
        "others not in s": ["b2", "c1", "c2"],
        "others here": ["a2"],
    }
    # Node drops a volatile event while it writes another.
    await a.volatile.except_("r").emit("volatile")
    assert await received(clients, a.everyone) == {"volatile": ["a2", "b2", "c2"]}


async def test_local_joins_leaves_and_disconnects_stay_on_the_server(cluster: Cluster) -> None:
    a, b = cluster.servers["a"], cluster.servers["b"]
    clients = await clients_of(cluster)
    await a.local.sockets_join("r")
    await a.sockets_join("s")
    await a.to("r").emit("r")
    assert (await received(clients, a.everyone))["r"] == ["a1", "a2"]
    await b.local.sockets_leave("s")
    await subscribed(cluster, r=1, s=2)
    await a.to("s").emit("s")
    assert (await received(clients, a.everyone))["s"] == ["a1", "a2", "c1", "c2"]
    await a.local.disconnect_sockets()
    for name in ("a1", "a2"):
        assert (await clients.pop(name).packet()).type == 1
    await a.emit("left")
    assert (await received(clients, a.everyone))["left"] == ["b1", "b2", "c1", "c2"]


async def test_disconnect_sockets_leaves_the_connection_open_unless_it_is_closed(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    ones = [client for name, client in clients.items() if name.endswith("1")]
    await a.to([one.sid for one in ones]).disconnect_sockets()
    for one in ones:
        assert (await one.packet()).type == 1
        await one.websocket.send("40")
        assert str(await one.websocket.recv()).startswith("40")
    await a.disconnect_sockets(close=True)
    for client in clients.values():
        assert (await client.packet()).type == 1
        async with asyncio.timeout(5):
            await client.websocket.wait_closed()
    await until(lambda: not any(server.sockets() for server in cluster.servers.values()))


async def test_operators_of_a_namespace_concern_no_other(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    main, other = await clients_of(cluster), await clients_of(cluster, "/x")
    handlers = Namespace("/x")
    a.register_namespace(handlers)
    await handlers.sockets_join("r")
    await subscribed(cluster, "/x", r=3)
    await a.of("/x").to("r").emit("from the server")
    await handlers.to("r").emit("from the class")
    assert await received(other, handlers.everyone) == {
        "from the server": list(other),
        "from the class": list(other),
    }
    assert await received(main, a.everyone) == {}


async def test_a_room_that_is_not_text_is_an_error_before_anything_is_sent(cluster: Cluster) -> None:
    wrong: Any = ["r", 5]
    with pytest.raises(TypeError, match="convert ids"):
        cluster.servers["a"].to(wrong)
    with pytest.raises(TypeError, match="convert ids"):
        await cluster.servers["a"].sockets_join(wrong)


async def test_fetch_sockets_describes_the_selected_sockets_of_every_server(cluster: Cluster) -> None:
    a, b = cluster.servers["a"], cluster.servers["b"]
    clients = await clients_of(cluster)
    sid = {name: client.sid for name, client in clients.items()}
    await a.to([sid["a1"], sid["b1"], sid["c1"]]).sockets_join(["r", "s"])
    a.socket(sid["a1"]).data["user"] = "ann"
    found = {socket.sid: socket for socket in await a.fetch_sockets()}
    assert found.keys() == set(sid.values())
    assert {socket.sid for socket in await a.to("r").fetch_sockets()} == {sid["a1"], sid["b1"], sid["c1"]}
    assert {socket.sid for socket in await a.except_("r").fetch_sockets()} == {sid["a2"], sid["b2"], sid["c2"]}
    assert {socket.sid for socket in await a.local.fetch_sockets()} == {sid["a1"], sid["a2"]}
    assert await a.to("empty").fetch_sockets() == await a.to([]).fetch_sockets() == []
    (of_b,) = await b.to(sid["a1"]).fetch_sockets()
    assert (of_b.rooms, of_b.data) == (frozenset({"r", "s"}), {"user": "ann"})
    for name in ("a1", "b1", "c1"):
        handshake = found[sid[name]].handshake
        assert handshake.address == "127.0.0.1"
        assert handshake.headers["host"] == f"127.0.0.1:{cluster.ports[name[0]]}"
        assert (handshake.path, handshake.query["EIO"]) == ("/socket.io/", "4")
        assert abs(handshake.time - found[sid["a1"]].handshake.time) < 60
        assert handshake.transport.value == "websocket"
        assert not handshake.secure
        assert not handshake.auth


async def test_a_fetched_socket_can_be_used_wherever_it_is_connected(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    found = {socket.sid: socket for socket in await a.fetch_sockets()}
    for name in ("a1", "b1", "c1"):
        socket = found[clients[name].sid]
        await socket.join(["r", "s"])
        await socket.leave("s")
        await socket.emit("to one", name)
    await subscribed(cluster, r=3, s=0)
    await a.to("r").emit("r")
    await a.to("s").emit("s")
    assert await received(clients, a.everyone) == {"to one": ["a1", "b1", "c1"], "r": ["a1", "b1", "c1"]}
    for name in ("a1", "b1", "c1"):
        await found[clients[name].sid].disconnect()
        assert (await clients.pop(name).packet()).type == 1
        await found[clients[f"{name[0]}2"].sid].disconnect(close=True)
        await clients.pop(f"{name[0]}2").websocket.wait_closed()
    await found[next(iter(found))].emit("gone")


async def test_queries_of_a_namespace_concern_no_other(cluster: Cluster) -> None:
    main, other = await clients_of(cluster), await clients_of(cluster, "/x")
    for name in ("a", "b"):
        found = {socket.sid for socket in await cluster.servers[name].of("/x").fetch_sockets()}
        assert found == {client.sid for client in other.values()}
        assert found.isdisjoint(client.sid for client in main.values())


async def test_more_queries_than_allowed_are_refused_and_do_not_wait(cluster: Cluster) -> None:
    server = await cluster.add("d", server_options=ServerOptions(max_queries=2))
    waiting = [asyncio.create_task(server.fetch_sockets()) for _ in range(3)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [list, list, QueryLimitExceeded]
    assert await server.fetch_sockets() == []


async def test_answers_above_the_limit_end_the_query(cluster: Cluster) -> None:
    if isinstance(cluster.servers["a"].engine.adapter, MemoryAdapter):
        pytest.skip("in one process the answers take no memory of their own")
    server = await cluster.add("d", server_options=ServerOptions(query_limit_bytes=1_000))
    clients = await clients_of(cluster)
    with pytest.raises(ClusterTimeout, match="query_limit_bytes") as caught:
        await server.fetch_sockets()
    assert len(caught.value.received) < len(clients)


async def acknowledge(client: Client, *args: Any) -> list[Any]:
    """Receive one event, and acknowledge it."""
    packet = await client.packet()
    await client.websocket.send(f"43{packet.ack_id}{json.dumps(args)}")
    return list(packet.data)


async def test_emit_with_ack_returns_the_acknowledgement_of_every_selected_client(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    sid = {name: client.sid for name, client in clients.items()}
    await a.to([sid["a1"], sid["b1"], sid["c1"], sid["c2"]]).sockets_join("r")
    # Node's streams adapter may read a query before the join that was published before it.
    await until(partial(has, a.to("r").fetch_sockets, 4))
    asking = asyncio.create_task(a.to("r").except_(sid["c2"]).timeout(20).emit_with_ack("ask", {"n": 1}, b"\x00"))
    asked = [await acknowledge(clients[name], [name], "second") for name in ("c1", "a1", "b1")]
    assert asked == [["ask", {"n": 1}, b"\x00"]] * 3
    assert sorted(await asking) == [["a1"], ["b1"], ["c1"]]
    asking = asyncio.create_task(a.local.timeout(20).emit_with_ack("ask"))
    for name in ("a1", "a2"):
        await acknowledge(clients[name])
    assert await asking == [None, None]
    assert await a.to("empty").emit_with_ack("ask") == await a.to([]).emit_with_ack("ask") == []
    assert await received(clients, a.everyone) == {}


async def test_emit_with_ack_that_times_out_has_the_acknowledgements_that_arrived(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    asking = asyncio.create_task(a.timeout(0.5).emit_with_ack("ask"))
    for name in ("a1", "b1", "c1"):
        await acknowledge(clients[name], name)
    with pytest.raises(BroadcastAckTimeout, match="3 acknowledgements of 'ask'") as caught:
        await asking
    assert (sorted(caught.value.received), caught.value.missing) == (["a1", "b1", "c1"], 3)
    # An acknowledgement that is late has no effect.
    for name in ("a2", "b2", "c2"):
        await acknowledge(clients[name], "late")
    assert await received(clients, a.everyone) == {}
    for server in cluster.servers.values():
        assert not any(socket.connection.packets._acks for socket in server.sockets())


async def test_the_callback_of_an_emit_is_called_for_each_selected_client_of_every_server(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    answers: asyncio.Queue[Any] = asyncio.Queue()
    await a.emit("before")
    await a.emit(
        "ask", ({"n": 1}, b"\x00"), skip_sid=[clients["a2"].sid, clients["c2"].sid], callback=answers.put_nowait
    )
    for name in ("a1", "b1", "b2", "c1"):
        packets = [await clients[name].packet() for _ in range(2)]
        if "c" not in cluster.nodes or name != "c1":  # Node's streams adapter reads queries and commands separately
            assert [packet.data[0] for packet in packets] == ["before", "ask"]
        ask = next(packet for packet in packets if packet.data[0] == "ask")
        assert ask.data == ["ask", {"n": 1}, b"\x00"]
        await clients[name].websocket.send(f'43{ask.ack_id}["{name}"]')
    assert sorted([await asyncio.wait_for(answers.get(), 5) for _ in range(4)]) == ["a1", "b1", "b2", "c1"]
    await until(lambda: a.engine.queries.called_back == 0)
    assert await received({name: clients[name] for name in ("a2", "c2")}, a.everyone) == {"before": ["a2", "c2"]}
    assert answers.empty()


async def test_a_client_that_disconnects_before_it_acknowledges_is_not_waited_for(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    names = ("a1", "b1")  # a server of Node does not report it
    asking = asyncio.create_task(a.to([clients[name].sid for name in names]).timeout(30).emit_with_ack("ask"))
    await acknowledge(clients["a1"], "a1")
    await clients["b1"].packet()
    await clients["b1"].websocket.send("41")
    with pytest.raises(BroadcastAckTimeout, match="disconnected") as caught:
        await asking
    assert (caught.value.received, caught.value.missing) == (["a1"], 1)


async def test_a_fetched_socket_acknowledges_to_any_server(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    found = {socket.sid: socket for socket in await a.fetch_sockets()}
    for name in ("a1", "b1", "c1"):
        asking = asyncio.create_task(found[clients[name].sid].emit_with_ack("ask"))
        await acknowledge(clients[name], {"from": name})
        assert await asking == {"from": name}
    await clients["b1"].websocket.send("41")
    await until(lambda: len(cluster.servers["b"].sockets()) == 1)
    with pytest.raises(SocketGone):
        await found[clients["b1"].sid].emit_with_ack("ask")
    assert await found[clients["b1"].sid].timeout(5).emit_with_ack("ask") == []


async def test_an_event_that_cannot_be_encoded_is_sent_to_nobody(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    clients = await clients_of(cluster)
    for emit in (a.everyone.emit, a.emit_with_ack):
        with pytest.raises(EncodeError):
            await emit("ask", object())
        with pytest.raises(EncodeError):
            await emit("connect")
    assert await received(clients, a.everyone) == {}


class Notes:
    """What the handlers of each server have received."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._here: dict[str, list[Any]] = {name: [] for name in cluster.servers}
        for name, server in cluster.servers.items():
            server.on_server_side_emit("note", partial(self._note, name))
            server.on_server_side_emit("who", partial(self._who, name))

            @server.of("/x").on_server_side_emit("who")
            def who(name: str = name) -> str:
                return f"{name} /x"

    def _note(self, name: str, *args: Any) -> None:
        self._here[name].append(list(args))

    async def _who(self, name: str) -> Any:
        await asyncio.sleep(0)
        return {"name": name}

    def others(self, name: str, suffix: str = "") -> list[Any]:
        """The answers that a server gets to ``who``."""
        ours = [f"{other}{suffix}" if suffix else {"name": other} for other in self._here if other != name]
        return [*ours, *(f"node{suffix}" for _ in self._cluster.nodes)]

    async def take(self) -> dict[str, list[Any]]:
        found = {name: list(notes) for name, notes in self._here.items()}
        for name, node in self._cluster.nodes.items():
            found[name] = await node("notes")
        return found


def in_any_order(values: list[Any]) -> list[Any]:
    return sorted(values, key=str)


async def test_server_side_emit_reaches_every_other_server_once_and_in_order(cluster: Cluster) -> None:
    notes = Notes(cluster)
    a, b = cluster.servers["a"], cluster.servers["b"]
    for number in range(20):
        await a.server_side_emit("note", number, {"deep": [None, "ü"]})
    await a.server_side_emit("unknown")
    assert in_any_order(await a.server_side_emit_with_ack("who")) == in_any_order(notes.others("a"))
    sent = [[number, {"deep": [None, "ü"]}] for number in range(20)]
    assert await notes.take() == {"a": [], "b": sent, "c": sent}
    assert in_any_order(await b.server_side_emit_with_ack("who")) == in_any_order(notes.others("b"))


async def test_events_between_servers_belong_to_a_namespace(cluster: Cluster) -> None:
    notes = Notes(cluster)
    answers = await cluster.servers["a"].of("/x").server_side_emit_with_ack("who")
    assert in_any_order(answers) == in_any_order(notes.others("a", " /x"))


async def test_a_handler_of_an_event_between_servers_that_fails_or_is_missing_answers_none(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = cluster.servers["a"], cluster.servers["b"]

    @b.on_server_side_emit("sum")
    def total(*numbers: int) -> int:
        return sum(numbers)

    if cluster.nodes:  # a server of Node without a listener does not answer
        with pytest.raises(ClusterTimeout) as caught:
            await a.server_side_emit_with_ack("sum", 1, 2, timeout_s=0.3)
        assert caught.value.received == [3]
        return
    assert in_any_order(await a.server_side_emit_with_ack("sum", 1, 2)) == [3, None]
    assert await a.server_side_emit_with_ack("sum", "text") == [None, None]
    assert "'sum' of another server failed" in caplog.text


async def test_an_event_between_servers_that_cannot_be_encoded_is_not_sent(cluster: Cluster) -> None:
    a = cluster.servers["a"]
    for emit in (a.server_side_emit, a.server_side_emit_with_ack):
        for args in (("note", b"bytes"), ("note", object()), ("connection",), ("new_namespace",)):
            with pytest.raises(EncodeError):
                await emit(*args)


async def test_more_handlers_of_events_between_servers_than_allowed_do_not_run(cluster: Cluster) -> None:
    server = await cluster.add("d", server_options=ServerOptions(max_queries=1))
    go, began = asyncio.Event(), asyncio.Event()
    runs = []

    @server.on_server_side_emit("wait")
    async def wait(number: int) -> None:
        runs.append(number)
        began.set()
        await go.wait()

    for number in range(3):
        await cluster.servers["a"].server_side_emit("wait", number)
    await began.wait()
    await cluster.servers["a"].fetch_sockets()  # all of them have arrived
    go.set()
    assert runs == [0]
