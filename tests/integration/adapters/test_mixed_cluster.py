"""Node's server and emitter with this package's on one Redis: every recipient gets every message once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import redis.asyncio

from roomcast.realtime import ServerOptions
from roomcast.realtime.adapters.redis import Emitter
from roomcast.wire.errors import EncodeError
from support.waiting import until

settled = partial(until, limit_s=5)

pytestmark = pytest.mark.node

# Rooms of the clients, two on each server.
MEMBERS = {
    ("node", 0): ("r",),
    ("node", 1): ("s", "7"),
    ("a", 0): ("r", "s"),
    ("a", 1): ("7",),
    ("b", 0): ("r", "7"),
    ("b", 1): (),
}
# Rooms, and excluded rooms. ``@server`` stands for the id of that server's first client.
TARGETS: list[tuple[list[str], list[str]]] = [
    ([], []),
    (["r"], []),
    (["r", "s"], []),
    (["r", "s", "empty"], ["7"]),
    ([], ["r"]),
    (["@b"], []),
    (["@node", "7"], ["@b"]),
    (["empty"], []),
    ([], ["@a", "@node"]),
]
PAYLOADS: list[list[Any]] = [
    [],
    [{"text": "grüße 🎉", "numbers": [0, -1, 2**40, 1.5, -(2**33)], "none": None, "yes": True}],
    [b"\x00\xff", {"deep": [{"file": b"PNG" * 100}]}, "text"],
]


class Crowd:
    """The clients of `MEMBERS`."""

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.clients: dict[tuple[str, int], Any] = {}

    async def gather(self) -> None:
        for key, rooms in MEMBERS.items():
            client = self.clients[key] = await self.cluster.client(key[0])
            for ack, room in enumerate(rooms):
                await client.websocket.send(f"42{ack}" + json.dumps(["join", room]))
                assert (await client.packet()).ack_id == ack

    def named(self, names: list[str]) -> list[str]:
        return [self.clients[name[1:], 0].sid if name.startswith("@") else name for name in names]

    def expected(self, key: tuple[str, int], rooms: list[str], skip: list[str]) -> bool:
        own = {*MEMBERS[key], self.clients[key].sid}
        return (not rooms or bool(own & set(rooms))) and not own & set(skip)


async def senders(cluster: Any, publisher: Any) -> dict[str, Callable[..., Awaitable[None]]]:
    async def node(rooms: list[str], skip: list[str], args: list[Any]) -> None:
        await cluster.node("emit", **{"from": "node"}, rooms=rooms, **{"except": skip}, args=args)

    async def node_emitter(rooms: list[str], skip: list[str], args: list[Any]) -> None:
        await cluster.node("emit", **{"from": "emitter"}, rooms=rooms, **{"except": skip}, args=args)

    def of_server(name: str) -> Callable[..., Awaitable[None]]:
        async def send(rooms: list[str], skip: list[str], args: list[Any]) -> None:
            event, *data = args
            await cluster.servers[name].emit(event, tuple(data), to=rooms or None, skip_sid=skip)

        return send

    async def python_emitter(rooms: list[str], skip: list[str], args: list[Any]) -> None:
        event, *data = args
        await Emitter(publisher).emit(event, tuple(data), to=rooms or None, skip=skip)

    return {
        "node": node,
        "node emitter": node_emitter,
        "a": of_server("a"),
        "b": of_server("b"),
        "python emitter": python_emitter,
    }


async def test_every_sender_reaches_every_selected_client_exactly_once(cluster: Any) -> None:
    crowd = Crowd(cluster)
    await crowd.gather()
    async with redis.asyncio.Redis(port=cluster.redis.port) as publisher:
        for name, send in (await senders(cluster, publisher)).items():
            cases = [
                (f"{number}.{kind}", rooms, skip, payload)
                for number, (rooms, skip) in enumerate(TARGETS)
                for kind, payload in enumerate(PAYLOADS)
            ]
            for event, rooms, skip, payload in cases:
                await send(crowd.named(rooms), crowd.named(skip), [event, *payload])
            await send([], [], ["fence", name])
            for key, client in crowd.clients.items():
                got = await client.until("fence", name)
                wanted = [
                    [event, *payload]
                    for event, rooms, skip, payload in cases
                    if crowd.expected(key, crowd.named(rooms), crowd.named(skip))
                ]
                assert got == wanted, (name, key)


async def test_joins_leaves_and_disconnects_of_every_sender_apply_on_every_server(cluster: Any, until: Any) -> None:
    a, b = cluster.servers["a"], cluster.servers["b"]
    on_node, on_a, on_b = [await cluster.client(name) for name in ("node", "a", "b")]

    async def node_rooms(sid: str) -> set[str]:
        return set((await cluster.node("fetch", rooms=[sid]))[0]["rooms"])

    for source in ("node", "emitter"):
        await cluster.node("join", **{"from": source}, rooms=[on_a.sid, on_b.sid], **{"except": [on_b.sid]}, join=["j"])
        await until(lambda: a.rooms(on_a.sid) == [on_a.sid, "j"])
        assert b.rooms(on_b.sid) == [on_b.sid]
        await cluster.node("leave", **{"from": source}, rooms=["j"], leave=["j", "k"])
        await until(lambda: a.rooms(on_a.sid) == [on_a.sid])

    await a.enter_room(on_node.sid, "from-a")
    await a.enter_room(on_b.sid, "from-a")
    await until(lambda: b.rooms(on_b.sid) == [on_b.sid, "from-a"])
    assert await node_rooms(on_node.sid) == {on_node.sid, "from-a"}
    await b.close_room("from-a")
    assert b.rooms(on_b.sid) == [on_b.sid]
    assert await node_rooms(on_node.sid) == {on_node.sid}

    async with redis.asyncio.Redis(port=cluster.redis.port) as publisher:
        emitter = Emitter(publisher)
        await emitter.join(["e", "f"], to=[on_node.sid, on_a.sid])
        await until(lambda: a.rooms(on_a.sid) == [on_a.sid, "e", "f"])
        assert await node_rooms(on_node.sid) == {on_node.sid, "e", "f"}
        await emitter.leave("f", to="e")
        await until(lambda: a.rooms(on_a.sid) == [on_a.sid, "e"])
        assert await node_rooms(on_node.sid) == {on_node.sid, "e"}

        await emitter.disconnect(to=on_b.sid)
        assert (await on_b.packet()).type == 1
        await a.disconnect(on_node.sid)
        assert (await on_node.packet()).type == 1
        await cluster.node("disconnect", **{"from": "node"}, rooms=["e"], close=True)
        assert (await on_a.packet()).type == 1
        # The Engine.IO connection closes after the packet.
        async with asyncio.timeout(5):
            await on_a.websocket.wait_closed()
    await until(lambda: not a.sockets() and not b.sockets())


async def test_node_gets_responses_from_every_server_without_a_timeout(cluster: Any) -> None:
    a = cluster.servers["a"]
    on_node, on_a, on_b = [await cluster.client(name) for name in ("node", "a", "b")]
    assert await cluster.node("servers") == 3
    await a.enter_room(on_a.sid, "r")
    a.socket(on_a.sid).data["user"] = "ü"
    fetched = {socket["id"]: socket for socket in await cluster.node("fetch")}
    assert fetched.keys() == {on_node.sid, on_a.sid, on_b.sid}
    mine, theirs = fetched[on_a.sid], fetched[on_node.sid]
    # Data that cannot be encoded is left out of the response.
    cluster.servers["b"].socket(on_b.sid).data["lock"] = object()
    assert {socket["id"]: socket["data"] for socket in await cluster.node("fetch")}[on_b.sid] == {}
    assert (mine["rooms"], mine["data"]) == ([on_a.sid, "r"], {"user": "ü"})
    assert mine["handshake"].keys() == theirs["handshake"].keys()
    for name in ("address", "xdomain", "secure", "url", "query", "auth"):
        assert mine["handshake"][name] == theirs["handshake"][name], name
    assert len(mine["handshake"]["time"]) == len(theirs["handshake"]["time"])
    assert [socket["id"] for socket in await cluster.node("fetch", rooms=["r"])] == [on_a.sid]
    assert set(await cluster.node("rooms")) == {on_node.sid, on_a.sid, on_b.sid, "r"}
    assert set(await cluster.node("sids", rooms=[], servers=3)) == fetched.keys()
    assert await cluster.node("sids", rooms=["r"], servers=3) == [on_a.sid]
    # A server of this package without a handler responds without data, so that Node does not time out.
    assert await cluster.node("serverSideEmit", args=["who"]) == [None, None]
    assert await cluster.node("rooms", nsp="/x") == []


async def test_events_of_node_and_of_emitters_reach_the_handlers_of_every_server(cluster: Any) -> None:
    notes: list[Any] = []
    answers = {"a": {"name": "ü"}, "b": object()}
    for name, server in cluster.servers.items():
        server.on_server_side_emit("note", lambda *args: notes.append(args))
        server.on_server_side_emit("who", lambda *args, name=name: answers[name])
    await cluster.node("note", **{"from": "node"}, args=[1, {"a": [None]}])
    await cluster.node("note", **{"from": "emitter"}, args=[2])
    async with redis.asyncio.Redis(port=cluster.redis.port) as publisher:
        await Emitter(publisher).server_side_emit("note", 3)
        with pytest.raises(EncodeError):
            await Emitter(publisher).server_side_emit("connection")
    await settled(lambda: len(notes) == 6)
    assert sorted(notes, key=str) == [(1, {"a": [None]})] * 2 + [(2,)] * 2 + [(3,)] * 2
    # An answer that is not JSON is None.
    assert sorted(await cluster.node("serverSideEmit", args=["who", 5]), key=str) == [None, {"name": "ü"}]

    async def noted_by_node() -> bool:
        return await cluster.node("notes") == [[2], [3]]

    await until(noted_by_node)


async def test_the_clients_of_every_server_acknowledge_a_broadcast_of_node(cluster: Any) -> None:
    clients = {name: await cluster.client(name) for name in ("node", "a", "b")}
    asking = asyncio.create_task(cluster.node("emitWithAck", args=["ask", b"\x01"], timeout=3_000))
    for name, client in clients.items():
        packet = await client.packet()
        assert packet.data == ["ask", b"\x01"]
        await client.websocket.send(f'43{packet.ack_id}["{name}","second"]')
    assert sorted(await asking) == ["a", "b", "node"]
    # A missing acknowledgement ends with Node's timeout, and the broadcast is no longer pending here.
    with pytest.raises(RuntimeError, match="timed out"):
        await cluster.node("emitWithAck", args=["ask"], timeout=100)
    assert await cluster.node("emitWithAck", rooms=["empty"], args=["ask"], timeout=1_000) == []
    for adapter in cluster.adapters.values():
        await settled(lambda adapter=adapter: not adapter._requests._pending)


async def test_a_namespace_that_a_client_chooses_is_subscribed_while_it_has_sockets(cluster: Any) -> None:
    await cluster.add("dynamic", server_options=ServerOptions(namespaces=("*",)))
    client = await cluster.client("dynamic", "/room-[1]*")
    got = asyncio.create_task(client.packet())
    async with asyncio.timeout(5):
        while not got.done():
            await cluster.node("emit", **{"from": "emitter"}, nsp="/room-[1]*", args=["hello"])
            await asyncio.sleep(0.01)
    assert (await got).data == ["hello"]
    channel = "socket.io-request#/room-[1]*#"
    assert cluster.redis.command("PUBSUB", "NUMSUB", channel).endswith(b":1")
    await client.websocket.send("41/room-[1]*,")
    await settled(lambda: cluster.redis.command("PUBSUB", "NUMSUB", channel).endswith(b":0"))


async def test_namespaces_are_kept_apart_and_local_broadcasts_stay(cluster: Any) -> None:
    a = cluster.servers["a"]
    main, other = await cluster.client("a"), await cluster.client("a", "/x")
    node_main, node_other = await cluster.client("node"), await cluster.client("node", "/x")
    await cluster.node("emit", **{"from": "node"}, args=["local"], local=True)
    await cluster.node("emit", **{"from": "node"}, args=["end"])
    assert await main.until("end") == []
    assert await node_main.until("end") == [["local"]]
    await cluster.node("emit", **{"from": "node"}, nsp="/x", args=["x"])
    for client in (other, node_other):
        assert await client.until("x") == []
    await a.emit("y", namespace="/x", volatile=True)
    await a.emit("end", namespace="/x")
    await a.emit("end")
    for client in (other, node_other):
        assert await client.until("end") == [["y"]]
    for client in (main, node_main):
        assert await client.until("end") == []


async def test_every_server_recovers_from_a_restart_of_redis(cluster: Any) -> None:
    clients = {name: await cluster.client(name) for name in ("node", "a", "b")}
    cluster.redis.kill()
    # During the outage clients of the same server still get the event at once.
    await cluster.servers["a"].emit("meanwhile", to=clients["a"].sid)
    assert await clients["a"].until("meanwhile") == []
    await settled(lambda: not any(adapter.ready for adapter in cluster.adapters.values()))
    cluster.redis.start()
    await settled(lambda: all(adapter.ready for adapter in cluster.adapters.values()))

    async def node_is_back() -> bool:
        return await cluster.node("servers") == 3

    await until(node_is_back, step_s=0.02)
    for round_ in range(20):
        await cluster.servers["a"].emit("from-a", round_)
        await cluster.node("emit", **{"from": "node"}, args=["from-node", round_])
    for sender, fence in (("a", "end-a"), ("node", "end-node")):
        if sender == "a":
            await cluster.servers["a"].emit(fence)
        else:
            await cluster.node("emit", **{"from": "node"}, args=[fence])
    for client in clients.values():
        events: list[list[Any]] = []
        async with asyncio.timeout(10):
            while ["end-a"] not in events or ["end-node"] not in events:
                events.append((await client.packet()).data)
        for name in ("from-a", "from-node"):
            assert [event[1] for event in events if event[0] == name] == list(range(20))
    assert len(await cluster.node("fetch")) == 3
