"""Cursors and counts over REST."""

from __future__ import annotations

from pathlib import Path

from support.api_client import bearer, open_api, problem

ANN, BOB, EVE, SERVICE = bearer("ann"), bearer("bob"), bearer("eve"), bearer("crm", service=True)


async def test_a_member_reads_and_sees_the_cursors_of_the_chat(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, _backend):
        await client.post("/api/chats", json={"id": "c", "members": ["ann", "bob"]}, headers=SERVICE)
        sent = await client.post(
            "/api/chat/messages", json={"chatId": "c", "role": "USER", "content": "@ann"}, headers=BOB
        )
        seq = sent.json()["seq"]
        (chat,) = (await client.get("/api/chats", headers=ANN)).json()["chats"]
        assert (chat["unread"], chat["mentions"], chat["preview"]) == (1, 1, "@ann")
        for given in (seq, 0, seq + 5):
            assert (await client.put("/api/chats/c/read", json={"seq": given}, headers=ANN)).status_code == 204
        (chat,) = (await client.get("/api/chats", headers=ANN)).json()["chats"]
        assert (chat["unread"], chat["mentions"]) == (0, 0)
        listed = (await client.get("/api/chats/c/reads", headers=BOB)).json()
        assert {"userId": "ann", "seq": seq} in listed["reads"]
        # A service names the user, or no messages are counted.
        of_bob = await client.get("/api/chats/c", params={"userId": "bob"}, headers=SERVICE)
        assert of_bob.json()["unread"] == 0
        assert (await client.get("/api/chats/c", headers=SERVICE)).json()["unread"] is None


async def test_no_user_reads_for_another_or_in_a_hidden_chat(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, _backend):
        await client.post("/api/chats", json={"id": "c", "members": ["ann"]}, headers=SERVICE)
        for chat_id in ("c", "none"):
            path = f"/api/chats/{chat_id}"
            assert problem(await client.put(f"{path}/read", json={"seq": 1}, headers=EVE))["code"] == "chat-not-found"
            assert problem(await client.get(f"{path}/reads", headers=EVE))["code"] == "chat-not-found"
        as_ann = {"userId": "ann"}
        for refused in (
            await client.put("/api/chats/c/read", params=as_ann, json={"seq": 1}, headers=EVE),
            await client.get("/api/chats", params=as_ann, headers=EVE),
            await client.get("/api/chats/c", params=as_ann, headers=EVE),
            await client.put("/api/chats/c/read", json={"seq": 1}, headers=SERVICE),
        ):
            assert problem(refused)["code"] == "forbidden"
        for seq in (-1, "1", 2**53):
            refused = await client.put("/api/chats/c/read", json={"seq": seq}, headers=ANN)
            assert refused.status_code == 422
