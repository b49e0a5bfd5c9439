from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.auth.scopes import ServiceScope
from roomcast.chat.commands import NewChat
from support.api_client import bearer, open_api, problem
from support.backend import START

SHOP = bearer("shop", scopes=[ServiceScope.EVENTS])


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(tmp_path, auth=True) as (client, backend):
        for chat_id in ("c", "d"):
            await backend.store.chats.commit(NewChat(chat_id, None, None, START, None, ("ann",)))
        yield client


def event(event_id: str = "e-1", chat_id: str = "c", **fields: Any) -> dict[str, Any]:
    return {"chatId": chat_id, "id": event_id, "name": "order.paid", "data": {"total": 42}, **fields}


async def publish(client: httpx.AsyncClient, *events: dict[str, Any]) -> httpx.Response:
    return await client.post("/api/events", json={"events": events}, headers=SHOP)


async def test_a_batch_is_stored_once_and_listed_with_the_other_events(client: httpx.AsyncClient) -> None:
    for created in (True, False):
        response = await publish(client, event(), event(chat_id="d"), event("e-2", data={"nested": [{"é": None}]}))
        assert response.status_code == 200
        assert [(item["chatId"], item["id"], item["seq"], item["created"]) for item in response.json()["events"]] == [
            ("c", "e-1", 2, created),
            ("d", "e-1", 2, created),
            ("c", "e-2", 3, created),
        ]
    listed = (await client.get("/api/chats/c/events?after=1", headers=bearer("ann"))).json()["events"]
    assert [(item["event"], item["data"]["name"], item["data"]["data"]) for item in listed] == [
        ("custom", "order.paid", {"total": 42}),
        ("custom", "order.paid", {"nested": [{"é": None}]}),
    ]


async def test_an_unknown_chat_stores_nothing_of_the_batch(client: httpx.AsyncClient) -> None:
    response = await publish(client, event(), event(chat_id="none"))
    assert (response.status_code, problem(response)["code"]) == (404, "chat-not-found")
    assert (await publish(client, event())).json()["events"][0]["created"]


@pytest.mark.parametrize(
    "headers",
    [
        bearer("ann"),
        *(bearer("shop", scopes=[scope]) for scope in ServiceScope if scope is not ServiceScope.EVENTS),
    ],
)
async def test_only_a_service_with_the_scope_may_publish(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    response = await client.post("/api/events", json={"events": [event()]}, headers=headers)
    assert response.status_code == 403
    assert (await client.post("/api/events", json={"events": [event()]})).status_code == 401


def nested(levels: int) -> str:
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


@pytest.mark.parametrize(
    ("data", "valid"),
    [
        (nested(32), True),
        (nested(33), False),
        (nested(20_000), False),
        ('{"a":"%s"}' % ("x" * (32_768 - 8)), True),
        ('{"a":"%s"}' % ("x" * (32_768 - 7)), False),
        ('{"a":NaN}', False),
        (r'{"a":"\ud800"}', False),
        (r'{"a":"\u0000"}', True),
        ('{"a":1%s}' % ("0" * 5_000), False),
        ("[]", False),
        ("null", False),
    ],
)
async def test_data_is_a_json_object_within_limits(client: httpx.AsyncClient, data: str, valid: bool) -> None:
    body = '{"events":[{"chatId":"c","id":"e","name":"n","data":' + data + "}]}"
    response = await client.post("/api/events", content=body, headers={**SHOP, "content-type": "application/json"})
    assert response.status_code in ({200} if valid else {400, 422})
    if valid:
        listed = (await client.get("/api/chats/c/events?after=1", headers=bearer("ann"))).json()["events"]
        assert listed[0]["data"]["data"] == json.loads(data)


@pytest.mark.parametrize("name", ["", "Order", "order paid", ".order", "order.", "order..paid", "a" * 65, 5])
async def test_a_name_outside_the_pattern_is_refused(client: httpx.AsyncClient, name: object) -> None:
    assert (await publish(client, event(name=name))).status_code == 422


async def test_a_request_has_1_to_100_events(client: httpx.AsyncClient) -> None:
    many = [event(f"e-{number}") for number in range(101)]
    assert (await publish(client)).status_code == 422
    assert (await publish(client, *many)).status_code == 422
    assert (await publish(client, *many[:100])).status_code == 200


READER = bearer("bridge", scopes=[ServiceScope.READ])


async def test_a_service_follows_the_events_of_all_chats_with_a_cursor(client: httpx.AsyncClient) -> None:
    await publish(client, event(), event(chat_id="d"))
    page = (await client.get("/api/events?limit=3", headers=READER)).json()
    assert (len(page["events"]), page["more"], page["reset"]) == (3, True, False)
    rest = (await client.get("/api/events", params={"cursor": page["cursor"]}, headers=READER)).json()
    assert (len(rest["events"]), rest["more"]) == (1, False)
    seen = [(item["data"]["chatId"], item["seq"], item["event"]) for item in page["events"] + rest["events"]]
    assert sorted(seen) == [(chat, seq, name) for chat in "cd" for seq, name in ((1, "member-added"), (2, "custom"))]
    waiting = asyncio.create_task(
        client.get("/api/events", params={"cursor": rest["cursor"], "wait": 20}, headers=READER)
    )
    await publish(client, event("e-9"))
    assert [item["data"]["id"] for item in (await waiting).json()["events"]] == ["e-9"]


@pytest.mark.parametrize("headers", [bearer("ann"), SHOP])
async def test_only_a_service_that_may_read_follows_all_chats(
    client: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await client.get("/api/events", headers=headers)).status_code == 403


@pytest.mark.parametrize("cursor", ["x", "!", "é", "bnVsbA", "eyJlcG9jaCI6ImUiLCJzZXEiOi0xfQ", "W1tb" * 100])
async def test_an_invalid_cursor_is_refused(client: httpx.AsyncClient, cursor: str) -> None:
    response = await client.get("/api/events", params={"cursor": cursor}, headers=READER)
    assert response.status_code == 422
    assert "cursor" in response.text
