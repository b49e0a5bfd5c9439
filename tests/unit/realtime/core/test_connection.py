"""Connections without a network: the order of handlers, emits and packets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.realtime import (
    AckLimitExceeded,
    AckTimeout,
    EncodedEvent,
    Reason,
    RoomLimitExceeded,
    Server,
    ServerOptions,
    SocketGone,
)
from roomcast.realtime.cluster.commands import Disconnect, Selection
from roomcast.realtime.cluster.gathering import HERE, GatheredAcks, Gathering
from roomcast.realtime.transports.asgi_websocket import AsgiWebSocket
from roomcast.realtime.transports.polling import PollingTransport
from support.virtual_time import run_in_virtual_time
from unit.realtime.conftest import POLLING


async def test_emits_and_joins_of_a_connect_handler_take_effect_after_the_connect_packet(
    peer: Any, settle: Any
) -> None:
    server = Server()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        socket = server.socket(sid)
        socket.join("r")
        socket.emit("one")
        await server.emit("to the room", room="r")
        await server.emit("two", to=sid)
        await settle()
        assert not socket.connected
        assert server.sockets() == []

    client = peer(server)
    client.say("40")
    await settle(20)
    (first, *rest) = client.transport.texts
    assert first.startswith("40{")
    assert rest == ['42["one"]', '42["to the room"]', '42["two"]']
    server.broadcast("r", EncodedEvent.from_args("now"))
    await settle()
    assert client.transport.texts[-1] == '42["now"]'


async def test_a_client_receives_every_emit_of_its_connect_handler_in_order_after_its_connect_packet(
    peer: Any, settle: Any
) -> None:
    server = Server()
    answers: list[Any] = []

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        await server.enter_room(sid, "r")
        await server.enter_room(sid, "left")
        await server.leave_room(sid, "left")
        await server.emit("room", room="r")
        await server.emit("all")
        await server.emit("several", to=["r", sid, "left"])
        await server.emit("not", to="left")
        await server.emit("not", room="r", skip_sid=sid)
        await server.emit("not", to=sid, skip_sid=["r"])
        await server.emit("asked", to="r", callback=lambda *args: answers.append(args))
        await asyncio.sleep(0)
        server.broadcast("r", EncodedEvent.from_args("broadcast"))
        await server.close_room("r")
        await server.emit("not", room="r")

    client = peer(server)
    client.say("40")
    await settle(20)
    (first, *rest) = client.transport.texts
    assert first.startswith("40{")
    assert rest == ['42["room"]', '42["all"]', '42["several"]', '420["asked"]', '42["broadcast"]']
    client.say("430[7]")
    assert answers == [(7,)]


@pytest.mark.parametrize("later", [False, True])
async def test_a_connect_handler_that_disconnects_its_client_refuses_it(
    peer: Any, settle: Any, recording: Any, later: bool
) -> None:
    server = Server(observer=recording)
    called: list[str] = []

    @server.event
    async def connect(sid: str, environ: Any) -> bool:
        await server.emit("welcome", to=sid)
        await server.disconnect(sid)
        if later:
            await asyncio.sleep(0)
        return True

    server.on("disconnect", lambda sid, reason: called.append(reason))
    client = peer(server)
    client.say("40")
    await settle()
    assert client.transport.texts == ['44{"message":"Connection rejected by server"}']
    assert not called
    assert len(recording.of("socket_refused")) == 1
    assert not recording.of("socket_connected")
    assert server.engine.used_hub("/") is None


async def test_a_command_for_a_room_applies_to_a_client_whose_connect_handler_runs(peer: Any, settle: Any) -> None:
    server = Server()
    gate = asyncio.Event()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        await server.enter_room(sid, "banned")
        await gate.wait()

    client = peer(server)
    client.say("40")
    await settle()
    server.engine.apply_command(Disconnect(Selection("/", ("banned",))))
    gate.set()
    await settle()
    assert client.transport.texts == ['44{"message":"Connection rejected by server"}']


@pytest.mark.parametrize("end", ["refused", "closed"])
async def test_a_call_to_a_client_that_is_refused_or_leaves_during_its_connect_handler_fails(
    peer: Any, settle: Any, end: str
) -> None:
    server = Server()
    gate = asyncio.Event()
    calls: list[asyncio.Task[Any]] = []

    @server.event
    async def connect(sid: str, environ: Any) -> bool:
        calls.append(asyncio.create_task(server.call("question", to=sid)))
        await gate.wait()
        return False

    client = peer(server)
    client.say("40")
    await settle()
    if end == "closed":
        client.connection.transport_closed()
    else:
        gate.set()
    with pytest.raises(AckTimeout):
        await calls[0]
    gate.set()
    await settle()
    assert server.engine.used_hub("/") is None
    assert not client.connection.packets._acks


async def test_the_callback_of_a_broadcast_is_called_for_each_recipient(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(max_pending_acks=1))
    answers: list[Any] = []
    clients = [peer(server) for _ in range(3)]
    sids = [await client.enter() for client in clients]
    await server.emit("vote", callback=answers.append, skip_sid=sids[2])
    await settle()
    assert [client.transport.texts for client in clients] == [['420["vote"]'], ['420["vote"]'], []]
    clients[0].say("430[0]")
    with pytest.raises(AckLimitExceeded):
        await server.emit("vote", to=sids, callback=answers.append)
    await settle()
    assert [client.transport.texts[1:] for client in clients[:2]] == [['421["vote"]'], ['42["vote"]']]
    assert clients[2].transport.texts == ['420["vote"]']
    clients[2].say("430[2]")
    assert answers == [0, 2]


async def test_a_client_that_cannot_be_asked_to_acknowledge_receives_the_broadcast(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(max_pending_acks=1))
    client = peer(server)
    await client.enter()
    listener = GatheredAcks(Gathering(1_000), HERE)
    acks = [server.engine.ask(Selection("/", None), ("vote", n), listener) for n in range(2)]
    await settle()
    assert client.transport.texts == ['420["vote",0]', '42["vote",1]']
    assert [asked.asked for asked in acks] == [1, 0]


async def test_emits_of_a_rejecting_connect_handler_are_never_sent(peer: Any, settle: Any, recording: Any) -> None:
    server = Server(observer=recording)

    @server.event
    def connect(sid: str, environ: Any) -> bool:
        server.socket(sid).emit("secret")
        return False

    client = peer(server)
    client.say("40")
    await settle()
    assert client.transport.texts == ['44{"message":"Connection rejected by server"}']
    assert not server.engine.hub("/").sockets
    assert len(recording.of("socket_refused")) == 1


async def test_a_connection_that_ends_during_its_connect_handler_gets_its_disconnect_handler(
    peer: Any, settle: Any
) -> None:
    server = Server()
    gate = asyncio.Event()
    calls: list[str] = []

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        calls.append("connect")
        await gate.wait()

    @server.event
    def disconnect(sid: str, reason: str) -> None:
        calls.append(reason)

    client = peer(server)
    client.say("40")
    await settle()
    client.connection.transport_closed()
    await settle()
    assert calls == ["connect"]
    gate.set()
    await settle()
    assert calls == ["connect", "transport close"]
    assert not server.engine.hub("/").sockets


async def test_a_disconnect_handler_can_read_its_socket_and_its_emits_are_dropped(peer: Any, settle: Any) -> None:
    server = Server()
    seen: list[Any] = []

    @server.event
    async def disconnect(sid: str, reason: str) -> None:
        socket = server.socket(sid)
        await asyncio.sleep(0)
        seen.append((socket.rooms, socket.connected, socket.data, reason, server.rooms(sid)))
        socket.emit("too late")
        with pytest.raises(SocketGone):
            socket.join("x")
        with pytest.raises(SocketGone):
            await server.call("too late", to=sid)

    client = peer(server)
    sid = await client.enter()
    server.socket(sid).join("r")
    server.socket(sid).data["k"] = 1
    client.say("41")
    server.broadcast("r", EncodedEvent.from_args("too late"))
    await settle()
    assert seen == [(frozenset({"r"}), False, {"k": 1}, "client disconnect", [sid, "r"])]
    assert client.transport.texts == []
    with pytest.raises(SocketGone) as gone:
        server.socket(sid)
    assert str(gone.value) == f"no socket {sid!r} in namespace '/'"


async def test_pending_events_are_handled_after_a_client_disconnects_but_not_after_a_kick(
    peer: Any, settle: Any
) -> None:
    server = Server(ServerOptions(handler_concurrency=1))
    gate = asyncio.Event()
    calls: list[Any] = []

    @server.on("work")
    async def work(sid: str, number: int) -> None:
        calls.append(number)
        await gate.wait()

    @server.event
    def disconnect(sid: str, reason: str) -> None:
        calls.append(reason)

    leaving, kicked = peer(server), peer(server)
    await leaving.enter()
    sid = await kicked.enter()
    leaving.say('42["work",1]', '42["work",2]', "41")
    kicked.say('42["work",3]', '42["work",4]')
    await settle()
    await server.disconnect(sid)
    await settle()
    assert calls == [1, 3]
    gate.set()
    await settle(20)
    assert sorted(map(str, calls)) == ["1", "2", "3", "client disconnect", "server disconnect"]
    assert calls.index(2) < calls.index("client disconnect")


async def test_namespaces_of_one_connection_are_separate(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(namespaces=("/a",)))
    client = peer(server)
    main, other = await client.enter(), await client.enter("/a")
    assert main != other
    server.socket(main).join("r")
    await server.emit("main", room="r")
    await server.emit("other", room=other, namespace="/a")
    await server.emit("not delivered", room="r", namespace="/a")
    await settle()
    assert client.transport.texts == ['42["main"]', '42/a,["other"]']
    client.say("41/a,")
    await settle()
    assert server.sockets(namespace="/a") == []
    assert len(server.sockets()) == 1
    assert server.engine.used_hub("/a") is None
    assert server.engine.used_hub("/") is not None


async def test_an_unknown_namespace_is_refused(peer: Any, settle: Any) -> None:
    client = peer(Server())
    client.say("40/random,")
    await settle()
    assert client.transport.texts == ['44/random,{"message":"Invalid namespace"}']


async def test_wildcard_namespaces_without_sockets_are_removed(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(namespaces=("*",)))
    client = peer(server)
    for number in range(20):
        await client.enter(f"/n{number}")
        client.say(f"41/n{number},")
    await settle()
    assert set(server.engine.namespaces()) == {"/"}


async def test_a_socket_cannot_exceed_its_room_limit(peer: Any) -> None:
    server = Server(ServerOptions(max_rooms_per_socket=2))
    client = peer(server)
    socket = server.socket(await client.enter())
    for room in ("a", "b", "a", socket.sid):
        socket.join(room)
    with pytest.raises(RoomLimitExceeded):
        socket.join("c")
    socket.leave("a")
    socket.leave("never joined")
    socket.join("c")
    assert socket.rooms == {"b", "c"}
    assert server.rooms(socket.sid) == [socket.sid, "b", "c"]


async def test_a_malformed_packet_closes_the_connection_and_is_reported_once(
    peer: Any, settle: Any, recording: Any
) -> None:
    server = Server(observer=recording)
    client = peer(server)
    await client.enter()
    client.say('42abc["x"]', '42["y"]', "4junk")
    await settle()
    assert client.transport.closed is Reason.PARSE_ERROR
    assert len(recording.of("peer_malformed")) == 1
    assert [reason for _, reason in recording.of("connection_closed")] == [Reason.PARSE_ERROR]
    assert [reason for _, reason in recording.of("socket_disconnected")] == [Reason.PARSE_ERROR]
    assert server.connections == 0


async def test_a_slow_client_is_closed_after_the_flush_and_reported(peer: Any, settle: Any, recording: Any) -> None:
    server = Server(observer=recording)
    slow, fast = peer(server), peer(server)
    for client in (slow, fast):
        server.socket(await client.enter()).join("r")
    slow.transport.overflow_at = 2
    for number in range(5):
        server.broadcast("r", EncodedEvent.from_args("n", number))
        server.engine.log.flush()
    await settle()
    assert slow.transport.aborted
    assert len(fast.transport.texts) == 5
    assert len(recording.of("peer_slow")) == 1
    assert [reason for _, reason in recording.of("socket_disconnected")] == [Reason.SLOW_CONSUMER]
    assert len(server.sockets("r")) == 1


async def test_volatile_broadcasts_do_not_close_a_client_whose_connect_handler_runs(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(outbox_limit_bytes=1_000))
    decided = asyncio.Event()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        await decided.wait()

    client = peer(server)
    client.say("40")
    for number in range(5):
        server.broadcast(None, EncodedEvent.from_args("n", number, "x" * 400), volatile=True)
    server.broadcast(None, EncodedEvent.from_args("kept"))
    decided.set()
    await settle()
    assert not client.transport.aborted
    assert client.transport.texts[0].startswith("40")
    assert client.transport.texts[-1] == '42["kept"]'


@pytest.mark.parametrize("polling", [True, False], ids=["polling", "plain ASGI"])
async def test_a_volatile_event_behind_a_large_message_does_not_close_the_connection(
    polling: bool, settle: Any
) -> None:
    server = Server(ServerOptions(outbox_limit_bytes=1_000))
    transport: PollingTransport | AsgiWebSocket = PollingTransport() if polling else AsgiWebSocket(server.engine)
    connection = server.engine.open(POLLING, transport.bind)
    reads = asyncio.Event()
    reads.set()
    never: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    running: asyncio.Future[None] | None = None
    if isinstance(transport, AsgiWebSocket):
        running = asyncio.ensure_future(transport.run(lambda: never, lambda _: reads.wait()))
    connection.receive("40")
    await settle()
    transport.take_queue()
    reads.clear()
    assert transport.backlog_bytes == 0
    server.broadcast(None, EncodedEvent.from_args("large", "x" * 2_000))
    await settle()
    assert transport.backlog_bytes > 2_000
    server.broadcast(None, EncodedEvent.from_args("position", 1), volatile=True)
    await settle()
    assert not connection.overflowed
    if running is not None:
        running.cancel()


async def test_emits_before_a_close_are_written_before_it(peer: Any) -> None:
    server = Server()
    client = peer(server)
    sid = await client.enter()
    server.socket(sid).emit("bye")
    client.connection.close(Reason.SERVER_DISCONNECT)
    assert client.transport.texts == ['42["bye"]']
    assert client.transport.closed is Reason.SERVER_DISCONNECT


async def test_an_acknowledgement_is_accepted_once_and_callbacks_may_be_coroutines(peer: Any, settle: Any) -> None:
    server = Server()
    got: list[Any] = []

    async def later(*args: Any) -> None:
        await asyncio.sleep(0)
        got.append(("later", *args))

    client = peer(server)
    sid = await client.enter()
    await server.emit("a", (1, 2), to=sid, callback=lambda *args: got.append(args))
    await server.emit("b", to=sid, callback=later)
    await settle()
    assert client.transport.texts == ['420["a",1,2]', '421["b"]']
    client.say("430[1]", "430[1]", "4399[1]", "431[2,3]")
    await settle()
    assert got == [(1,), ("later", 2, 3)]


async def test_the_observer_receives_every_event_and_its_errors_are_only_logged(
    peer: Any, settle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            def method(*args: Any) -> None:
                raise LookupError(name)

            return method

    server = Server(observer=Broken())  # type: ignore[arg-type]  # on purpose
    client = peer(server)
    await client.enter()
    client.say('420["x"]', "41")
    await settle()
    client.connection.transport_closed()
    for name in ("connection_opened", "socket_connected", "event_received", "connection_closed"):
        assert f"observer failed in {name}" in caplog.text


def test_the_server_pings_after_the_interval_and_closes_a_session_without_a_pong(peer: Any) -> None:
    async def main() -> None:
        server = Server(ServerOptions(ping_interval_s=25, ping_timeout_s=20))
        client = peer(server)
        await client.enter()
        await asyncio.sleep(24)
        assert client.transport.texts == []
        await asyncio.sleep(2)
        assert client.transport.texts == ["2"]
        client.say("3")
        client.transport.messages.clear()
        await asyncio.sleep(44)
        assert client.transport.texts == ["2"]
        assert server.connections == 1
        await asyncio.sleep(2)
        assert server.connections == 0
        assert client.transport.closed is Reason.PING_TIMEOUT

    run_in_virtual_time(main())


async def test_shutdown_closes_every_connection_and_waits_for_handlers(peer: Any) -> None:
    server = Server()
    ended: list[str] = []

    @server.event
    async def disconnect(sid: str, reason: str) -> None:
        await asyncio.sleep(0.01)
        ended.append(reason)

    clients = [peer(server) for _ in range(3)]
    for client in clients:
        await client.enter()
    await server.shutdown()
    assert ended == ["server shutting down"] * 3
    assert all(client.transport.closed is Reason.SHUTDOWN for client in clients)
    assert server.connections == 0


async def test_waiting_events_are_not_handled_after_the_server_stops(peer: Any, settle: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=1))
    begun: list[int] = []

    @server.on("work")
    async def work(sid: str, number: int) -> None:
        begun.append(number)
        await asyncio.Event().wait()

    client = peer(server)
    await client.enter()
    client.say('42["work",1]', '42["work",2]', '42["work",3]')
    await settle()
    await server.engine.abort()
    await settle()
    assert begun == [1]
    assert not server.engine.tasks
