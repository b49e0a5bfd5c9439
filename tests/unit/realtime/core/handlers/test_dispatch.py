from __future__ import annotations

import asyncio
import builtins
from contextvars import ContextVar
from typing import Any

import pytest

from roomcast.realtime import ConnectionRefusedError, Namespace, Server, ServerOptions  # noqa: A004 - python-socketio's name


def fails(*args: Any) -> None:
    raise LookupError("on purpose")


async def fails_later(*args: Any) -> None:
    await asyncio.sleep(0)
    raise LookupError("on purpose")


@pytest.mark.parametrize("handler", [fails, fails_later, lambda *args: object()], ids=["now", "later", "no JSON"])
async def test_a_failing_handler_is_logged_and_reported_and_its_event_is_not_acknowledged(
    peer: Any, settle: Any, recording: Any, caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    server = Server(observer=recording)
    server.on("work", handler)
    server.on("echo", lambda sid, value: value)
    client = peer(server)
    await client.enter()
    client.say('420["work"]', '421["echo",2]')
    await settle()
    assert client.transport.texts == ["431[2]"]
    assert [event for _, event, _ in recording.of("handler_failed")] == ["work"]
    (record,) = caplog.records
    assert record.getMessage() == "handler of 'work' in '/' failed"
    assert record.exc_info


@pytest.mark.parametrize(
    ("error", "message", "reported"),
    [
        (ConnectionRefusedError("not you", {"code": 7}), '{"message":"not you","data":{"code":7}}', 0),
        (ConnectionRefusedError(5, 6, 7), '{"message":"5","data":[6,7]}', 0),
        (builtins.ConnectionRefusedError("a detail"), '{"message":"Connection refused by server"}', 0),
        (LookupError("a detail"), '{"message":"Internal server error"}', 1),
    ],
)
@pytest.mark.parametrize("later", [False, True])
async def test_an_exception_of_a_connect_handler_rejects_the_client_without_its_details(
    peer: Any, settle: Any, recording: Any, error: Exception, message: str, reported: int, later: bool
) -> None:
    server = Server(observer=recording)

    def connect(sid: str, environ: Any) -> None:
        raise error

    async def connect_later(sid: str, environ: Any) -> None:
        await asyncio.sleep(0)
        raise error

    server.on("connect", connect_later if later else connect)
    client = peer(server)
    client.say("40")
    await settle()
    assert client.transport.texts == [f"44{message}"]
    assert len(recording.of("handler_failed")) == reported
    assert server.engine.used_hub("/") is None


@pytest.mark.parametrize("handler", [fails, fails_later])
async def test_a_socket_is_removed_although_its_disconnect_handler_fails(
    peer: Any, settle: Any, recording: Any, handler: Any
) -> None:
    server = Server(observer=recording)
    server.on("disconnect", handler)
    client = peer(server)
    await client.enter()
    client.say("41")
    await settle()
    assert [event for _, event, _ in recording.of("handler_failed")] == ["disconnect"]
    assert server.engine.used_hub("/") is None


@pytest.mark.parametrize("callback", [fails, fails_later])
async def test_a_failing_acknowledgement_callback_is_reported(
    peer: Any, settle: Any, recording: Any, callback: Any
) -> None:
    server = Server(observer=recording)
    client = peer(server)
    sid = await client.enter()
    await server.emit("question", to=sid, callback=callback)
    client.say("430[1]")
    await settle()
    assert [event for _, event, _ in recording.of("handler_failed")] == ["ack"]
    assert server.connections == 1


async def test_return_values_become_the_arguments_of_the_acknowledgement(peer: Any, settle: Any) -> None:
    server = Server()
    values = {"none": None, "one": 1, "list": [1, 2], "several": (1, 2)}
    server.on("now", lambda sid, name: values[name])

    async def later(sid: str, name: str) -> Any:
        await asyncio.sleep(0)
        return values[name]

    server.on("later", later)
    client = peer(server)
    await client.enter()
    for event in ("now", "later"):
        client.say(*(f'42{number}["{event}","{name}"]' for number, name in enumerate(values)))
        client.say(f'42["{event}","one"]')
        await settle(20)
        assert client.transport.texts == ["430[]", "431[1]", "432[[1,2]]", "433[1,2]"]
        client.transport.messages.clear()


async def test_an_event_that_a_namespace_class_does_not_handle_is_not_acknowledged(
    peer: Any, settle: Any, recording: Any
) -> None:
    class Forwarding(Namespace):
        async def trigger_event(self, event: str, *args: Any) -> Any:
            return await super().trigger_event(event, *args)

    server = Server(observer=recording)
    server.register_namespace(Forwarding("/"))
    client = peer(server)
    await client.enter()
    client.say('420["unknown"]')
    await settle()
    assert client.transport.texts == []
    assert recording.of("handler_failed") == []


async def test_a_context_variable_that_a_handler_sets_is_not_set_in_the_next_one(peer: Any, settle: Any) -> None:
    server = Server()
    user: ContextVar[str] = ContextVar("user", default="none")
    seen: list[str] = []

    def look(*_args: Any) -> None:
        seen.append(user.get())
        user.set("ada")

    async def look_later(*_args: Any) -> None:
        look()

    for event, handler in (("connect", look), ("now", look), ("later", look_later), ("disconnect", look)):
        server.on(event, handler)
    client = peer(server)
    sid = await client.enter()
    client.say('42["now"]', '42["later"]', '42["now"]')
    await server.emit("question", to=sid, callback=look)
    await settle()
    client.say("430[]", "41")
    await settle()
    assert seen == ["none"] * 6


async def test_a_handler_can_read_whether_its_event_is_to_be_acknowledged(peer: Any) -> None:
    server = Server()
    wanted: list[bool] = []
    server.on("work", lambda sid: wanted.append(server.socket(sid).ack_wanted))
    client = peer(server)
    await client.enter()
    client.say('42["work"]', '420["work"]', '42["work"]')
    assert wanted == [False, True, False]


async def test_a_connect_handler_is_cancelled_when_the_server_stops(peer: Any, settle: Any) -> None:
    server = Server()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        await asyncio.Event().wait()

    client = peer(server)
    client.say("40")
    await settle()
    (task,) = server.engine.tasks
    await server.engine.abort()
    assert task.cancelled()
    assert server.engine.used_hub("/") is None


@pytest.mark.parametrize("always_connect", [False, True], ids=["", "always_connect"])
@pytest.mark.parametrize("closes", [False, True], ids=["kicked", "closed"])
async def test_a_client_that_is_gone_while_its_connect_waits_for_other_handlers_reaches_no_handler(
    peer: Any, settle: Any, always_connect: bool, closes: bool
) -> None:
    server = Server(ServerOptions(always_connect=always_connect, handler_concurrency=1))
    called: list[str] = []
    ended = asyncio.Event()

    @server.on("work")
    async def work(sid: str) -> None:
        await ended.wait()

    @server.on("connect", namespace="/b")
    async def connect(sid: str, environ: Any) -> None:
        called.append("connect")

    server.on("disconnect", lambda sid, reason: called.append("disconnect"), namespace="/b")
    client = peer(server)
    await client.enter()
    client.say('42["work"]', "40/b,")
    await server.of("/b").everyone.disconnect_sockets()
    if closes:
        client.connection.transport_closed()
    ended.set()
    await settle()
    refusal = '44/b,{"message":"Connection rejected by server"}'
    assert client.transport.texts == ([] if closes else [refusal])
    assert called == []
    assert server.engine.used_hub("/b") is None
