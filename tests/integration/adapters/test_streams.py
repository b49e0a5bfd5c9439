"""The streams adapter beside ``@socket.io/redis-streams-adapter``: the same bytes, and recovery by any server."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import redis.asyncio
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from roomcast.realtime import RecoveryOptions, ServerOptions
from roomcast.realtime.adapters.redis import RedisStreamOptions, RedisStreamsAdapter
from roomcast.realtime.adapters.redis.messages.packing import unpack
from roomcast.redis_client import RedisAddress, RedisOptions
from roomcast.wire.socketio import Decoder, Packet, PacketType
from support.programs import unavailable
from support.recovery_client import official_client
from support.redis_server import RedisServer
from support.socketio_cluster import NODE, Cluster
from support.tcp_proxy import TcpProxy
from support.waiting import until

pytestmark = pytest.mark.node

PAYLOADS: list[list[Any]] = [
    ["e"],
    ["e", {"text": "grüße 🎉", "n": [0, -1, 1.5, 2**40], "none": None, "yes": True}, "second"],
    ["e", b"\x00\xff", {"deep": [{"file": b"PNG" * 100}]}],
]
TARGETS: list[tuple[list[str], list[str]]] = [([], []), (["r"], []), (["r"], ["x", "y"]), (["r", "s"], [])]
RECOVERING = ServerOptions(recovery=RecoveryOptions())


class StreamsCluster(Cluster):
    """Servers of this package and of Node on one Redis."""

    def __init__(self, redis: RedisServer, stack: AsyncExitStack) -> None:
        super().__init__(self._adapter, stack)
        self.redis = redis
        self.adapters: list[RedisStreamsAdapter] = []
        self.stream = RedisStreamOptions(block_s=0.2)

    def _adapter(self) -> RedisStreamsAdapter:
        address = RedisAddress("127.0.0.1", self.redis.port)
        options = RedisOptions(addresses=(address,), probe_interval_s=0.2, retry_max_s=0.1)
        self.adapters.append(RedisStreamsAdapter(options, stream=self.stream))
        return self.adapters[-1]

    @property
    def node(self) -> Any:
        return self.nodes["node"]

    async def fill(self, options: ServerOptions | None) -> None:
        await self.add("a", server_options=options)
        await self.add("b", server_options=options)

    async def fill_with_node(self, *options: str) -> None:
        if not (NODE / "node_modules/@socket.io/redis-streams-adapter").exists():
            unavailable("Node's streams adapter is not installed: make .make/node-peers")
        await self.add_node("node", self.redis.port, "streams", *options)


@pytest.fixture
async def streams(redis_server: RedisServer) -> AsyncIterator[StreamsCluster]:
    async with AsyncExitStack() as stack:
        redis_server.command("FLUSHALL")
        made = StreamsCluster(redis_server, stack)
        await made.fill_with_node()
        await made.fill(None)
        yield made


@pytest.fixture
async def recovering(redis_server: RedisServer) -> AsyncIterator[StreamsCluster]:
    async with AsyncExitStack() as stack:
        redis_server.command("FLUSHALL")
        made = StreamsCluster(redis_server, stack)
        await made.fill(RECOVERING)
        yield made


@pytest.fixture
async def with_node(recovering: StreamsCluster) -> StreamsCluster:
    """The same with a server of Node."""
    await recovering.fill_with_node("recovery")
    return recovering


async def test_entries_have_the_same_fields_and_bytes(streams: StreamsCluster) -> None:
    a = streams.servers["a"]
    by_node: dict[str, Any] = {"from": "node"}
    async with redis.asyncio.Redis(port=streams.redis.port) as client:
        seen = 0

        async def entry() -> list[tuple[bytes, bytes]]:
            nonlocal seen
            seen += 1

            async def there() -> bool:
                return bool(await client.xlen("socket.io") == seen)

            await until(there)
            ((_, fields),) = await client.xrevrange("socket.io", count=1)
            return [(name, b"uid" if name == b"uid" else value) for name, value in fields.items()]

        for args in PAYLOADS:
            for rooms, skip in TARGETS:
                for volatile in (False, True):
                    target = {"rooms": rooms, "except": skip, "volatile": volatile}
                    await streams.node("emit", **by_node, **target, args=args)
                    theirs = await entry()
                    await a.emit(args[0], tuple(args[1:]), to=rooms or None, skip_sid=skip, volatile=volatile)
                    assert await entry() == theirs
        await streams.node("join", **by_node, rooms=["sid"], join=["j"])
        theirs = await entry()
        await a.enter_room("sid", "j")
        assert await entry() == theirs
        await streams.node("leave", **by_node, rooms=["sid"], leave=["j"])
        theirs = await entry()
        await a.leave_room("sid", "j")
        assert await entry() == theirs
        await streams.node("disconnect", **by_node, rooms=["sid"], close=False)
        theirs = await entry()
        await a.disconnect("sid")
        assert await entry() == theirs


async def test_every_sender_reaches_every_selected_client_exactly_once(streams: StreamsCluster) -> None:
    members = {"node": ["r"], "a": ["r", "s"], "b": ["s"]}
    clients = {}
    for name, rooms in members.items():
        client = clients[name] = await streams.client(name)
        for ack, room in enumerate(rooms):
            await client.websocket.send(f"42{ack}" + json.dumps(["join", room]))
            assert (await client.packet()).ack_id == ack
    for sender in ("node", "a", "b"):
        cases = [
            (f"{number}.{kind}", rooms, skip, payload[1:])
            for number, (rooms, skip) in enumerate([*TARGETS, ([clients["b"].sid], []), ([], ["r"])])
            for kind, payload in enumerate(PAYLOADS)
        ]
        for event, rooms, skip, payload in [*cases, ("fence", [], [], [sender])]:
            if sender == "node":
                target = {"rooms": rooms, "except": skip}
                await streams.node("emit", **{"from": "node"}, **target, args=[event, *payload])
            else:
                await streams.servers[sender].emit(event, tuple(payload), to=rooms or None, skip_sid=skip)
        for name, client in clients.items():
            own = {*members[name], client.sid}
            assert await client.until("fence", sender) == [
                [event, *payload]
                for event, rooms, skip, payload in cases
                if (not rooms or own & set(rooms)) and not own & set(skip)
            ], (sender, name)


async def test_events_between_servers_reach_every_other_one_once(streams: StreamsCluster) -> None:
    notes: list[Any] = []
    for name, server in streams.servers.items():
        server.on_server_side_emit("note", lambda *args, name=name: notes.append((name, *args)))
        server.on_server_side_emit("who", lambda name=name: name)
    await streams.servers["a"].server_side_emit("note", 1)
    await streams.node("note", **{"from": "node"}, args=[2])
    assert sorted(await streams.node("serverSideEmit", args=["who"])) == ["a", "b"]
    await until(lambda: len(notes) == 3)
    assert sorted(notes) == [("a", 2), ("b", 1), ("b", 2)]

    async def noted_by_node() -> bool:
        return bool(await streams.node("notes") == [[1]])

    await until(noted_by_node)


async def test_node_gets_answers_from_every_server(streams: StreamsCluster) -> None:
    clients = {name: await streams.client(name) for name in ("node", "a", "b")}
    assert await streams.node("servers") == 3
    fetched = {socket["id"] for socket in await streams.node("fetch")}
    assert fetched == {client.sid for client in clients.values()}
    assert await streams.node("serverSideEmit", args=["who"]) == [None, None]
    asking = asyncio.create_task(streams.node("emitWithAck", args=["ask", b"\x01"], timeout=3_000))
    for name, client in clients.items():
        packet = await client.packet()
        assert packet.data == ["ask", b"\x01"]
        await client.websocket.send(f'43{packet.ack_id}["{name}"]')
    assert sorted(await asking) == ["a", "b", "node"]


class Returning:
    """A client that behaves like the official one."""

    def __init__(self, cluster: StreamsCluster) -> None:
        self._cluster = cluster
        self.websocket: Any = None
        self.sid = self.pid = ""
        self.offset: str | None = None
        self.recovered = False

    async def connect(self, name: str) -> list[list[Any]]:
        """Returns the events before the CONNECT packet."""
        url = f"ws://127.0.0.1:{self._cluster.ports[name]}/socket.io/?EIO=4&transport=websocket"
        self.websocket = await connect(url, compression=None, ping_interval=None)
        await self.websocket.recv()
        auth = {} if not self.pid else {"pid": self.pid}
        if self.offset is not None:
            auth["offset"] = self.offset
        await self.websocket.send("40" + (json.dumps(auth) if auth else ""))
        self._decoder = Decoder()
        missed: list[list[Any]] = []
        async with asyncio.timeout(10):
            while (packet := await self._packet()).type is not PacketType.CONNECT:
                missed.append(self._event(packet))
        self.recovered = packet.data["pid"] == self.pid
        self.sid, self.pid = packet.data["sid"], packet.data["pid"]
        return missed

    async def until(self, last: str) -> list[list[Any]]:
        """The events up to, and without, this one."""
        got: list[list[Any]] = []
        async with asyncio.timeout(10):
            while (event := self._event(await self._packet()))[0] != last:
                got.append(event)
        return got

    async def _packet(self) -> Packet:
        while True:
            message = await self.websocket.recv()
            packet = None
            if message == "2":
                await self.websocket.send("3")
            else:
                packet = self._decoder.add(message.removeprefix("4") if isinstance(message, str) else message)
            if packet is not None:
                return packet

    def _event(self, packet: Packet) -> list[Any]:
        """The event without its offset."""
        *event, last = packet.data
        if isinstance(last, str):
            self.offset = last
            if re.fullmatch(r"\d+-\d+", last):
                return event
        return [*event, last]

    async def cut(self) -> None:
        """Close without a word to the Socket.IO server."""
        self.websocket.transport.abort()
        await self.websocket.wait_closed()


async def saved(cluster: StreamsCluster, pid: str) -> None:
    await until(lambda: cluster.redis.command("EXISTS", f"sio:session:{pid}") == b":1")


async def logged(server: Any, *events: str) -> None:
    """Wait until a server has read these events from the stream."""
    texts = [f'["{event}'.encode() for event in events]

    def read() -> bool:
        entries = [entry.message.text for entry in server.engine.recovery.log.since((0, 0)) if entry.message]
        return all(any(text in entry for entry in entries) for text in texts)

    await until(read)


async def test_a_client_returns_to_another_server_with_its_rooms_and_what_it_missed(
    with_node: StreamsCluster,
) -> None:
    recovering = with_node
    a, b = recovering.servers["a"], recovering.servers["b"]
    client = Returning(recovering)
    await client.connect("a")
    sid = client.sid
    await a.enter_room(sid, "r")
    a.socket(sid).data["user"] = "ann"
    await a.save_session(sid, {"k": 1})
    await b.emit("one", 1, room="r")
    await a.emit("two", b"\x02", room="r")
    await a.emit("three", to=sid)
    await a.emit("typing", volatile=True)
    events = [event for event in await client.until("three") if event[0] != "typing"]
    assert {event[0]: event[1] for event in events} | {"one": 1} == {"one": 1, "two": b"\x02"}
    await client.cut()
    await saved(recovering, client.pid)
    await a.emit("missed by a", room="r")
    await b.emit("missed by b", {"x": b"\x01"}, room="r")
    await recovering.node("emit", **{"from": "node"}, rooms=["r"], args=["missed by node"])
    await b.emit("volatile", room="r", volatile=True)
    await b.emit("other", room="other")
    await b.emit("missed by one", to=sid)
    await logged(b, "missed by a", "missed by b", "missed by node", "missed by one", "other")
    missed = await client.connect("b")
    assert client.recovered
    assert client.sid == sid
    assert {event[0] for event in missed} - {"one"} == {
        "missed by a",
        "missed by b",
        "missed by node",
        "missed by one",
    }
    restored = b.socket(sid)
    assert (restored.recovered, restored.rooms, restored.data) == (True, {"r"}, {"user": "ann"})
    assert await b.get_session(sid) == {"k": 1}
    await a.emit("after", room="r")
    assert await client.until("after") == []
    thief = Returning(recovering)
    thief.pid = "x" * 20
    await thief.connect("a")
    assert not thief.recovered


class CutOften:
    """Follows the event ``number`` until each server has emitted ``end``, and changes between the servers."""

    def __init__(self, cluster: StreamsCluster, first: str, *, cut: bool) -> None:
        self.client = Returning(cluster)
        self.numbers: list[int] = []
        self._servers = [first, "a" if first == "b" else "b"]
        self._cut = cut

    async def follow(self) -> None:
        ends = 0
        while ends < 2:
            events = [self.client._event(await self.client._packet())]
            if self._cut and events[0][0] == "number" and len(self.numbers) % 60 == 30:
                await self.client.cut()
                self._servers.reverse()
                # Before, or after, the server has noticed the end.
                events += await self.client.connect(self._servers[0])
                assert self.client.recovered
            ends += sum(event[0] == "end" for event in events)
            self.numbers += [event[1] for event in events if event[0] == "number"]


async def test_events_of_all_servers_reach_every_client_in_one_order_without_loss_in_cuts(
    recovering: StreamsCluster,
) -> None:
    clients = [CutOften(recovering, name, cut=cut) for name, cut in (("a", True), ("b", True), ("a", False))]
    for client in clients:
        await client.client.connect(client._servers[0])
    servers = [recovering.servers["a"], recovering.servers["b"]]

    async def emit_all() -> None:
        for number in range(300):
            await servers[number % 2].emit("number", number)
            if number % 7 == 0:
                await asyncio.sleep(0.002)
        for server in servers:
            await server.emit("end")

    async with asyncio.timeout(30):
        await asyncio.gather(emit_all(), *(client.follow() for client in clients))
    one, two, reference = (client.numbers for client in clients)
    assert one == two == reference
    assert sorted(reference) == list(range(300))
    for parity in (0, 1):
        numbers = [number for number in reference if number % 2 == parity]
        assert numbers == sorted(numbers)


async def test_a_client_takes_its_session_from_a_server_that_still_has_its_connection(
    recovering: StreamsCluster,
) -> None:
    client = Returning(recovering)
    await client.connect("a")
    sid, former = client.sid, client.websocket
    await client.connect("b")
    assert client.recovered
    assert client.sid == sid
    await former.wait_closed()
    assert [socket.sid for socket in recovering.servers["b"].sockets()] == [sid]
    await until(lambda: not recovering.servers["a"].sockets())


async def test_a_server_that_has_read_less_than_the_client_received_recovers_it_when_it_has_caught_up(
    recovering: StreamsCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Returning(recovering)
    await client.connect("a")
    held: list[Any] = []
    monkeypatch.setattr(recovering.adapters[1], "take", lambda *entry: held.append(entry))
    await recovering.servers["a"].emit("received")
    await client.until("received")
    await client.cut()
    await saved(recovering, client.pid)
    await until(lambda: bool(held))
    monkeypatch.undo()
    returning = asyncio.create_task(client.connect("b"))
    await until(lambda: recovering.redis.command("EXISTS", f"sio:session:{client.pid}") == b":0")
    for entry in held:
        recovering.adapters[1].take(*entry)
    assert await returning == []
    assert client.recovered


async def test_a_server_that_starts_later_recovers_what_was_before(recovering: StreamsCluster) -> None:
    client = Returning(recovering)
    await client.connect("a")
    await recovering.servers["a"].emit("received")
    await client.until("received")
    await client.cut()
    await saved(recovering, client.pid)
    await recovering.servers["a"].emit("missed")
    await until(lambda: recovering.redis.command("XLEN", "socket.io") == b":2")
    await recovering.add("late", server_options=RECOVERING)
    assert await client.connect("late") == [["missed"]]
    assert client.recovered


async def test_commands_for_a_client_that_is_away_take_effect_at_any_server(recovering: StreamsCluster) -> None:
    a, b = recovering.servers["a"], recovering.servers["b"]
    client = Returning(recovering)
    await client.connect("a")
    await a.enter_room(client.sid, "r")
    await client.cut()
    await saved(recovering, client.pid)
    await b.close_room("r")
    await b.emit("after the room was closed", room="r")
    await b.emit("to all")
    await logged(b, "to all")
    assert await client.connect("b") == [["to all"]]
    assert b.socket(client.sid).rooms == frozenset()
    await client.cut()
    await saved(recovering, client.pid)
    await a.disconnect(client.sid)
    await a.emit("fence")
    await logged(b, "fence")
    await client.connect("b")
    assert not client.recovered


async def test_sessions_move_between_node_and_this_package(with_node: StreamsCluster) -> None:
    recovering = with_node
    a = recovering.servers["a"]
    for there, here in (("node", "a"), ("a", "node")):
        client = Returning(recovering)
        await client.connect(there)
        sid = client.sid
        await client.websocket.send('420["join","r"]')
        while (await client._packet()).type is not PacketType.ACK:
            pass
        await a.emit("first", room="r")
        await client.until("first")
        await client.cut()
        await saved(recovering, client.pid)
        await a.emit("missed", room="r")
        await logged(a, "missed")
        assert [event[0] for event in await client.connect(here)] == ["missed"]
        assert (client.recovered, client.sid) == (True, sid)
        stored = recovering.redis.command("EXISTS", f"sio:session:{client.pid}")
        assert stored == b":0"
        await client.cut()
        await saved(recovering, client.pid)


async def test_a_restart_of_redis_with_its_data_ends_no_session(recovering: StreamsCluster) -> None:
    a, b = recovering.servers["a"], recovering.servers["b"]
    client = Returning(recovering)
    await client.connect("a")
    await a.emit("before")
    await client.until("before")
    await logged(b, "before")
    recovering.redis.command("SAVE")
    recovering.redis.kill()
    await until(lambda: not any(adapter.ready for adapter in recovering.adapters))
    await a.emit("waits", 1)
    recovering.redis.start()
    (recovering.redis.directory / "dump.rdb").unlink()
    await until(lambda: all(adapter.ready for adapter in recovering.adapters))
    assert await client.until("waits") == []
    await client.cut()
    await saved(recovering, client.pid)
    await b.emit("later")
    assert await client.connect("b") == [["later"]]
    assert client.recovered


async def test_after_a_restart_of_redis_without_its_data_clients_get_new_sessions(recovering: StreamsCluster) -> None:
    a, b = recovering.servers["a"], recovering.servers["b"]
    client = Returning(recovering)
    await client.connect("a")
    await a.emit("before")
    await client.until("before")
    await logged(b, "before")
    recovering.redis.restart()
    await client.websocket.wait_closed()
    await until(lambda: [adapter.counters.dropped["gap"] for adapter in recovering.adapters] == [1, 1])
    await client.connect("b")
    assert not client.recovered
    await a.emit("later")
    assert await client.until("later") == []
    await client.cut()
    await saved(recovering, client.pid)
    assert await client.connect("a") == []
    assert client.recovered


async def test_what_a_server_finds_in_the_stream_at_its_start_never_happens_again(recovering: StreamsCluster) -> None:
    a = recovering.servers["a"]
    for number in range(24):
        await a.emit("old", [number, "x" * 100_000])
    await a.everyone.disconnect_sockets()
    await a.emit("last")
    await logged(a, "last")
    # The history takes more than one reply may, so reading it fails at first.
    recovering.stream = RedisStreamOptions(block_s=0.2, read_limit_bytes=1_000_000)
    late = await recovering.add("late", server_options=RECOVERING)
    client = Returning(recovering)
    await client.connect("late")
    await logged(late, "old", "last")
    await a.emit("fence")
    assert await client.until("fence") == []
    await client.cut()
    await saved(recovering, client.pid)
    await a.emit("missed")
    await logged(late, "missed")
    assert await client.connect("late") == [["missed"]]


def trim(cluster: StreamsCluster) -> None:
    """Add 1,000 entries at once, of which 100 remain."""
    add = """for n = 1, 1000 do redis.call('XADD', KEYS[1], 'MAXLEN', '100', '*', 'uid', 'u', 'nsp', '/', 'type', '3',
        'data', '{"packet":{"type":2,"data":["number",' .. n .. ']},"opts":{"rooms":[],"except":[],"flags":{}}}') end"""
    cluster.redis.command("EVAL", add, "1", "socket.io")


async def test_a_client_whose_connect_handler_runs_while_events_are_trimmed_connects_again(
    recovering: StreamsCluster,
) -> None:
    a = recovering.servers["a"]
    began, go = asyncio.Event(), asyncio.Event()

    @a.on("connect")
    async def connect(sid: str, *_: object) -> None:
        began.set()
        await go.wait()

    client = Returning(recovering)
    connecting = asyncio.create_task(client.connect("a"))
    await began.wait()
    await a.emit("held")
    await logged(a, "held")
    trim(recovering)
    await logged(a, 'number",1000')
    go.set()
    with pytest.raises(ConnectionClosed):
        await connecting
    assert await client.connect("a") == []
    await a.emit("after")
    assert await client.until("after") == []


async def test_clients_that_missed_trimmed_events_return_to_new_sessions(
    recovering: StreamsCluster, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = recovering.servers["a"], recovering.servers["b"]
    away, present = Returning(recovering), Returning(recovering)
    for client in (away, present):
        await client.connect("a")
    await a.emit("before")
    await asyncio.gather(away.until("before"), present.until("before"))
    await away.cut()
    await saved(recovering, away.pid)
    trim(recovering)
    await present.websocket.wait_closed()
    await logged(b, 'number",1000')
    for client, name in ((away, "b"), (present, "a")):
        assert await client.connect(name) == []
        assert not client.recovered
    assert [adapter.counters.dropped["gap"] for adapter in recovering.adapters] == [1, 1]
    assert "cluster message dropped" in caplog.text
    await a.emit("after")
    assert await present.until("after") == await away.until("after") == []


async def test_malformed_entries_and_sessions_are_counted_and_do_no_harm(recovering: StreamsCluster) -> None:
    adapter = recovering.adapters[0]
    client = Returning(recovering)
    await client.connect("a")
    entries = [
        ("x", "y"),
        ("uid", "u", "nsp", "/", "type", "three"),
        ("uid", "u", "nsp", "/", "type", "3", "data", "{"),
        ("uid", "u", "nsp", "/", "type", "3", "data", "gA=="),
        ("uid", "u", "nsp", "/", "type", "3", "data", "!"),
        ("uid", "u", "nsp", "/", "type", "3", "data", '{"packet":{"type":2,"data":["connect"]},"opts":{}}'),
    ]
    for fields in entries:
        recovering.redis.command("XADD", "socket.io", "*", *fields)
    await until(lambda: adapter.counters.dropped["malformed"] == len(entries))
    await recovering.servers["b"].emit("fence")
    assert await client.until("fence") == []
    for number, stored in enumerate(("", "!", "gA==", "kA==", "gaNzaWQB")):
        recovering.redis.command("SET", f"sio:session:poison-{number}", stored)
        other = Returning(recovering)
        other.pid, other.offset = f"poison-{number}", "1-1"
        await other.connect("a")
        assert not other.recovered


async def test_a_session_is_stored_as_node_stores_it(recovering: StreamsCluster) -> None:
    client = Returning(recovering)
    await client.connect("a")
    await recovering.servers["a"].enter_room(client.sid, "r")
    recovering.servers["a"].socket(client.sid).data["k"] = "v"
    await client.cut()
    await saved(recovering, client.pid)
    async with redis.asyncio.Redis(port=recovering.redis.port) as reader:
        stored = unpack(base64.b64decode(await reader.get(f"sio:session:{client.pid}")))
        assert 0 < await reader.pttl(f"sio:session:{client.pid}") <= 120_000
    del stored["roomcast"]
    assert stored == {"sid": client.sid, "pid": client.pid, "rooms": [client.sid, "r"], "data": {"k": "v"}}


async def test_the_official_client_returns_to_another_server_after_each_cut(recovering: StreamsCluster) -> None:
    async with (
        TcpProxy(recovering.ports["a"]) as proxy,
        official_client(proxy.port, "websocket") as client,
    ):
        assert await client.connected() is False
        (sid,) = [socket.sid for socket in recovering.servers["a"].sockets()]
        await recovering.servers["a"].enter_room(sid, "r")
        for number in range(200):
            await recovering.servers["ab"[number % 2]].emit("number", number, room="r" if number % 3 else sid)
            # The second server may have read less so far: the events of one sender are in order, not those of two.
            await logged(recovering.servers["b"], f'number",{number},"')
            if number % 50 == 5:
                proxy.target_port = recovering.ports["b" if proxy.target_port == recovering.ports["a"] else "a"]
                assert await client.cut(proxy) is True
        await client.received(199)
        seen = await client.end()
    assert [number for number, _ in seen["numbers"]] == list(range(200))
    assert {connect["sid"] for connect in seen["connects"]} == {sid}
    assert [connect["recovered"] for connect in seen["connects"]] == [False, True, True, True, True]


async def test_a_client_of_a_server_that_stops_returns_to_another(recovering: StreamsCluster) -> None:
    client = Returning(recovering)
    await client.connect("a")
    sid = client.sid
    await recovering.servers["a"].emit("received")
    await client.until("received")
    await recovering.servers["a"].shutdown()
    await client.websocket.wait_closed()
    await recovering.servers["b"].emit("missed")
    await logged(recovering.servers["b"], "missed")
    assert await client.connect("b") == [["missed"]]
    assert (client.recovered, client.sid) == (True, sid)
