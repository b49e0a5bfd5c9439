"""The AI SDK over server-sent events, with answers that the tests write."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.api.dialects import sending
from roomcast.api.options import ApiOptions
from roomcast.chat.model import ANYONE
from support.api_client import bearer, problem
from support.dialect_clients import UiMessage, question, read_events
from support.dialect_server import DialectServer, open_dialects
from support.waiting import until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DialectServer]:
    """The API with authentication off."""
    async with open_dialects(tmp_path) as server:
        yield server


async def ask(server: DialectServer, message_id: str = "q1", text: str = "Hi?", **changes: Any) -> list[Any]:
    """All events of the answer to a message."""
    body = question("c", message_id, text, **changes)
    async with server.http.stream("POST", "/api/ai/chat", json=body) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in read_events(response)]


async def stored(server: DialectServer) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = (await server.http.get("/api/chats/c/messages")).json()["messages"]
    return messages


async def test_a_message_is_stored_and_its_answer_streamed_with_the_id_of_the_turn(server: DialectServer) -> None:
    await server.follower.say("Hello", " 👋")
    events = await ask(server)
    (message,) = await stored(server)
    assert (message["content"], message["clientMsgId"], message["userId"]) == ("Hi?", "q1", None)
    assert events == [
        {"type": "start", "messageId": message["turn"]["id"]},
        {"type": "text-start", "id": "0"},
        {"type": "text-delta", "id": "0", "delta": "Hello"},
        {"type": "text-delta", "id": "0", "delta": " 👋"},
        {"type": "text-end", "id": "0"},
        {"type": "finish"},
        "[DONE]",
    ]


async def test_the_message_has_its_id_before_the_answer_begins(server: DialectServer) -> None:
    async with server.http.stream("POST", "/api/ai/chat", json=question("c", "q1", "Hi?")) as response:
        events = read_events(response)
        first = await anext(events)
        (message,) = await stored(server)
        assert first == {"type": "start", "messageId": message["turn"]["id"]}
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        assert response.headers["content-type"].startswith("text/event-stream")
        assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")


async def test_a_repeated_request_stores_nothing_and_follows_the_same_turn(server: DialectServer) -> None:
    await server.follower.say("Hello")
    assert await ask(server) == await ask(server)
    assert len(await stored(server)) == 1


async def test_a_chat_that_does_not_answer_ends_the_stream_at_once(tmp_path: Path) -> None:
    async with open_dialects(tmp_path, responder=None) as server:
        assert await ask(server) == [{"type": "start"}, {"type": "finish"}, "[DONE]"]
        assert [message["content"] for message in await stored(server)] == ["Hi?"]


async def test_a_resume_replays_the_active_answer_from_its_beginning(server: DialectServer) -> None:
    assert (await server.http.get("/api/ai/chat/c/stream")).status_code == 204
    await server.follower.say("Hel", end=False)
    async with server.http.stream("POST", "/api/ai/chat", json=question("c", "q1", "Hi?")) as first:
        sent = UiMessage()
        sent.apply(await anext(read_events(first)))
    async with server.http.stream("GET", "/api/ai/chat/c/stream") as response:
        await server.follower.write({"type": "text-delta", "id": "0", "delta": "lo"})
        await server.follower.write({"type": "text-end", "id": "0"}, {"type": "finish"}, end=True)
        resumed = UiMessage()
        async for event in read_events(response):
            if event != "[DONE]":
                resumed.apply(event)
    assert (resumed.id, resumed.text) == (sent.id, "Hello")


async def test_a_client_that_leaves_frees_its_stream_and_does_not_stop_the_turn(server: DialectServer) -> None:
    async with server.http.stream("POST", "/api/ai/chat", json=question("c", "q1", "Hi?")) as response:
        events = read_events(response)
        await anext(events)
        await until(lambda: server.follower.readers == 1)
    await until(lambda: server.follower.readers == 0)
    (message,) = await stored(server)
    assert message["turn"]["status"] == "queued"


async def test_a_question_is_edited_by_its_id_again_and_again(server: DialectServer) -> None:
    await server.follower.say("Hello")
    ids = []
    for text in ("Hi?", "Bye?", "Hi?", "Bye?"):
        changes = {} if not ids else {"messageId": "q1"}
        events = await ask(server, "q1", text, **changes)
        assert events == await ask(server, "q1", text, **changes)  # repeated
        ids.append(events[0]["messageId"])
        (message,) = await stored(server)
        assert (message["content"], message["version"]) == (text, len(ids))
    assert len(set(ids)) == 4


async def test_an_answer_is_regenerated_by_its_id_or_after_its_question(server: DialectServer) -> None:
    await server.follower.say("Hello")
    first = (await ask(server))[0]["messageId"]
    # The turn waits: a repeat of the question is not a second answer.
    assert (await ask(server, trigger="regenerate-message"))[0]["messageId"] == first
    await server.backend.turns.stop(ANYONE, "c", first)
    second = (await ask(server, trigger="regenerate-message"))[0]["messageId"]
    assert second != first
    await server.backend.turns.stop(ANYONE, "c", second)
    third = (await ask(server, trigger="regenerate-message", messageId=second))[0]["messageId"]
    assert third not in {first, second}


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"messages": []}, 422, "invalid"),
        ({"messages": [{"id": "q", "role": "user"}]}, 422, "invalid"),
        ({"messages": [{"id": "q", "role": "assistant", "parts": []}]}, 422, "invalid"),
        ({"messages": [{"id": "q", "role": "user", "parts": [{"type": "file", "url": "x"}]}]}, 422, "invalid"),
        ({"messages": [{"id": "q", "role": "user", "parts": []}]}, 422, "invalid"),
        ({"messages": [{"id": "", "role": "user", "parts": [{"type": "text", "text": "x"}]}]}, 422, "invalid"),
        ({"id": "no spaces"}, 422, "invalid"),
        ({"trigger": "other"}, 422, "invalid"),
        ({"trigger": "regenerate-message", "messageId": "unknown"}, 404, "turn-not-found"),
        ({"messageId": "unknown"}, 404, "message-not-found"),
    ],
)
async def test_an_invalid_request_is_a_problem_before_the_stream(
    server: DialectServer, changes: dict[str, Any], status: int, code: str
) -> None:
    await server.http.post("/api/chats", json={"id": "c"})
    response = await server.http.post("/api/ai/chat", json=question("c", "q1", "Hi?", **changes))
    assert (response.status_code, problem(response)["code"]) == (status, code)
    assert await stored(server) == []


@pytest.mark.parametrize("name", ["\ud800", "a\0b"])
async def test_an_answer_with_a_name_that_no_database_takes_is_not_found(server: DialectServer, name: str) -> None:
    await server.http.post("/api/chats", json={"id": "c"})
    body = json.dumps(question("c", name, "Hi?", trigger="regenerate-message"))
    headers = {"Content-Type": "application/json"}
    response = await server.http.post("/api/ai/chat", content=body, headers=headers)
    assert (response.status_code, problem(response)["code"]) == (404, "turn-not-found")


async def test_only_members_read_and_ask_and_others_cannot_tell_that_the_chat_exists(tmp_path: Path) -> None:
    async with open_dialects(tmp_path, auth=True) as server:
        chat = (await server.http.post("/api/chats", json={}, headers=bearer("ann"))).json()["id"]
        await server.follower.say("Hello")

        async def responses(headers: dict[str, str] | None, chat_id: str) -> list[httpx.Response]:
            body = question(chat_id, "q1", "Hi?")
            post = await server.http.post("/api/ai/chat", json=body, headers=headers)
            return [post, await server.http.get(f"/api/ai/chat/{chat_id}/stream", headers=headers)]

        assert [response.status_code for response in await responses(bearer("ann"), chat)] == [200, 200]
        assert [response.status_code for response in await responses(None, chat)] == [401, 401]
        of_others = [problem(response)["code"] for response in await responses(bearer("eve"), chat)]
        of_none = [problem(response)["code"] for response in await responses(bearer("eve"), "none")]
        assert of_others == of_none == ["chat-not-found", "chat-not-found"]


async def test_a_removed_member_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PAUSE_S", 0.05)
    async with open_dialects(tmp_path, auth=True) as server:
        body = {"members": ["bob"]}
        chat = (await server.http.post("/api/chats", json=body, headers=bearer("ann"))).json()["id"]
        request = question(chat, "q1", "Hi?")
        async with server.http.stream("POST", "/api/ai/chat", json=request, headers=bearer("bob")) as response:
            events = read_events(response)
            assert (await anext(events))["type"] == "start"
            await server.http.delete(f"/api/chats/{chat}/members/bob", headers=bearer("ann"))
            error = await asyncio.wait_for(anext(events), 5)
            assert error["type"] == "error"
            assert "not a member" in error["errorText"]
        await until(lambda: server.follower.readers == 0)


async def test_a_waiting_stream_is_kept_open_by_comments(
    server: DialectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "PAUSE_S", 0.05)
    async with server.http.stream("POST", "/api/ai/chat", json=question("c", "q1", "Hi?")) as response:
        comments = [line async for line in _until_comment(response)]
    assert comments[-1] == ": keep-alive"


async def _until_comment(response: httpx.Response) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        yield line
        if line == ": keep-alive":
            return


async def test_beyond_the_limit_a_stream_gets_503_and_the_message_is_stored(server: DialectServer) -> None:
    server.app.state.streams = sending.OpenStreams(1)
    async with server.http.stream("POST", "/api/ai/chat", json=question("c", "q1", "Hi?")) as response:
        events = read_events(response)
        await anext(events)
        refused = await server.http.post("/api/ai/chat", json=question("c", "q2", "And?"))
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert problem(refused)["code"] == "unavailable"
    await until(lambda: server.follower.readers == 0)
    await server.follower.say("Hello")
    assert len(await ask(server, "q2", "And?")) == 6
    assert [message["content"] for message in await stored(server)] == ["Hi?", "And?"]


async def test_a_draining_process_cuts_streams_so_that_clients_resume_elsewhere(server: DialectServer) -> None:
    async with server.http.stream("POST", "/api/ai/chat", json=question("c", "q1", "Hi?")) as response:
        events = read_events(response)
        await anext(events)
        server.stop.set()
        with pytest.raises(httpx.RemoteProtocolError):  # the response has no end
            await asyncio.wait_for(anext(events), 5)


async def test_pages_of_allowed_origins_may_call(tmp_path: Path) -> None:
    async with open_dialects(tmp_path, options=ApiOptions(allowed_origins=("https://app.example",))) as server:
        await server.follower.say("Hello")
        headers = {"Origin": "https://app.example"}
        response = await server.http.post("/api/ai/chat", json=question("c", "q1", "Hi?"), headers=headers)
        assert response.headers["access-control-allow-origin"] == "https://app.example"
