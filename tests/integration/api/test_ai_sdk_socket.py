"""The frames of ``WebSocketChatTransport``, with answers that the tests write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from roomcast.api.dialects import ai_sdk_socket
from roomcast.api.options import ApiOptions
from support.api_client import bearer
from support.dialect_clients import ChatSocket, UiMessage, open_socket, question
from support.dialect_server import DialectServer, open_dialects
from support.waiting import until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DialectServer]:
    """The API with authentication off."""
    async with open_dialects(tmp_path) as server:
        yield server


async def turn_status(server: DialectServer, chat_id: str = "c") -> str:
    messages = (await server.http.get(f"/api/chats/{chat_id}/messages")).json()["messages"]
    return str(messages[-1]["turn"]["status"]) if messages else "absent"


async def stopped(server: DialectServer, chat_id: str = "c") -> None:
    async def is_stopped() -> bool:
        return await turn_status(server, chat_id) == "stopped"

    await until(is_stopped)


async def assert_closed(socket: ChatSocket, code: int, reason: str) -> None:
    with pytest.raises(ConnectionClosed):
        await asyncio.wait_for(socket.receive(), 5)
    assert socket.websocket.close_code == code
    assert reason in socket.websocket.close_reason


async def test_a_message_is_answered_in_numbered_chunks(server: DialectServer) -> None:
    await server.follower.say("Hello", " 👋")
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("c", "q1", "Hi?"))
        chunks = [chunk async for chunk in socket.chunks("r1")]
    (message,) = (await server.http.get("/api/chats/c/messages")).json()["messages"]
    assert chunks[0] == {"type": "start", "messageId": message["turn"]["id"]}
    assert [chunk.get("delta") for chunk in chunks if chunk["type"] == "text-delta"] == ["Hello", " 👋"]
    assert chunks[-1] == {"type": "finish"}


async def test_a_resume_replays_the_active_answer_and_without_one_there_is_none(server: DialectServer) -> None:
    async with open_socket(server.url) as socket:
        await socket.send("resume", "r1", id="c")
        assert await socket.receive() == {"type": "no-active", "requestId": "r1"}
        await server.http.post("/api/chat/messages", json={"chatId": "c", "role": "USER", "content": "Hi?"})
        await server.follower.say("Hello")
        await socket.send("resume", "r2", id="c")
        assert await socket.receive() == {"type": "start", "requestId": "r2"}
        message = UiMessage()
        async for chunk in socket.chunks("r2"):
            message.apply(chunk)
        assert message.text == "Hello"


async def test_one_socket_carries_several_chats(server: DialectServer) -> None:
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("a", "q1", "Hi?"))
        await socket.send("send", "r2", **question("b", "q1", "Hi?"))
        await server.follower.say("Hello")
        ended: set[str] = set()
        while len(ended) < 2:
            frame = await socket.receive()
            if frame["type"] == "end":
                ended.add(frame["requestId"])
        assert ended == {"r1", "r2"}


async def test_an_abort_stops_the_turn_and_a_closed_socket_does_not(server: DialectServer) -> None:
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("a", "q1", "Hi?"))
        await socket.send("send", "r2", **question("b", "q1", "Hi?"))
        await until(lambda: server.follower.readers == 2)
        await socket.send("abort", "r1")
        await stopped(server, "a")
    await until(lambda: server.follower.readers == 0)
    assert await turn_status(server, "b") == "queued"


async def test_an_abort_right_behind_the_message_and_before_the_close_stops_the_turn(server: DialectServer) -> None:
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("c", "q1", "Hi?"))
        await socket.send("abort", "r1")
        await socket.send("abort", "r1")
        await socket.send("abort", "unknown")
    await stopped(server)


async def test_an_error_of_a_request_ends_that_request_only(server: DialectServer) -> None:
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("no spaces", "q1", "Hi?"))
        assert (await socket.receive()).items() >= {"type": "error", "requestId": "r1"}.items()
        await socket.send("send", "r2", **question("c", "q1", "Hi?", trigger="regenerate-message"))
        error = await socket.receive()
        assert error.items() >= {"type": "error", "requestId": "r2"}.items()
        assert "does not exist" in error["errorText"]
        await server.follower.say("Hello")
        await socket.send("send", "r1", **question("c", "q1", "Hi?"))
        assert len([chunk async for chunk in socket.chunks("r1")]) == 5


async def test_each_request_is_authenticated_by_its_headers(tmp_path: Path) -> None:
    async with open_dialects(tmp_path, auth=True) as server:
        chat = (await server.http.post("/api/chats", json={}, headers=bearer("ann"))).json()["id"]
        await server.follower.say("Hello")
        token = bearer("ann")["Authorization"]
        async with open_socket(f"{server.url}", {"authorization": token}) as socket:
            await socket.send("send", "r1", **question(chat, "q1", "Hi?"))
            assert len([chunk async for chunk in socket.chunks("r1")]) == 5
        for headers, text in (({}, "send an access token"), ({"authorization": bearer("eve")["Authorization"]}, chat)):
            async with open_socket(server.url, headers) as socket:
                await socket.send("send", "r1", **question(chat, "q1", "Hi?"))
                error = await socket.receive()
                assert error["type"] == "error"
                assert text in error["errorText"]


@pytest.mark.parametrize(
    "text", ["", "x", "[]", "{}", '{"type":"send"}', '{"type":"other","requestId":""}', "[" * 99_999]
)
async def test_a_frame_of_no_request_closes_the_socket(server: DialectServer, text: str) -> None:
    async with open_socket(server.url) as socket:
        await socket.websocket.send(text)
        await assert_closed(socket, 1008, "invalid frame")


async def test_a_binary_or_too_large_frame_closes_the_socket(server: DialectServer) -> None:
    async with open_socket(server.url) as socket:
        await socket.websocket.send(b"{}")
        await assert_closed(socket, 1008, "invalid frame")
    async with open_socket(server.url) as socket:
        await socket.websocket.send("x" * 1_048_577)
        await assert_closed(socket, 1009, "")


async def test_requests_of_one_socket_are_limited_and_have_different_ids(
    server: DialectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ai_sdk_socket, "MAX_REQUESTS", 2)
    for ids in (["r1", "r1"], ["r1", "r2", "r3"]):
        async with open_socket(server.url) as socket:
            for number, request_id in enumerate(ids):
                await socket.send("send", request_id, **question("c", f"q{number}", "Hi?"))
            await asyncio.wait_for(socket.websocket.wait_closed(), 5)
            assert socket.websocket.close_code == 1008


async def test_an_idle_socket_is_closed_and_one_that_streams_is_not(
    server: DialectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ai_sdk_socket, "FIRST_FRAME_S", 0.1)
    async with open_socket(server.url) as socket:
        await assert_closed(socket, 1001, "idle")
    monkeypatch.setattr(ai_sdk_socket, "IDLE_S", 0.05)
    monkeypatch.setattr(ai_sdk_socket, "FIRST_FRAME_S", 15.0)
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("c", "q1", "Hi?"))
        assert (await socket.receive())["chunk"]["type"] == "start"
        await asyncio.sleep(0.2)  # four times the limit
        await server.follower.say("Hello")
        assert (await socket.receive())["sequence"] == 1


async def test_the_oldest_of_too_many_sockets_without_a_token_is_closed(
    server: DialectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ai_sdk_socket, "MAX_UNKNOWN", 2)
    async with open_socket(server.url) as known:
        await known.send("send", "r1", **question("c", "q1", "Hi?"))
        await known.receive()
        async with open_socket(server.url) as oldest, open_socket(server.url), open_socket(server.url):
            await assert_closed(oldest, 1001, "idle")
        await server.follower.say("Hello")
        assert (await known.receive())["sequence"] == 1


async def test_pages_of_other_origins_and_other_hosts_cannot_connect(tmp_path: Path) -> None:
    options = ApiOptions(allowed_hosts=("127.0.0.1",), allowed_origins=("https://app.example",))
    async with open_dialects(tmp_path, options=options) as server:
        for origin in ("https://app.example", server.url, None):
            async with open_socket(server.url, origin=origin):
                pass
        with pytest.raises(InvalidStatus) as refused:
            async with open_socket(server.url, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403
        assert b"ALLOWED_ORIGINS" in (refused.value.response.body or b"")
        port = server.url.rpartition(":")[2]
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://evil.example:{port}/api/ai/ws", host="127.0.0.1")
        assert refused.value.response.status_code == 421


async def test_beyond_the_limit_of_streams_a_request_gets_an_error(server: DialectServer) -> None:
    server.app.state.streams = ai_sdk_socket.OpenStreams(1)
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("c", "q1", "Hi?"))
        await socket.receive()
        await socket.send("send", "r2", **question("c", "q2", "And?"))
        error: dict[str, Any] = await socket.receive()
        assert (error["type"], error["requestId"]) == ("error", "r2")
        assert "repeat the request" in error["errorText"]


async def test_a_draining_process_closes_the_sockets(server: DialectServer) -> None:
    async with open_socket(server.url) as socket:
        await socket.send("send", "r1", **question("c", "q1", "Hi?"))
        await socket.receive()
        server.stop.set()
        await assert_closed(socket, 1012, "")


def test_frames_are_one_line_of_json() -> None:
    frame = {"text": "".join(map(chr, range(0x2100)))}
    text = ai_sdk_socket.encode(frame)
    assert text.splitlines() == [text]
    assert json.loads(text) == frame
