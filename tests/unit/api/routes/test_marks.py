from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from roomcast.chat.commands import NewChat
from support.api_client import bearer, open_api, problem
from support.backend import START


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        yield client


async def send(client: httpx.AsyncClient, user_id: str = "ann", **fields: object) -> str:
    body = {"chatId": "c", "role": "USER", "content": "hello", **fields}
    response = await client.post("/api/chat/messages", json=body, headers=bearer(user_id))
    message_id: str = response.json()["id"]
    return message_id


async def test_members_react_pin_reply_and_delete(client: httpx.AsyncClient) -> None:
    ann, bob = bearer("ann"), bearer("bob")
    message_id = await send(client)
    path = f"/api/chats/c/messages/{message_id}"
    for _ in range(2):
        assert (await client.put(f"{path}/reactions/👍", headers=bob)).status_code == 204
        assert (await client.put(f"{path}/pin", headers=bob)).status_code == 204
    reply = await send(client, "bob", replyTo=message_id)
    page = (await client.get("/api/chats/c/messages", headers=ann)).json()["messages"]
    assert page[0]["reactions"] == [{"emoji": "👍", "userIds": ["bob"]}]
    assert (page[0]["pinned"], "deleted" in page[0], page[1]["replyTo"]) == (True, False, message_id)
    assert [found["id"] for found in (await client.get("/api/chats/c/pins", headers=ann)).json()["messages"]] == [
        message_id
    ]
    assert [found["id"] for found in (await client.get(f"{path}/replies", headers=ann)).json()["messages"]] == [reply]
    assert (await client.delete(f"{path}/reactions/👍", headers=bob)).status_code == 204
    assert (await client.delete(f"{path}/pin", headers=bob)).status_code == 204
    assert problem(await client.delete(path, headers=bob))["code"] == "forbidden"
    assert (await client.delete(path, headers=ann)).status_code == 204
    page = (await client.get("/api/chats/c/messages", headers=ann)).json()["messages"]
    assert (page[0]["content"], page[0]["deleted"], "reactions" in page[0]) == ("", True, False)
    events = (await client.get("/api/chats/c/events", headers=ann)).json()["events"]
    assert [event["event"] for event in events[3:]] == ["reaction", "pin", "new-msg", "reaction", "pin", "msg-deleted"]


async def test_a_stranger_learns_nothing_of_a_message(client: httpx.AsyncClient) -> None:
    message_id, eve = await send(client), bearer("eve")
    path = f"/api/chats/c/messages/{message_id}"
    for method, where in (
        ("DELETE", path),
        ("PUT", f"{path}/reactions/👍"),
        ("DELETE", f"{path}/reactions/👍"),
        ("PUT", f"{path}/pin"),
        ("DELETE", f"{path}/pin"),
        ("GET", f"{path}/replies"),
        ("GET", "/api/chats/c/pins"),
    ):
        assert problem(await client.request(method, where, headers=eve))["code"] == "chat-not-found"


@pytest.mark.parametrize("emoji", ["a", "lol", "5", "👍" * 33, "é", "%20"])
async def test_only_an_emoji_is_a_reaction(client: httpx.AsyncClient, emoji: str) -> None:
    message_id = await send(client)
    response = await client.put(f"/api/chats/c/messages/{message_id}/reactions/{emoji}", headers=bearer("ann"))
    assert problem(response)["code"] == "invalid"


@pytest.mark.parametrize("emoji", ["👍🏽", "👨‍👩‍👧‍👦", "❤️", "🇹🇼", "1️⃣", "✅"])
async def test_emoji_of_several_characters_are_reactions(client: httpx.AsyncClient, emoji: str) -> None:
    message_id = await send(client)
    path = f"/api/chats/c/messages/{message_id}/reactions/{emoji}"
    assert (await client.put(path, headers=bearer("ann"))).status_code == 204


async def test_a_user_reacts_only_as_itself_and_a_service_as_any(client: httpx.AsyncClient) -> None:
    message_id = await send(client)
    path = f"/api/chats/c/messages/{message_id}/reactions/👍"
    assert problem(await client.put(path, params={"userId": "bob"}, headers=bearer("ann")))["code"] == "forbidden"
    service = bearer("bot", service=True)
    assert problem(await client.put(path, headers=service))["code"] == "forbidden"
    assert (await client.put(path, params={"userId": "bob"}, headers=service)).status_code == 204


async def test_concurrent_reactions_are_all_stored(client: httpx.AsyncClient) -> None:
    message_id = await send(client)
    service = bearer("bot", service=True)
    path = f"/api/chats/c/messages/{message_id}/reactions/👍"
    users = [f"u{number}" for number in range(40)]
    await asyncio.gather(*(client.put(path, params={"userId": user}, headers=service) for user in users))
    page = (await client.get("/api/chats/c/messages", headers=service)).json()["messages"]
    assert sorted(page[0]["reactions"][0]["userIds"]) == sorted(users)
