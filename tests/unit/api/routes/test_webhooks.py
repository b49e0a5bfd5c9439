from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.auth.scopes import ServiceScope
from roomcast.chat.webhook_values import Undelivered, WebhookClaim
from roomcast.contract.tenants import qualify
from support.api_client import bearer, open_api, problem
from support.backend import START, new_message
from support.webhook_receiver import running_receiver, verify

URL = "https://hooks.example.com/roomcast?key=1"


async def create(client: httpx.AsyncClient, headers: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    response = await client.post("/api/webhooks", json={"url": URL, **fields}, headers=headers)
    assert response.status_code == 201
    created: dict[str, Any] = response.json()
    return created


async def test_a_webhook_is_created_changed_and_deleted_and_its_secret_is_shown_once(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, _):
        created = await create(client, events=["message-created"], chats=["c1"])
        path = f"/api/webhooks/{created['id']}"
        assert created.pop("secret").startswith("whsec_")
        assert created == {
            "id": created["id"],
            "url": URL,
            "events": ["message-created"],
            "chats": ["c1"],
            "active": True,
            "disabled": None,
            "createdAt": created["createdAt"],
            "waiting": 0,
            "dead": 0,
        }
        assert (await client.get(path)).json() == created
        assert (await client.get("/api/webhooks")).json() == {"webhooks": [created]}
        changed = await client.patch(path, json={"active": False, "chats": None, "url": "https://example.org"})
        assert changed.json() == created | {"active": False, "chats": None, "url": "https://example.org"}
        assert (await client.patch(path, json={})).json() == changed.json()
        assert (await client.delete(path)).status_code == 204
        for response in (
            await client.get(path),
            await client.patch(path, json={"active": True}),
            await client.delete(path),
            await client.post(f"{path}/secret", json={}),
            await client.post(f"{path}/test", json={}),
            await client.get(f"{path}/deliveries"),
            await client.post(f"{path}/replay", json={}),
        ):
            assert (response.status_code, problem(response)["code"]) == (404, "webhook-not-found")


async def test_only_administrators_manage_webhooks_and_only_those_of_their_tenant(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, _):
        admin = bearer("ops", scopes={ServiceScope.ADMIN})
        webhook = await create(client, admin, chats=["c1"])
        path = f"/api/webhooks/{webhook['id']}"
        for headers in (bearer("ann"), bearer("ops", scopes={ServiceScope.READ, ServiceScope.WRITE})):
            assert problem(await client.get("/api/webhooks", headers=headers))["code"] == "forbidden"
            assert (
                problem(await client.post("/api/webhooks", json={"url": URL}, headers=headers))["code"] == "forbidden"
            )
        other = bearer(qualify("acme", "ops"), scopes={ServiceScope.ADMIN})
        assert (await client.get("/api/webhooks", headers=other)).json() == {"webhooks": []}
        assert (await client.get(path, headers=other)).status_code == 404
        own = await create(client, other, chats=["c1"])
        assert own["chats"] == ["c1"]


@pytest.mark.parametrize(
    "body",
    [
        {"url": "ftp://example.com"},
        {"url": "https://"},
        {"url": "https://user:secret@example.com"},
        {"url": "https://example.com/#part"},
        {"url": "https://example.com/ space"},
        {"url": "https://example.com:99999"},
        {"url": "https://example.com:0"},
        {"url": "https://[::1:2::]"},
        {"url": "https://exam*ple.com"},
        {"url": URL, "events": []},
        {"url": URL, "events": ["unknown"]},
        {"url": URL, "chats": ["a b"]},
        {"url": URL, "secret": "mine"},
    ],
)
async def test_a_body_that_is_invalid_is_refused(tmp_path: Path, body: dict[str, Any]) -> None:
    async with open_api(tmp_path) as (client, _):
        assert problem(await client.post("/api/webhooks", json=body))["code"] == "invalid"


async def test_an_id_that_no_database_can_store_is_refused(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, _):
        assert problem(await client.get("/api/webhooks/a%00b"))["code"] == "invalid"


async def test_a_tenant_may_have_32_webhooks(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, _):
        for _ in range(32):
            await create(client)
        response = await client.post("/api/webhooks", json={"url": URL})
        assert (response.status_code, problem(response)["code"]) == (409, "too-many-entries")


async def test_a_test_is_signed_with_the_new_and_the_old_secret_after_a_rotation(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, _), running_receiver() as receiver:
        created = await create(client, url=receiver.url)
        path = f"/api/webhooks/{created['id']}"
        rotated = (await client.post(f"{path}/secret", json={})).json()
        outcome = (await client.post(f"{path}/test", json={})).json()
        assert (outcome["delivered"], outcome["status"], outcome["error"]) == (True, 200, None)
        (request,) = receiver.requests
        assert request.body["type"] == "ping"
        assert created["secret"] != rotated["secret"]
        for secret in (created["secret"], rotated["secret"]):
            assert verify(secret, request.headers, request.raw)
        receiver.answer = lambda _: (302, {"Location": receiver.url})
        outcome = (await client.post(f"{path}/test", json={})).json()
        assert (outcome["delivered"], outcome["status"]) == (False, 302)
        assert "redirects are not followed" in outcome["error"]
        await receiver.stop()
        outcome = (await client.post(f"{path}/test", json={})).json()
        assert (outcome["delivered"], outcome["status"], bool(outcome["error"])) == (False, None, True)


async def test_dead_events_are_listed_in_pages_and_replayed(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, backend):
        for _ in range(3):
            await backend.store.chats.commit(new_message("c"))
        first = (await client.get("/api/events")).json()
        created = await create(client)
        path = f"/api/webhooks/{created['id']}"
        claimed = await backend.store.webhooks.claim(START, START)
        assert claimed is not None
        dead = [
            Undelivered(position=n, chat_id="c", seq=n, attempts=4, tried_at=5, next_at=None, dead_at=9, status=500)
            for n in (1, 2, 3)
        ]
        await backend.store.webhooks.save(WebhookClaim(claimed.id, claimed.generation), 3, changed=dead)
        page = (await client.get(f"{path}/deliveries?limit=2")).json()["deliveries"]
        assert [(item["id"], item["chatId"], item["seq"], item["state"]) for item in page] == [
            (1, "c", 1, "dead"),
            (2, "c", 2, "dead"),
        ]
        assert (page[0]["attempts"], page[0]["status"], page[0]["nextAttemptAt"]) == (4, 500, None)
        page = (await client.get(f"{path}/deliveries?after=2")).json()["deliveries"]
        assert [item["seq"] for item in page] == [3]
        # The cursor of a delivery begins with its event.
        events = (await client.get("/api/events", params={"cursor": page[0]["cursor"]})).json()["events"]
        assert events == first["events"][2:]
        state = (await client.post(f"{path}/replay", json={"deliveryId": 2})).json()
        assert (state["waiting"], state["dead"]) == (1, 2)
        again = await client.post(f"{path}/replay", json={"deliveryId": 2})
        assert (again.status_code, problem(again)["code"]) == (404, "webhook-not-found")
        state = (await client.post(f"{path}/replay", json={})).json()
        assert (state["waiting"], state["dead"]) == (3, 0)
        waiting = (await client.get(f"{path}/deliveries?state=waiting")).json()["deliveries"]
        assert [item["seq"] for item in waiting] == [1, 2, 3]
        state = (await client.post(f"{path}/replay", json={"since": page[0]["cursor"]})).json()
        assert (state["waiting"], state["dead"]) == (2, 0)
        for cursor in ("nonsense", "eyJlcG9jaCI6Im90aGVyIiwic2VxIjo1fQ"):
            refused = await client.post(f"{path}/replay", json={"since": cursor})
            assert problem(refused)["errors"][0]["pointer"] == "/since"
