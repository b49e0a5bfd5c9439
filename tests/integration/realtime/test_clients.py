"""The clients that people have: python-socketio here, the official JavaScript client in test_node_client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import socketio

from roomcast.realtime import (
    AckTimeout,
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    EncodedEvent,
    Namespace,
    Server,
    ServerOptions,
)
from support.clients import http_session

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


def example() -> tuple[Server, list[Any]]:
    server = Server(ServerOptions())
    log: list[Any] = []

    @server.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        log.append(("connect", environ["PATH_INFO"], auth))
        await server.emit("welcome", {"you": sid}, to=sid)

    @server.event
    def disconnect(sid: str, reason: str) -> None:
        log.append(("disconnect", reason))

    @server.on("echo")
    def echo(sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    @server.on("slow-echo")
    async def slow_echo(sid: str, value: Any) -> Any:
        await asyncio.sleep(0)
        return value

    @server.on("join")
    async def join(sid: str, room: str) -> None:
        await server.enter_room(sid, room)

    @server.on("say")
    async def say(sid: str, room: str, data: Any) -> None:
        await server.emit("said", data, room=room, skip_sid=sid)

    @server.on("ask-me")
    async def ask_me(sid: str) -> Any:
        return await server.call("question", ("a", b"\x00"), to=sid, timeout=5)

    return server, log


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with http_session() as session:
        yield session


class Peer(socketio.AsyncClient):  # type: ignore[misc]  # it has no types
    """A client that keeps what it got."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__(http_session=session)
        self.got: asyncio.Queue[Any] = asyncio.Queue()
        for event in ("welcome", "said", "news"):
            self.on(event, self._keep(event))

    def _keep(self, event: str) -> Any:
        return lambda *args: self.got.put_nowait((event, *args))


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_a_burst_reaches_the_python_client_completely_and_in_order(
    serving: Any, http: aiohttp.ClientSession, transports: list[str]
) -> None:
    server, _ = example()

    @server.on("burst")
    def burst(sid: str, size: int) -> str:
        for number in range(size):
            server.socket(sid).emit("news", number, *([b"binary"] if number % 10 == 0 else []))
        return "done"

    async with serving(server) as running:
        peer = Peer(http)
        await peer.connect(running.url, transports=transports)
        assert await peer.call("burst", 100, timeout=5) == "done"
        got = [peer.got.get_nowait() for _ in range(101)]
        assert got[0][0] == "welcome"
        assert [news[1] for news in got[1:]] == list(range(100))
        await peer.disconnect()


@pytest.mark.parametrize("transports", TRANSPORTS, ids="-".join)
async def test_the_python_client_connects_joins_acknowledges_and_sends_binary(
    until: Any, serving: Any, http: aiohttp.ClientSession, transports: list[str]
) -> None:
    server, log = example()
    async with serving(server) as running:
        a, b = Peer(http), Peer(http)
        for peer in (a, b):
            await peer.connect(running.url, transports=transports, auth={"token": "t"})
            assert (await peer.got.get())[0] == "welcome"
        b.on("question", lambda *args: [*args, "answered"])
        assert await a.call("echo", (1, "zwei", {"drei": [b"\x00\xff"]})) == (1, "zwei", {"drei": [b"\x00\xff"]})
        assert await a.call("slow-echo", {"x": b"1"}) == {"x": b"1"}
        assert await b.call("ask-me") == ["a", b"\x00", "answered"]
        await asyncio.gather(a.call("join", "r"), b.call("join", "r"))
        await a.emit("say", ("r", {"file": b"\x01\x02"}))
        assert await asyncio.wait_for(b.got.get(), 5) == ("said", {"file": b"\x01\x02"})
        server.broadcast("r", EncodedEvent.from_json('["news",{"ü":1}]'.encode()))
        for peer in (a, b):
            assert await asyncio.wait_for(peer.got.get(), 5) == ("news", {"ü": 1})
            assert peer.transport() == transports[-1]
            await peer.disconnect()
        assert log[0] == ("connect", "/socket.io/", {"token": "t"})
        await until(lambda: len(log) == 4)
        assert {entry[0] for entry in log[2:]} == {"disconnect"}


