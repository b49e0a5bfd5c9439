from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from roomcast.chat.commands import NewChat
from roomcast.chat.use_cases.managing import invite_id
from support.api_client import bearer, open_api, problem
from support.backend import START

ANN, BOB, EVE = bearer("ann"), bearer("bob"), bearer("eve")
SERVICE = bearer("backend", service=True)
MEMBERS, BANS, INVITES = (f"/api/chats/c/{name}" for name in ("members", "bans", "invites"))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(NewChat("c", "Plans", None, START, "ann", ("bob",)))
        yield client


async def send(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    return await client.post(
        "/api/chat/messages", json={"chatId": "c", "role": "USER", "content": "hello"}, headers=headers
    )


async def test_roles_and_mutes_are_changed_and_listed(client: httpx.AsyncClient) -> None:
    change = await client.patch(f"{MEMBERS}/bob", json={"role": "moderator", "mutedFor": 60}, headers=ANN)
    assert change.status_code == 204
    ann, bob = (await client.get(MEMBERS, headers=ANN)).json()["members"]
    assert (ann["role"], ann["mutedUntil"], bob["role"]) == ("owner", None, "moderator")
    assert bob["mutedUntil"] is not None
    assert problem(await send(client, BOB))["code"] == "muted"
    assert (await client.patch(f"{MEMBERS}/bob", json={"mutedFor": 0}, headers=ANN)).status_code == 204
    assert (await send(client, BOB)).status_code == 201
    assert problem(await client.patch(f"{MEMBERS}/ann", json={"mutedFor": 5}, headers=BOB))["code"] == "forbidden"
    assert problem(await client.delete(f"{MEMBERS}/ann", headers=ANN))["code"] == "last-owner"
    assert problem(await client.patch(f"{MEMBERS}/eve", json={"role": "reader"}, headers=ANN))["code"] == (
        "member-not-found"
    )
    assert (await client.patch(f"{MEMBERS}/bob", json={"role": "king"}, headers=ANN)).status_code == 422
    assert (await client.put(f"{MEMBERS}/eve?role=reader", headers=BOB)).status_code == 204
    assert problem(await send(client, EVE))["code"] == "forbidden"


async def test_members_are_listed_in_pages_to_the_last_one(tmp_path: Path) -> None:
    users = [f"u{number:04}" for number in range(2_001)]
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(NewChat("c", "Large", None, START, None, tuple(users)))
        read: list[str] = []
        sizes = []
        for after in ("", "?after=u0999", "?after=u1999"):
            page = (await client.get(MEMBERS + after, headers=SERVICE)).json()
            read += [member["userId"] for member in page["members"]]
            sizes.append((len(page["members"]), page["hasMore"]))
    assert sizes == [(1_000, True), (1_000, True), (1, False)]
    assert read == users


async def test_a_banned_user_is_listed_and_kept_out(client: httpx.AsyncClient) -> None:
    assert (await client.put(f"{BANS}/bob?endsIn=600", headers=ANN)).status_code == 204
    assert problem(await client.get(MEMBERS, headers=BOB))["code"] == "chat-not-found"
    assert problem(await client.put(f"{MEMBERS}/bob", headers=SERVICE))["code"] == "banned"
    (ban,) = (await client.get(BANS, headers=ANN)).json()["bans"]
    assert (ban["userId"], ban["actorId"]) == ("bob", "ann")
    assert (await client.delete(f"{BANS}/bob", headers=ANN)).status_code == 204
    assert (await client.put(f"{MEMBERS}/bob", headers=ANN)).status_code == 204
    assert (await client.get(BANS, headers=ANN)).json() == {"bans": []}


async def test_a_link_is_previewed_accepted_listed_and_revoked(client: httpx.AsyncClient) -> None:
    created = await client.post(INVITES, json={"expiresIn": 60, "maxUses": 1}, headers=BOB)
    token = created.json()["token"]
    assert (created.status_code, created.json()["id"]) == (201, invite_id(token))
    preview = (await client.get(f"/api/invites/{token}", headers=EVE)).json()
    assert preview == {"title": "Plans", "memberCount": 2, "role": "member", "chatId": None}
    for _ in range(2):
        assert (await client.post(f"/api/invites/{token}", headers=EVE)).json()["id"] == "c"
    assert (await client.get(f"/api/invites/{token}", headers=EVE)).json()["chatId"] == "c"
    zoe = bearer("zoe")
    for method in ("GET", "POST"):
        refused = await client.request(method, f"/api/invites/{token}", headers=zoe)
        assert problem(refused)["code"] == "invite-not-found"
    second = (await client.post(INVITES, json={}, headers=BOB)).json()
    del second["token"]
    assert (await client.get(INVITES, headers=ANN)).json() == {"invites": [second]}
    assert (await client.get(INVITES, headers=EVE)).json() == {"invites": []}
    assert (await client.delete(f"{INVITES}/{second['id']}", headers=BOB)).status_code == 204
    assert (await client.get(INVITES, headers=SERVICE)).json() == {"invites": []}
    assert problem(await client.post(f"/api/invites/{'x' * 32}", headers=SERVICE))["code"] == "invite-not-found"


async def test_a_link_is_invalid_for_a_banned_user(client: httpx.AsyncClient) -> None:
    token = (await client.post(INVITES, json={}, headers=ANN)).json()["token"]
    assert (await client.put(f"{BANS}/eve", headers=ANN)).status_code == 204
    for method in ("GET", "POST"):
        refused = await client.request(method, f"/api/invites/{token}", headers=EVE)
        assert problem(refused)["code"] == "invite-not-found"
    assert (await client.delete(f"{BANS}/eve", headers=ANN)).status_code == 204
    assert (await client.get(f"/api/invites/{token}", headers=EVE)).json()["title"] == "Plans"
    assert (await client.post(f"/api/invites/{token}", headers=EVE)).status_code == 200


async def test_a_stranger_learns_nothing_of_a_chat(client: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", MEMBERS),
        ("PATCH", f"{MEMBERS}/ann"),
        ("GET", BANS),
        ("PUT", f"{BANS}/ann"),
        ("DELETE", f"{BANS}/ann"),
        ("GET", INVITES),
        ("POST", INVITES),
        ("DELETE", f"{INVITES}/{'a' * 64}"),
    ):
        body = {"json": {}} if method in {"PATCH", "POST"} else {}
        answers = [await client.request(method, path.replace("/c/", f"/{chat}/"), headers=EVE, **body) for chat in "cx"]
        codes = {(answer.status_code, problem(answer)["code"]) for answer in answers}
        assert codes == {(404, "chat-not-found")}
