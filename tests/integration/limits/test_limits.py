"""Rate limits of REST and sockets, with real processes and clients."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import socketio
import socketio.exceptions

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.clients import ChatClient, http_session
from support.processes import Roomcast

MESSAGE = {"chatId": "abused", "role": "USER", "content": "buy now"}
SECRET = "a secret of more than thirty-two bytes"
LIMITS = {
    "ROOMCAST_LIMIT_MESSAGES": "5",
    "ROOMCAST_LIMIT_BYTES": "1000",
    "ROOMCAST_LIMIT_CHAT_MESSAGES": "8",
    "ROOMCAST_LIMIT_REQUESTS": "10",
    "ROOMCAST_LIMIT_JOINS": "3",
    "ROOMCAST_LIMIT_TYPING": "3",
    "ROOMCAST_LIMIT_CONNECTIONS": "3",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roomcast]:
    env = {**LIMITS, "ROOMCAST_RESPONDER": "none", "ROOMCAST_SECRET": SECRET}
    with Roomcast.up(tmp_path_factory.mktemp("limits") / "data", env=env) as running:
        yield running


def token(user_id: str, *, service: bool = False) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=600, service=service)


def caller(server: Roomcast, user_id: str, *, service: bool = False) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token(user_id, service=service)}"}
    return httpx.AsyncClient(base_url=server.api_url, headers=headers)


async def create_chat(server: Roomcast, chat_id: str, *members: str) -> None:
    async with caller(server, "backend", service=True) as backend:
        (await backend.post("/api/chats", json={"id": chat_id, "members": list(members)})).raise_for_status()


async def send(client: httpx.AsyncClient, chat_id: str, content: str = "hello") -> httpx.Response:
    return await client.post("/api/chat/messages", json={"chatId": chat_id, "role": "USER", "content": content})


def assert_limited(response: httpx.Response, limit: str) -> None:
    body = response.json()
    assert (response.status_code, body["code"], body["limit"]) == (429, "rate-limited", limit)
    assert 1 <= int(response.headers["Retry-After"]) <= 60


async def test_messages_and_new_versions_are_limited_together_and_services_are_not(server: Roomcast) -> None:
    await create_chat(server, "a", "ann", "ben")
    async with caller(server, "ann") as ann, caller(server, "ben") as ben, caller(server, "x", service=True) as service:
        first = await send(ann, "a")
        edit = f"/api/chats/a/messages/{first.json()['id']}"
        for number in range(4):
            response = await ann.put(edit, json={"content": f"version {number}"})
            edit = f"/api/chats/a/messages/{response.json()['id']}"
            assert response.status_code == 201
        assert_limited(await send(ann, "a"), "messages")
        assert_limited(await ann.put(edit, json={"content": "again"}), "messages")
        assert (await send(ben, "a")).status_code == 201
        for _ in range(12):
            assert (await send(service, "a")).status_code == 201


async def test_an_abuser_is_answered_late_and_others_are_served(server: Roomcast) -> None:
    users = [f"user-{number}" for number in range(8)]
    await create_chat(server, "abused", "mallory", *users)
    statuses: Counter[int] = Counter()
    slowest_s = 0.0

    async def abuse(mallory: httpx.AsyncClient) -> None:
        nonlocal slowest_s
        while slowest_s < 1.0:
            began = time.perf_counter()
            statuses[(await mallory.post("/api/chat/messages", json=MESSAGE)).status_code] += 1
            slowest_s = max(slowest_s, time.perf_counter() - began)

    async with caller(server, "mallory") as mallory:
        began = time.monotonic()
        attacks = [asyncio.create_task(abuse(mallory)) for _ in range(8)]
        for user in users[:2]:
            async with caller(server, user) as client:
                assert (await send(client, "abused")).status_code == 201
        await asyncio.gather(*attacks)
        took_s = time.monotonic() - began
    assert statuses.keys() == {201, 429}
    assert statuses[201] <= 5 + took_s / 12 + 1


async def test_the_bytes_of_messages_are_limited(server: Roomcast) -> None:
    await create_chat(server, "b", "cleo")
    async with caller(server, "cleo") as cleo:
        assert (await send(cleo, "b", "\u4f60" * 300)).status_code == 201
        assert_limited(await send(cleo, "b", "\u4f60" * 300), "bytes")
        assert (await send(cleo, "b", "short")).status_code == 201


async def test_a_busy_chat_refuses_its_members_and_tells_others_nothing(server: Roomcast) -> None:
    await create_chat(server, "busy", "d1", "d2", "d3")
    async with caller(server, "d1") as one, caller(server, "d2") as two, caller(server, "eve") as eve:
        for number in range(4):  # eve, who is no member, uses up nothing
            assert (await send(eve, "busy")).status_code == 404
            assert (await send(one, "busy")).status_code == 201
            assert (await send(two, "busy")).status_code == 201, number
        async with caller(server, "d3") as three:
            assert_limited(await send(three, "busy"), "chat-messages")
        assert (await send(eve, "busy")).json()["code"] == "chat-not-found"


async def test_other_requests_are_limited_per_user(server: Roomcast) -> None:
    async with caller(server, "fay") as fay, caller(server, "gus") as gus:
        for _ in range(10):
            assert (await fay.get("/api/chats")).status_code == 200
        assert_limited(await fay.get("/api/chats"), "requests")
        assert_limited(await fay.post("/api/chats", json={}), "requests")
        assert (await gus.get("/api/chats")).status_code == 200


async def test_joins_and_typing_are_refused_with_the_time_to_wait(server: Roomcast) -> None:
    await create_chat(server, "j", "hal")
    async with ChatClient(server.gateway_url, auth={"token": token("hal")}) as hal:
        for _ in range(3):
            assert (await hal.join("j"))["ok"]
        refused = await hal.join("j")
        assert refused["error"]["code"] == "rate-limited"
        assert 1 <= refused["error"]["retryAfter"] <= 20
        for _ in range(3):
            assert (await hal.call("typing", "j"))["ok"]
        assert (await hal.call("typing", "j"))["error"]["retryAfter"] >= 1
        await hal.emit("typing", "j")
        name, error = await hal.next_event()
        while name != "error":
            name, error = await hal.next_event()
        assert (error["code"], error["retryAfter"] >= 1) == ("rate-limited", True)
        assert await hal.call("ping") == "pong"


async def test_a_client_that_ignores_refusals_is_disconnected_and_others_are_not(server: Roomcast) -> None:
    await create_chat(server, "k", "ida", "jon")
    async with (
        ChatClient(server.gateway_url, auth={"token": token("ida")}) as ida,
        ChatClient(server.gateway_url, auth={"token": token("jon")}) as jon,
    ):
        assert (await jon.join("k"))["ok"]
        for _ in range(200):
            await ida.emit("typing", "k")
        await asyncio.wait_for(ida.disconnected.wait(), 5)
        assert (await jon.call("typing", "k"))["ok"]


async def test_connections_are_limited_per_user(server: Roomcast) -> None:
    auth: dict[str, Any] = {"token": token("kim")}
    for _ in range(3):
        async with ChatClient(server.gateway_url, auth=auth):
            pass
    refused: list[Any] = []
    async with http_session() as session:
        client = socketio.AsyncClient(reconnection=False, http_session=session)
        client.on("connect_error", refused.append)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(server.gateway_url, auth=auth, transports=["websocket"])
        await client.disconnect()
    assert refused[0]["data"]["code"] == "rate-limited"
    assert 1 <= refused[0]["data"]["retryAfter"] <= 20
    async with ChatClient(server.gateway_url, auth={"token": token("leo")}):
        pass


async def test_a_user_has_a_limit_of_open_connections_until_one_is_closed(tmp_path: Path) -> None:
    env = {"ROOMCAST_RESPONDER": "none", "ROOMCAST_SECRET": SECRET, "ROOMCAST_LIMIT_OPEN_CONNECTIONS": "2"}
    auth = {"token": token("mia")}
    with Roomcast.up(tmp_path / "data", env=env) as running:
        async with ChatClient(running.gateway_url, auth=auth) as stays:
            async with ChatClient(running.gateway_url, auth=auth):
                with pytest.raises(socketio.exceptions.ConnectionError):
                    await ChatClient(running.gateway_url, auth=auth).__aenter__()
                async with ChatClient(running.gateway_url, auth={"token": token("noa")}):
                    pass
            assert await stays.call("ping") == "pong"
            # The server learns of the end of the second one in the background.
            for attempt in range(50):
                try:
                    async with ChatClient(running.gateway_url, auth=auth):
                        break
                except socketio.exceptions.ConnectionError:
                    assert attempt < 49
                    await asyncio.sleep(0.1)
