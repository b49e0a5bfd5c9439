from __future__ import annotations

import json
from pathlib import Path

from roomcast.auth.scopes import ServiceScope
from support.api_client import bearer, open_api, problem
from support.backend import new_message

ADMIN = bearer("ops", scopes={ServiceScope.ADMIN})


async def test_a_user_and_an_administrator_export_its_data(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(new_message("c", "hello", user_id="a/b", client_msg_id="k"))
        for headers in (ADMIN, bearer("a/b")):
            response = await client.get("/api/users/a/b/export", headers=headers)
            assert response.headers["content-type"] == "application/x-ndjson"
            message, end = map(json.loads, response.text.splitlines())
            assert (message["table"], message["content"], message["clientMsgId"]) == ("messages", "hello", "k")
            assert end == {"table": "end"}
        for refused in (bearer("ann"), bearer("ops", scopes={ServiceScope.READ})):
            response = await client.get("/api/users/a/b/export", headers=refused)
            assert problem(response)["code"] == "forbidden"


async def test_an_administrator_erases_a_user_whose_tokens_end(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(new_message("c", "hello", user_id="ann"))
        token = bearer("ann")
        for refused in (token, bearer("ops", scopes={ServiceScope.WRITE})):
            assert problem(await client.delete("/api/users/ann/data", headers=refused))["code"] == "forbidden"
        accepted = await client.delete("/api/users/ann/data", headers=ADMIN)
        assert accepted.status_code == 202
        assert (accepted.json()["doneAt"], accepted.json()["erased"]) == (None, 0)
        erasure_id = accepted.json()["id"]
        assert (await client.get(f"/api/erasures/{erasure_id}", headers=ADMIN)).json() == accepted.json()
        assert problem(await client.get("/api/me", headers=token))["code"] == "unauthorized"
        assert problem(await client.get("/api/erasures/erased-0123456789abcdef", headers=ADMIN))["code"] == "not-found"
        other = bearer("acme\x1fops", scopes={ServiceScope.ADMIN})
        assert problem(await client.get(f"/api/erasures/{erasure_id}", headers=other))["code"] == "not-found"
