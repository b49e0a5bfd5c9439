"""Connection state recovery, over connections without a network."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from roomcast.realtime import EncodedEvent, Reason, RecoveryOptions, Server, ServerOptions, SocketGone
from roomcast.realtime.adapters.memory import MemoryAdapter
from roomcast.realtime.cluster.commands import Disconnect, Join, Leave, Selection
from roomcast.realtime.transports.polling import PollingTransport
from roomcast.wire.engineio_http import TransportName
from support.returning_client import Returning, make, names
from support.virtual_time import run_in_virtual_time
from unit.realtime.conftest import HANDSHAKE


@pytest.fixture
def returning(peer: Any, settle: Any) -> Any:
    return lambda server: Returning(peer, settle, server)


async def test_without_the_option_connect_has_only_a_sid_and_events_have_no_offset(peer: Any, settle: Any) -> None:
    server = Server()
    client = peer(server)
    client.say('40{"pid":"x","offset":"y"}')
    await settle()
    sid = server.sockets()[0].sid
    assert client.transport.texts == [f'40{{"sid":"{sid}"}}']
    assert server.sockets()[0].auth == {"pid": "x", "offset": "y"}
    assert server.sockets()[0].pid is None
    assert not server.sockets()[0].recovered
    await server.emit("news", 1)
    await settle()
    assert client.transport.texts[-1] == '42["news",1]'


async def test_missed_events_come_before_connect_with_the_old_sid_rooms_and_data(returning: Any, settle: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    sid, pid = client.sid, client.pid
    socket = server.socket(sid)
    socket.join("r")
    socket.data["name"] = "ann"
    await server.save_session(sid, {"k": 1})
    await server.emit("before", room="r")
    await settle()
    assert names(client.read()) == ["before"]
    await client.cut()
    assert server.sockets() == []
    await server.emit("to the room", {"n": 1}, room="r")
    await server.emit("to all")
    await server.emit("to the socket", b"\x01", to=sid)
    await server.emit("to others", room="other")
    await server.emit("skipped", room="r", skip_sid=sid)
    await server.emit("volatile", volatile=True, room="r")
    socket.emit("from the lost socket")
    socket.send(EncodedEvent.from_json(b'["encoded" ]'))
    assert names(await client.connect()) == [
        "to the room",
        "to all",
        "to the socket",
        "from the lost socket",
        "encoded",
    ]
    assert (client.sid, client.pid, client.recovered) == (sid, pid, True)
    restored = server.socket(sid)
    assert restored.recovered
    assert restored.rooms == {"r"}
    assert restored.data == {"name": "ann"}
    assert await server.get_session(sid) == {"k": 1}
    await server.emit("after", room="r")
    await settle()
    assert names(client.read()) == ["after"]


async def test_a_client_that_has_received_no_event_is_recovered(returning: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    await client.cut()
    await server.emit("missed")
    assert names(await client.connect()) == ["missed"]
    assert client.recovered


async def test_the_offset_of_an_earlier_session_does_not_replay_what_was_before_this_one(
    returning: Any, settle: Any
) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    await server.emit("first")
    await settle()
    client.read()
    client.current.say("41")
    await server.emit("while it was not connected")
    client.pid = None  # a new session; the client keeps its offset
    await client.connect()
    await client.cut()
    assert await client.connect() == []
    assert client.recovered


def test_a_client_whose_last_event_is_older_than_the_window_is_recovered(peer: Any, settle: Any) -> None:
    async def main() -> None:
        server = make(window_s=60)
        client = Returning(peer, settle, server)
        await client.connect()
        await server.emit("old")
        await settle()
        client.read()
        recovery = server.engine.recovery
        assert recovery is not None
        assert len(recovery.log) == 1
        for _ in range(30):  # it stays connected
            await asyncio.sleep(20)
            client.current.say("3")
        assert len(recovery.log) == 0
        await client.cut()
        await server.emit("missed")
        assert names(await client.connect()) == ["missed"]
        assert client.recovered
        await server.shutdown()

    run_in_virtual_time(main())


def test_a_session_expires_after_the_window_and_its_memory_is_released(peer: Any, settle: Any) -> None:
    async def main() -> None:
        server = make(window_s=60)
        recovery = server.engine.recovery
        assert recovery is not None
        for wait_s, expected in ((59, True), (61, False)):
            client = Returning(peer, settle, server)
            await client.connect("/")
            await client.cut()
            await server.emit("missed")
            await asyncio.sleep(wait_s)
            await client.connect()
            assert client.recovered is expected
            client.current.say("41")
        await asyncio.sleep(400)
        assert (len(recovery), len(recovery.log), recovery.log.size_bytes) == (0, 0, 0)
        assert server.engine.used_hub("/") is None
        await server.shutdown()

    run_in_virtual_time(main())


async def test_a_namespace_without_sockets_records_what_lost_sessions_miss(returning: Any, settle: Any) -> None:
    server = make()
    server.on("x", lambda sid: None, namespace="/n")
    client = returning(server)
    await client.connect("/n")
    await client.cut()
    await server.emit("other namespace")
    await server.emit("missed", namespace="/n")
    assert names(await client.connect("/n")) == ["missed"]


async def test_a_session_is_recovered_once(returning: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    pid, sid = client.pid, client.sid
    await client.cut()
    await client.connect()
    assert client.recovered
    client.current.say("41")
    thief = returning(server)
    thief.pid = pid
    await thief.connect()
    assert not thief.recovered
    assert thief.sid != sid
    assert thief.pid != pid


@pytest.mark.parametrize("auth", [{"pid": 1}, {"pid": "x" * 20}, {"offset": "1-1"}])
async def test_an_unknown_session_gets_a_new_one_and_the_claim_is_removed_from_auth(
    peer: Any, settle: Any, auth: Any
) -> None:
    server = make()
    client = peer(server)
    client.say("40" + json.dumps({**auth, "token": "t"}))
    await settle(30)
    (socket,) = server.sockets()
    assert socket.auth == {"token": "t"}
    assert client.transport.texts == [f'40{{"sid":"{socket.sid}","pid":"{socket.pid}"}}']


@pytest.mark.parametrize("offset", ["x", "1-1-1", "9999999999999-1", 1, ""])
async def test_a_session_with_an_impossible_offset_is_not_recovered(returning: Any, offset: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    await client.cut()
    client.offset = offset
    await client.connect()
    assert not client.recovered


@pytest.mark.parametrize("args", [(), ("text",), ({"a": "b"},), ("a", ["x"]), ({"a": 1}, "text")])
async def test_a_volatile_event_never_passes_for_an_offset(returning: Any, settle: Any, args: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    await server.emit("counted")
    await server.emit("volatile", args, volatile=True)
    server.socket(client.sid).send(EncodedEvent.from_args("volatile", *args), volatile=True)
    await settle()
    assert names(client.read()) == ["counted", "volatile", "volatile"]
    await client.cut()
    await server.emit("missed")
    assert names(await client.connect()) == ["missed"]


async def test_the_connect_handler_runs_for_each_return_and_can_refuse(returning: Any, settle: Any) -> None:
    server = make()
    banned: set[str] = set()
    calls: list[Any] = []

    @server.event
    async def connect(sid: str, environ: Any, auth: Any) -> bool:
        socket = server.socket(sid)
        calls.append((socket.recovered, socket.data.get("user"), auth))
        await asyncio.sleep(0)
        socket.data["user"] = auth["user"]
        return auth["user"] not in banned

    client = returning(server)
    await client.connect(user="ann")
    await client.cut()
    await server.emit("secret")
    banned.add("ann")
    client.current = client._peer(server)
    client.current.say("40" + json.dumps({"pid": client.pid, "user": "ann"}))
    await settle(30)
    assert client.current.transport.texts == ['44{"message":"Connection rejected by server"}']
    assert calls == [(False, None, {"user": "ann"}), (True, "ann", {"user": "ann"})]
    banned.clear()
    await client.connect(user="ann")
    assert not client.recovered  # a refused session has ended
    assert not server.engine.hub("/").sockets.keys() - {client.sid}


async def test_rooms_left_in_the_connect_handler_are_not_replayed(returning: Any) -> None:
    server = make()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        socket = server.socket(sid)
        if socket.recovered:
            await server.leave_room(sid, "closed")
            socket.join("new")
            await server.emit("welcome back", room="new")
            await server.emit("also", to=sid)

    client = returning(server)
    await client.connect()
    await server.enter_room(client.sid, "closed")
    await server.enter_room(client.sid, "open")
    await client.cut()
    await server.emit("withheld", room="closed")
    await server.emit("missed", room="open")
    assert names(await client.connect()) == ["missed", "welcome back", "also"]
    assert client.after == []
    assert server.socket(client.sid).rooms == {"open", "new"}


async def test_only_events_of_the_time_of_membership_are_replayed(returning: Any, settle: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    await server.emit("before the join", room="r")
    await server.enter_room(client.sid, "r")
    await server.emit("while a member", room="r")
    await server.leave_room(client.sid, "r")
    await server.emit("after the leave", room="r")
    await server.enter_room(client.sid, "s")
    await server.emit("in another room", room=["r", "s"])
    # All of it is lost on the way.
    await settle()
    client.current.transport.messages.clear()
    await client.cut()
    assert names(await client.connect()) == ["while a member", "in another room"]


async def test_commands_for_a_socket_that_is_away_take_effect_at_its_return(returning: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    sid = client.sid
    await server.enter_room(sid, "r")
    await client.cut()
    await server.emit("one", room="r")
    await server.close_room("r")
    await server.emit("two", room="r")
    await server.enter_room(sid, "s")
    await server.emit("three", room="s")
    assert names(await client.connect()) == ["one", "three"]
    assert server.socket(sid).rooms == {"s"}
    await client.cut()
    await server.disconnect(sid)
    await client.connect()
    assert not client.recovered
    assert client.sid != sid


async def test_commands_during_the_disconnect_handler_take_effect_at_the_return(returning: Any, settle: Any) -> None:
    server = make()
    cleaned_up = asyncio.Event()

    @server.event
    async def disconnect(sid: str, reason: str) -> None:
        await cleaned_up.wait()

    client, banned = returning(server), returning(server)
    for one in (client, banned):
        await one.connect()
        await server.enter_room(one.sid, "r")
        await one.cut()
    await server.leave_room(client.sid, "r")
    await server.enter_room(client.sid, "s")
    await server.disconnect(banned.sid)
    cleaned_up.set()
    await settle()
    await server.emit("left", room="r")
    await server.emit("entered", room="s")
    assert names(await client.connect()) == ["entered"]
    assert client.recovered
    await banned.connect()
    assert not banned.recovered


async def test_commands_during_the_connect_handler_of_a_recovered_socket_take_effect(
    returning: Any, settle: Any
) -> None:
    server = make()
    gate = asyncio.Event()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        if server.socket(sid).recovered:
            await gate.wait()

    client = returning(server)
    await client.connect()
    await server.enter_room(client.sid, "r")
    await client.cut()
    current = client._peer(server)
    current.say("40" + json.dumps({"pid": client.pid}))
    await settle()
    await server.emit("one", room="r")
    server.engine.apply_command(Leave(Selection("/", ("r",)), ("r",)))
    server.engine.apply_command(Join(Selection("/", None), ("t",)))
    await server.emit("two", room="r")
    await server.emit("three", room="t")
    gate.set()
    await settle()
    texts = current.transport.texts
    assert [json.loads(text[2:])[0] for text in texts[:-1]] == ["three"]
    assert texts[-1].startswith('40{"sid"')
    assert server.socket(client.sid).rooms == {"t"}


async def test_a_disconnect_during_the_connect_handler_refuses_the_client_and_ends_the_session(
    returning: Any, settle: Any
) -> None:
    server = make()
    gate = asyncio.Event()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        if server.socket(sid).recovered:
            await gate.wait()

    client = returning(server)
    await client.connect()
    await client.cut()
    current = client._peer(server)
    current.say("40" + json.dumps({"pid": client.pid}))
    await settle()
    server.engine.apply_command(Disconnect(Selection("/", (client.sid,))))
    gate.set()
    await settle()
    assert [text[:2] for text in current.transport.texts] == ["44"]
    await client.connect()
    assert not client.recovered


async def test_a_client_that_returns_before_its_loss_is_noticed_takes_its_session(returning: Any, settle: Any) -> None:
    server = make()
    order: list[Any] = []

    @server.event
    async def disconnect(sid: str, reason: str) -> None:
        await asyncio.sleep(0)
        order.append((sid, reason))

    @server.event
    def connect(sid: str, environ: Any) -> None:
        order.append(sid)

    client = returning(server)
    await client.connect()
    sid, former = client.sid, client.current
    await server.emit("lost on the way")
    await settle()
    former.transport.messages.clear()
    assert names(await client.connect()) == ["lost on the way"]
    assert client.recovered
    assert former.transport.aborted
    assert order == [sid, (sid, "transport close"), sid]
    assert [socket.sid for socket in server.sockets()] == [sid]


def test_a_disconnect_handler_that_does_not_end_costs_the_session_and_not_the_connection(
    peer: Any, settle: Any
) -> None:
    async def main() -> None:
        server = make()
        gate = asyncio.Event()

        @server.event
        async def disconnect(sid: str, reason: str) -> None:
            await gate.wait()

        client = Returning(peer, settle, server)
        await client.connect()
        sid = client.sid
        await client.cut()
        current = peer(server)
        current.say("40" + json.dumps({"pid": client.pid}))
        second = peer(server)
        second.say("40" + json.dumps({"pid": client.pid}))
        await settle(30)
        assert len(second.transport.texts) == 1  # another one waits already
        await asyncio.sleep(6)
        assert len(current.transport.texts) == 1
        assert sid not in current.transport.texts[0]
        gate.set()
        await server.shutdown()

    run_in_virtual_time(main())


async def test_a_connection_that_is_lost_during_the_return_can_be_followed_by_another(
    returning: Any, settle: Any
) -> None:
    server = make()
    gate = asyncio.Event()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        if server.socket(sid).recovered:
            await gate.wait()

    client = returning(server)
    await client.connect()
    sid = client.sid
    await client.cut()
    await server.emit("missed")
    for _ in range(2):  # lost during the handler
        current = client._peer(server)
        current.say("40" + json.dumps({"pid": client.pid}))
        await settle()
        current.connection.transport_closed()
        gate.set()
        await settle()
        gate.clear()
    # Lost before the handler starts.
    current = client._peer(server)
    current.say("40" + json.dumps({"pid": client.pid}))
    current.connection.transport_closed()
    gate.set()
    await settle()
    assert names(await client.connect()) == ["missed"]
    assert client.recovered
    assert client.sid == sid


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (lambda client, server: client.current.connection.transport_closed(), True),
        (lambda client, server: client.current.connection.transport_failed(), True),
        (lambda client, server: client.current.connection.abort(Reason.SLOW_CONSUMER), True),
        (lambda client, server: client.current.connection.close(Reason.SHUTDOWN), True),
        (lambda client, server: client.current.say("41"), False),
        (lambda client, server: client.current.say("4x"), False),
        (lambda client, server: server.socket(client.sid).disconnect(), False),
    ],
)
async def test_sessions_are_kept_only_if_the_client_did_not_want_the_end(
    returning: Any, settle: Any, end: Any, kept: bool
) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    end(client, server)
    await settle()
    recovery = server.engine.recovery
    assert recovery is not None
    assert len(recovery) == kept
    await client.connect()
    assert client.recovered is kept


async def test_sessions_are_limited_in_number_and_the_first_is_dropped(returning: Any) -> None:
    server = make(max_sessions=2)
    clients = [returning(server) for _ in range(3)]
    for client in clients:
        await client.connect()
    for client in clients:
        await client.cut()
    for client, recovered in zip(clients, (False, True, True), strict=True):
        await client.connect()
        assert client.recovered is recovered


@pytest.mark.parametrize("limits", [{"max_events": 3}, {"max_bytes": 2_500}])
async def test_events_are_limited_and_a_client_that_misses_a_dropped_one_gets_a_new_session(
    returning: Any, limits: Any
) -> None:
    server = make(**limits)
    lucky, unlucky = returning(server), returning(server)
    await unlucky.connect()
    await unlucky.cut()
    await server.emit("dropped", "x" * 300)
    await lucky.connect()
    await lucky.cut()
    for number in range(3):
        await server.emit(f"kept {number}", "x" * 300)
    assert names(await lucky.connect()) == ["kept 0", "kept 1", "kept 2"]
    await unlucky.connect()
    assert not unlucky.recovered
    recovery = server.engine.recovery
    assert recovery is not None
    assert recovery.log.size_bytes <= limits.get("max_bytes", 3_000)


async def test_a_replay_beyond_the_outbox_limit_is_not_sent(returning: Any) -> None:
    server = Server(ServerOptions(recovery=RecoveryOptions(), outbox_limit_bytes=5_000))
    client = returning(server)
    await client.connect()
    await client.cut()
    for _ in range(6):
        await server.emit("large", "x" * 1_000)
    await client.connect()
    assert not client.recovered


async def test_a_replay_and_the_connect_packet_fit_into_the_outbox_limit(returning: Any, settle: Any) -> None:
    server = Server(ServerOptions(recovery=RecoveryOptions(), outbox_limit_bytes=10_000))
    client = returning(server)
    await client.connect()
    await client.cut()
    for _ in range(10):
        await server.emit("large", "x" * 967)  # 999 bytes with its offset
    transport = PollingTransport()
    connection = server.engine.open(replace(HANDSHAKE, transport=TransportName.POLLING), transport.bind)
    await settle()
    transport.take_queue()
    connection.receive("40" + json.dumps({"pid": client.pid}))
    await settle(30)
    assert server.connections == 1, "a client that returns for ever"
    assert transport.take_queue()[-1].text.startswith(b"40")


async def test_more_left_rooms_than_are_remembered_cost_the_session_only_if_their_events_matter(
    returning: Any, settle: Any
) -> None:
    server = make()
    for received in (True, False):
        client = returning(server)
        await client.connect()
        socket = server.socket(client.sid)
        for number in range(300):
            socket.join("r")
            await server.emit(f"event {number}", room="r")
            socket.leave("r")
        await settle()
        if received:
            client.read()
        await client.cut()
        await client.connect()
        assert client.recovered is received


def test_a_left_room_is_remembered_only_while_the_log_has_its_events(peer: Any, settle: Any) -> None:
    async def main() -> None:
        server = make(window_s=60, max_events=50)
        recovery = server.engine.recovery
        assert recovery is not None
        clients = [Returning(peer, settle, server) for _ in range(2)]
        for client in clients:
            await client.connect()
        leaving, other = (server.socket(client.sid) for client in clients)
        for number in range(200):  # the log has the latest 50 events
            leaving.join(f"room {number}")
            await server.emit("news", number, room=f"room {number}")
            leaving.leave(f"room {number}")
        assert len(leaving.history.left) == 50
        clients[0].read()
        other.join("quiet")
        other.leave("quiet")
        assert not other.history.left  # no event was for it
        await clients[0].cut()
        for client in clients[1:]:  # it stays connected, and leaves no further room
            for _ in range(30):
                await asyncio.sleep(20)
                client.current.say("3")
        assert not leaving.history.left
        assert not recovery._leavers
        await server.shutdown()

    run_in_virtual_time(main())


async def test_a_left_room_without_events_in_the_log_does_not_cost_the_session(returning: Any, settle: Any) -> None:
    server = make(max_events=5)
    client = returning(server)
    await client.connect()
    socket = server.socket(client.sid)
    socket.join("r")
    await server.emit("seen", room="r")
    socket.leave("r")
    for number in range(10):
        await server.emit(f"event {number}")
    await settle()
    client.read()
    socket.join("other")
    await server.emit("not seen", room="other")
    socket.leave("other")
    await client.cut()
    assert [stay[0] for stay in socket.history.left] == ["other"]
    assert names(await client.connect()) == ["not seen"]
    assert client.recovered


async def test_a_socket_that_is_away_is_unknown_to_methods_that_need_one(returning: Any) -> None:
    server = make()
    client = returning(server)
    await client.connect()
    await client.cut()
    with pytest.raises(SocketGone):
        server.socket(client.sid)
    with pytest.raises(SocketGone):
        await server.call("question", to=client.sid)


async def test_a_namespace_with_a_lost_session_stays_occupied_for_the_adapter(returning: Any) -> None:
    server = Server(ServerOptions(recovery=RecoveryOptions()), adapter=MemoryAdapter())
    client = returning(server)
    await client.connect()
    await client.cut()
    assert server.engine.occupied("/", "any room")
    assert not Server().engine.occupied("/", "any room")


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="max_events must be positive"):
        RecoveryOptions(max_events=0)