async def test_connect_handlers_reject_with_a_message_and_data(
    until: Any, serving: Any, http: aiohttp.ClientSession
) -> None:
    server = Server()

    @server.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> bool | None:
        if auth == {"why": "false"}:
            return False
        raise ConnectionRefusedError("not you", {"code": 7})

    async with serving(server) as running:
        for auth, expected in (
            ({"why": "false"}, {"message": "Connection rejected by server"}),
            ({"why": "error"}, {"message": "not you", "data": {"code": 7}}),
        ):
            peer = socketio.AsyncClient(reconnection=False, http_session=http)
            errors: list[Any] = []
            peer.on("connect_error", errors.append)
            with pytest.raises(socketio.exceptions.ConnectionError):
                await peer.connect(running.url, auth=auth, transports=["websocket"])
            assert errors == [expected]
            await peer.disconnect()
        assert server.sockets() == []


async def test_namespaces_as_classes_and_catch_alls(until: Any, serving: Any, http: aiohttp.ClientSession) -> None:
    server = Server(ServerOptions(namespaces=("/free",)))

    class Chat(Namespace):
        def on_connect(self, sid: str, environ: dict[str, Any]) -> None:
            server.socket(sid, "/chat").data["seen"] = []

        async def on_note(self, sid: str, text: str) -> str:
            await self.enter_room(sid, "notes")
            async with self.session(sid) as session:
                session["last"] = text
            await self.emit("noted", text, to="notes")
            return (await self.get_session(sid))["last"] + "!"

    server.register_namespace(Chat("/chat"))

    @server.on("*", namespace="/free")
    def anything(sid: str, *args: Any) -> Any:
        return [type(sid).__name__, *args]

    @server.on("*", namespace="/free")
    def catch(event: str, sid: str, *args: Any) -> Any:
        return [event, *args]

    async with serving(server) as running:
        peer = socketio.AsyncClient(http_session=http)
        noted: asyncio.Queue[str] = asyncio.Queue()
        peer.on("noted", noted.put_nowait, namespace="/chat")
        await peer.connect(running.url, namespaces=["/chat", "/free"], transports=["websocket"])
        assert await peer.call("note", "hello", namespace="/chat") == "hello!"
        assert await asyncio.wait_for(noted.get(), 5) == "hello"
        assert await peer.call("what-ever", 1, namespace="/free") == ["what-ever", 1]
        await peer.disconnect()


async def test_a_call_fails_after_its_timeout_and_when_its_client_disconnects(until: Any, serving: Any) -> None:
    server = Server()
    sids: asyncio.Queue[str] = asyncio.Queue()

    @server.event
    def connect(sid: str, environ: dict[str, Any]) -> None:
        sids.put_nowait(sid)

    async with serving(server) as running:
        websocket = await running.open()
        sid = await sids.get()
        with pytest.raises(AckTimeout):
            await server.call("question", to=sid, timeout=0.01)
        waiting = asyncio.create_task(server.call("question", to=sid, timeout=30))
        await asyncio.sleep(0)
        await websocket.close()
        with pytest.raises(TimeoutError):
            await waiting


async def test_a_disconnect_is_sent_after_earlier_emits(until: Any, serving: Any) -> None:
    server = Server()

    @server.on("leave-me")
    async def leave_me(sid: str) -> str:
        await server.emit("last", to=sid)
        await server.disconnect(sid)
        await server.emit("too late", to=sid)
        return "too late, too"

    async with serving(server) as running:
        websocket = await running.open()
        await websocket.send('421["leave-me"]')
        assert await websocket.recv() == '42["last"]'
        assert await websocket.recv() == "41"
        await websocket.close()
