from __future__ import annotations

import asyncio
import json
import re
from contextvars import ContextVar
from typing import Any

import pytest

from roomcast.realtime import (
    NO_ACK,
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    EventRefused,
    IncomingEvent,
    Server,
    ServerOptions,
    Socket,
)
from roomcast.realtime.core.handlers.dispatch import Dispatcher


def test_a_server_without_middleware_and_listeners_has_the_plain_dispatcher() -> None:
    server = Server()
    server.on("a", lambda sid: None)
    server.dynamic_namespace(re.compile("x"))
    assert type(server.engine.dispatcher) is Dispatcher
    server.use(lambda socket: None, "/other")
    assert type(server.engine.dispatcher) is not Dispatcher


async def test_middleware_for_connections_runs_for_all_namespaces_then_dynamic_then_named_before_the_handler(
    peer: Any,
) -> None:
    server = Server()
    order: list[str] = []
    dynamic = server.dynamic_namespace(re.compile("^/x"))

    async def later(socket: Socket) -> None:
        await asyncio.sleep(0)
        order.append("named, later")

    server.use(lambda socket: order.append("named"), "/x")
    server.use(later, "/x")
    dynamic.use(lambda socket: order.append("dynamic"))
    server.use(lambda socket: order.append("any"), "*")
    server.on("connect", lambda sid, environ: order.append("handler"), "/x")
    client = peer(server)
    await client.enter("/x")
    assert order == ["any", "dynamic", "named", "named, later", "handler"]


@pytest.mark.parametrize("always_connect", [False, True], ids=["", "always_connect"])
@pytest.mark.parametrize("later", [False, True], ids=["plain", "coroutine"])
@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (ConnectionRefusedError("no", {"code": 1}), '{"message":"no","data":{"code":1}}'),
        (LookupError("secret"), '{"message":"Internal server error"}'),
        (False, '{"message":"Connection rejected by server"}'),
    ],
)
async def test_middleware_rejects_a_client_and_no_handler_is_called(
    peer: Any, settle: Any, outcome: Any, answer: str, later: bool, always_connect: bool
) -> None:
    server = Server(ServerOptions(always_connect=always_connect))
    called: list[str] = []

    def decide() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def decide_later(socket: Socket) -> Any:
        await asyncio.sleep(0)
        return decide()

    server.use(decide_later if later else lambda socket: decide())
    server.use(lambda socket: called.append("next"))
    server.on("connect", lambda sid, environ: called.append("connect"))
    client = peer(server)
    client.say("40")
    await settle()
    assert client.transport.texts == [f"44{answer}"]
    assert called == []
    assert server.engine.used_hub("/") is None


@pytest.mark.parametrize("always_connect", [False, True])
async def test_a_client_that_closes_while_middleware_waits_is_forgotten(
    peer: Any, settle: Any, always_connect: bool
) -> None:
    server = Server(ServerOptions(always_connect=always_connect))
    called: list[str] = []
    decided = asyncio.get_running_loop().create_future()

    async def wait(socket: Socket) -> None:
        await decided

    server.use(wait)
    server.on("connect", lambda sid, environ: called.append("connect"))
    client = peer(server)
    client.say("40")
    await settle()
    client.connection.transport_closed()
    decided.set_result(None)
    await settle()
    assert called == []
    assert server.engine.used_hub("/") is None


@pytest.mark.parametrize("later", [False, True], ids=["plain", "coroutine"])
async def test_middleware_for_events_passes_changes_or_refuses_them(
    peer: Any, settle: Any, recording: Any, later: bool
) -> None:
    server = Server(observer=recording)
    handled: list[Any] = []

    def middleware(event: IncomingEvent) -> Any:
        match event.name:
            case "changed":
                event.name, event.args = "kept", [event.args[0] + 1]
            case "refused":
                raise EventRefused({"error": "no"})
            case "ignored":
                raise EventRefused
            case "false":
                return False
            case "failing":
                raise LookupError("on purpose")
        return None

    async def middleware_later(event: IncomingEvent) -> Any:
        await asyncio.sleep(0)
        return middleware(event)

    server.use_event(middleware_later if later else middleware)
    server.on("kept", lambda sid, value: handled.append(value) or value)
    for event in ("refused", "ignored", "false", "failing"):
        server.on(event, lambda sid, value: handled.append("wrong"))
    client = peer(server)
    await client.enter()
    for number, event in enumerate(("kept", "changed", "refused", "ignored", "false", "failing")):
        client.say(f'42{number}["{event}",{number}]')
    await settle(30)
    assert sorted(client.transport.texts) == ["430[0]", "431[2]", '432[{"error":"no"}]']
    assert handled == [0, 2]
    assert [event for _, event, _ in recording.of("handler_failed")] == ["failing"]


@pytest.mark.parametrize("later", [False, True], ids=["plain", "coroutine"])
async def test_a_client_that_middleware_disconnects_reaches_no_handler(peer: Any, settle: Any, later: bool) -> None:
    server = Server(ServerOptions(always_connect=True))
    called: list[str] = []

    def middleware(subject: Socket | IncomingEvent) -> None:
        socket = subject if isinstance(subject, Socket) else subject.socket
        if isinstance(subject, IncomingEvent) or "banned" in socket.auth:
            socket.disconnect()

    async def middleware_later(subject: Socket | IncomingEvent) -> None:
        await asyncio.sleep(0)
        middleware(subject)

    server.use(middleware_later if later else middleware)
    server.use_event(middleware_later if later else middleware)
    server.on("connect", lambda sid, environ, auth: called.append(f"connect {auth}"))
    server.on("event", lambda sid: called.append("event"))
    banned = peer(server)
    banned.say('40{"banned":true}')
    await settle()
    assert banned.transport.texts == ['44{"message":"Connection rejected by server"}']
    client = peer(server)
    await client.enter()
    client.say('421["event"]')
    await settle()
    assert client.transport.texts == ["41"]
    assert called == ["connect None"]


