from __future__ import annotations

from pathlib import Path

from roomcast.chat.commands import NewChat
from support.api_client import bearer, open_api, problem
from support.backend import START


async def test_members_rename_archive_and_delete_a_chat(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        ann, eve = bearer("ann"), bearer("eve")
        path = "/api/chats/c"
        assert (await client.put(f"{path}/title", json={"title": "Plans"}, headers=ann)).status_code == 204
        assert (await client.get(path, headers=ann)).json()["title"] == "Plans"
        assert problem(await client.put(f"{path}/title", json={"title": " "}, headers=ann))["code"] == "invalid"
        assert (await client.put(f"{path}/archive", headers=ann)).status_code == 204
        assert (await client.get("/api/chats", headers=ann)).json()["chats"] == []
        (listed,) = (await client.get("/api/chats", params={"archived": "true"}, headers=ann)).json()["chats"]
        assert (listed["id"], listed["archived"]) == ("c", True)
        send = {"chatId": "c", "role": "USER", "content": "hello"}
        refused = await client.post("/api/chat/messages", json=send, headers=ann)
        assert (refused.status_code, problem(refused)["code"]) == (409, "chat-archived")
        assert (await client.delete(f"{path}/archive", headers=ann)).status_code == 204
        assert "archived" not in (await client.get(path, headers=ann)).json()
        for method, where in (("PUT", f"{path}/archive"), ("DELETE", f"{path}/archive"), ("DELETE", path)):
            assert problem(await client.request(method, where, headers=eve))["code"] == "chat-not-found"
        assert (await client.delete(path, headers=ann)).status_code == 204
        for method, where in (("GET", path), ("GET", f"{path}/messages"), ("DELETE", path)):
            assert problem(await client.request(method, where, headers=ann))["code"] == "chat-not-found"
        taken = await client.post("/api/chats", json={"id": "c"}, headers=bearer("s", service=True))
        assert problem(taken)["code"] == "chat-exists"


async def test_a_direct_chat_is_the_same_for_both_users(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, _):
        opened = [
            (await client.post("/api/chats/direct", json={"userId": other}, headers=bearer(own))).json()
            for own, other in (("bob", "ann"), ("ann", "bob"))
        ]
        assert opened[0]["id"] == opened[1]["id"]
        assert (opened[0]["direct"], opened[0]["ai"]["answers"]) == (["ann", "bob"], "mention")
        for body in ({"userId": "ann"}, {"userId": "bob", "actingUserId": "eve"}):
            refused = await client.post("/api/chats/direct", json=body, headers=bearer("ann"))
            assert problem(refused)["code"] == "forbidden"
        added = await client.put(f"/api/chats/{opened[0]['id']}/members/eve", headers=bearer("ann"))
        assert problem(added)["code"] == "forbidden"
