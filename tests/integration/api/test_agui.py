"""The endpoint of AG-UI, with answers that the tests write."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.agui_client import AgUiClient
from support.api_client import bearer, problem
from support.dialect_clients import read_events
from support.dialect_server import DialectServer, open_dialects
from support.waiting import until

HI = {"id": "q1", "role": "user", "content": "Hi?"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DialectServer]:
    """The API with authentication off."""
    async with open_dialects(tmp_path) as server:
        yield server


def run_input(messages: Sequence[dict[str, Any]], run_id: str = "r1", **changes: Any) -> dict[str, Any]:
    """A ``RunAgentInput`` as the official client sends it."""
    return {
        "threadId": "c",
        "runId": run_id,
        "protocolVersion": "1.0",
        "tools": [],
        "context": [],
        "forwardedProps": {},
        "state": {},
        "messages": list(messages),
        **changes,
    }


async def run(server: DialectServer, messages: Sequence[dict[str, Any]], **changes: Any) -> list[dict[str, Any]]:
    """All events of a run."""
    body = run_input(messages, **changes)
    async with server.http.stream("POST", "/api/ai/agui", json=body) as response:
        assert response.status_code == 200, await response.aread()
        return [event async for event in read_events(response)]


async def contents(server: DialectServer) -> list[str]:
    messages = (await server.http.get("/api/chats/c/messages")).json()["messages"]
    return [message["content"] for message in messages]


async def test_a_run_stores_the_message_and_streams_the_answer(server: DialectServer) -> None:
    await server.follower.say("Hello")
    events = await run(server, [HI])
    turn_id = events[0]["metadata"]["turnId"]
    assert events[0].items() >= {"type": "RUN_STARTED", "threadId": "c", "runId": "r1"}.items()
    client = AgUiClient([HI])
    client.apply(events)
    assert (client.text(turn_id), client.outcome) == ("Hello", "success")
    assert await contents(server) == ["Hi?"]


async def test_the_same_message_follows_the_same_turn_whatever_the_run(server: DialectServer) -> None:
    await server.follower.say("Hello")
    first, again, other = [await run(server, [HI], runId=run_id) for run_id in ("r1", "r1", "r2")]
    assert first == again
    assert other[0]["metadata"] == first[0]["metadata"]
    # A client that has loaded the history knows the message by its stored id.
    (message,) = (await server.http.get("/api/chats/c/messages")).json()["messages"]
    assert (await run(server, [{**HI, "id": message["id"]}]))[0] == first[0]
    assert await contents(server) == ["Hi?"]


async def test_a_cut_run_continues_after_what_the_client_has(server: DialectServer) -> None:
    client = AgUiClient([HI])
    await server.follower.say("Hello ", "world", end=False)
    async with server.http.stream("POST", "/api/ai/agui", json=run_input([HI])) as response:
        async for event in read_events(response):
            client.apply([event])
            if event.get("delta") == "world":
                break
    await until(lambda: server.follower.readers == 0)
    await server.follower.write({"type": "text-delta", "id": "0", "delta": " 👋"})
    await server.follower.write({"type": "text-end", "id": "0"}, {"type": "finish"}, end=True)
    turn_id = client.messages[-1]["id"]
    # The answer's message is stored by a worker, of which there is none: the active turn is followed.
    client.begin()
    events = await run(server, client.messages)
    client.apply(events)
    assert [event["delta"] for event in events if "delta" in event] == [" 👋"]
    assert client.text(turn_id) == "Hello world 👋"
    # A client that keeps no text names its position.
    epoch = (await server.http.get("/api/config")).json()["epoch"]
    position = {"id": turn_id, "role": "assistant", "metadata": {"epoch": epoch, "seq": 6}}
    assert [event["delta"] for event in await run(server, [position]) if "delta" in event] == ["world", " 👋"]


@pytest.mark.parametrize("messages", [[], [{"id": "greeting", "role": "assistant", "content": "Welcome"}]])
async def test_without_a_question_a_run_follows_the_active_turn(
    server: DialectServer, messages: list[dict[str, Any]]
) -> None:
    await server.http.post("/api/chats", json={"id": "c"})
    assert [event["type"] for event in await run(server, messages)] == ["RUN_STARTED", "RUN_FINISHED"]
    await server.http.post("/api/chat/messages", json={"chatId": "c", "role": "USER", "content": "Hi?"})
    await server.follower.say("Hello")
    assert [event["delta"] for event in await run(server, messages) if "delta" in event] == ["Hello"]


async def test_a_chat_that_does_not_answer_finishes_the_run_at_once(tmp_path: Path) -> None:
    async with open_dialects(tmp_path, responder=None) as server:
        assert [event["type"] for event in await run(server, [HI])] == ["RUN_STARTED", "RUN_FINISHED"]
        assert await contents(server) == ["Hi?"]


@pytest.mark.parametrize(
    "message",
    [
        {**HI, "content": ""},
        {**HI, "content": None},
        {**HI, "id": 1},
        {**HI, "content": [{"type": "image", "source": {"type": "url", "value": "x"}}]},
    ],
)
async def test_an_invalid_message_is_a_problem_before_the_stream(server: DialectServer, message: Any) -> None:
    await server.http.post("/api/chats", json={"id": "c"})
    response = await server.http.post("/api/ai/agui", json=run_input([message]))
    assert (response.status_code, problem(response)["code"]) == (422, "invalid")


async def test_text_parts_are_one_message(server: DialectServer) -> None:
    await server.follower.say("Hello")
    await run(server, [{**HI, "content": [{"type": "text", "text": "Hi,"}, {"type": "text", "text": "you?"}]}])
    assert await contents(server) == ["Hi,\n\nyou?"]


async def test_only_members_run(tmp_path: Path) -> None:
    async with open_dialects(tmp_path, auth=True) as server:
        chat = (await server.http.post("/api/chats", json={}, headers=bearer("ann"))).json()["id"]
        for headers, status in ((None, 401), (bearer("eve"), 404)):
            body = run_input([HI], threadId=chat)
            response = await server.http.post("/api/ai/agui", json=body, headers=headers)
            assert response.status_code == status