async def test_an_event_whose_client_disconnects_while_middleware_waits_is_dropped(peer: Any, settle: Any) -> None:
    server = Server()
    order: list[str] = []
    decided = asyncio.get_running_loop().create_future()

    async def wait(event: IncomingEvent) -> None:
        await decided

    server.use_event(wait)
    server.on("event", lambda sid: order.append("event"))
    server.on("disconnect", lambda sid: order.append("disconnect"))
    client = peer(server)
    await client.enter()
    client.say('42["event"]', "41")
    await settle()
    decided.set_result(None)
    await settle()
    assert order == ["disconnect"]


async def test_listeners_receive_every_event_before_middleware_attachments_included_and_can_be_removed(
    peer: Any, settle: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server()
    seen: list[Any] = []

    @server.on_any
    def of_the_namespace(socket: Socket, *event: Any) -> None:
        seen.append((socket.sid, *event))
        raise LookupError("on purpose")

    client = peer(server)  # its session was created before the socket has a listener
    sid = await client.enter()
    own = server.socket(sid).on_any(lambda *event: seen.append(event))
    server.use_event(lambda event: seen.append("middleware"))
    client.say('451-["unhandled",{"_placeholder":true,"num":0}]', b"\x01")
    await settle()
    assert seen == [(sid, "unhandled", b"\x01"), ("unhandled", b"\x01"), "middleware"]
    assert "catch-all listener" in caplog.text
    server.socket(sid).off_any(own)
    client.say('42["again"]')
    await settle()
    assert seen[3:] == [(sid, "again"), "middleware"]


async def test_outgoing_listeners_receive_emits_and_broadcasts_that_reach_their_socket(peer: Any, settle: Any) -> None:
    server = Server()
    clients = [peer(server), peer(server)]
    sids = [await client.enter() for client in clients]
    shared: list[Any] = []
    own: list[Any] = []
    server.on_any_outgoing(lambda socket, *event: shared.append((sids.index(socket.sid), *event)))
    first = server.socket(sids[0])
    first.on_any_outgoing(lambda *event: own.append(event))
    first.join("r")
    first.emit("direct", b"\x00", (1, 2))
    first.acknowledge(1, [b"\x00"])
    await server.emit("room", room="r")
    await server.emit("all", skip_sid=sids[1])
    await server.emit("both", to=sids)
    assert own == [("direct", b"\x00", [1, 2]), ("room",), ("all",), ("both",)]
    assert shared[:3] == [(0, "direct", b"\x00", [1, 2]), (0, "room"), (0, "all")]
    assert sorted(shared[3:]) == [(0, "both"), (1, "both")]
    first.off_any_outgoing()
    first.emit("more")
    assert len(own) == 4
    assert shared[-1] == (0, "more")
    late = peer(server)
    sids.append(await late.enter())
    await server.emit("late", to=sids[2])
    assert shared[-1] == (2, "late")
    for client in (*clients, late):
        client.connection.transport_closed()
    await settle()
    assert server.engine.used_hub("/") is None


async def test_an_outgoing_listener_receives_what_a_connect_handler_emits_once(peer: Any) -> None:
    server = Server()
    seen: list[Any] = []
    server.on_any_outgoing(lambda socket, *event: seen.append(event))
    server.on("connect", lambda sid, environ: server.socket(sid).emit("hello") is None)
    client = peer(server)
    await client.enter()
    assert seen == [("hello",)]


async def test_a_context_variable_that_middleware_or_a_listener_sets_is_gone_afterwards(peer: Any, settle: Any) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    server = Server()
    seen: list[str] = []

    def set_it(subject: Any, *event: Any) -> None:
        seen.append(variable.get())
        variable.set("set")

    server.use(set_it)
    server.use_event(set_it)
    server.on_any(set_it)
    server.on("event", lambda sid: seen.append(variable.get()))
    client = peer(server)
    await client.enter()
    client.say('42["event"]', '42["event"]')
    await settle()
    assert seen == ["unset", *["unset", "set", "set"] * 2]


def test_a_listener_must_not_wait() -> None:
    async def listener(*args: Any) -> None: ...

    server = Server()
    for register in (server.on_any, server.on_any_outgoing):
        with pytest.raises(TypeError, match="plain function"):
            register(listener)


async def test_an_event_is_acknowledged_later_once_or_never(peer: Any, settle: Any) -> None:
    server = Server()
    taken: list[Any] = []

    async def take(sid: str) -> Any:
        taken.append(server.socket(sid).take_ack())
        return NO_ACK

    server.on("take", take)
    server.on("never", lambda sid: NO_ACK)
    client = peer(server)
    await client.enter()
    client.say('427["take"]', '428["never"]', '42["take"]')
    await settle()
    assert client.transport.texts == []
    with_id, without_id = taken
    assert (with_id.wanted, without_id.wanted) == (True, False)
    for ack in (without_id, with_id, with_id):
        ack("done", {"pages": 3})
    await settle()
    assert client.transport.texts == ['437["done",{"pages":3}]']
    client.say('429["take"]')
    await settle()
    client.connection.transport_closed()
    taken[-1]("too late")
    assert json.loads("[]") == client.transport.texts[1:]
