from __future__ import annotations

from pathlib import Path

from roomcast.auth.scopes import ServiceScope
from roomcast.chat.commands import NewChat
from support.api_client import bearer, open_api, problem
from support.backend import START


async def test_administrators_read_the_audit_log_and_nobody_else_does(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START, "ann", ("bob",)))
        admin = bearer("ops", scopes={ServiceScope.ADMIN})
        page = (await client.get("/api/audit?limit=1&chatId=c", headers=admin)).json()["acts"]
        assert page == [
            {
                "id": page[0]["id"],
                "action": "member.added",
                "time": "2026-01-02T03:04:05.678Z",
                "chatId": "c",
                "actorId": "ann",
                "objectId": "bob",
                "trace": None,
            }
        ]
        older = await client.get(f"/api/audit?before={page[0]['id']}", headers=admin)
        assert [act["objectId"] for act in older.json()["acts"]] == ["ann"]
        for headers in (bearer("ann"), bearer("ops", scopes={ServiceScope.READ})):
            assert problem(await client.get("/api/audit", headers=headers))["code"] == "forbidden"
        assert problem(await client.get("/api/audit"))["code"] == "unauthorized"
