from __future__ import annotations

from pathlib import Path

from roomcast.chat.commands import NewChat
from support.api_client import bearer, open_api, problem
from support.backend import START, new_message


async def test_members_report_messages_and_moderators_list_and_close_reports(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START, "ann", ("b/b",)))
        message = new_message("c", user_id="ann", creates=None)
        await backend.store.chats.commit(message)
        path = f"/api/chats/c/messages/{message.id}/report"
        ann, bob, service = bearer("ann"), bearer("b/b"), bearer("ops", service=True)
        body = {"reason": "abuse", "note": "rude"}
        for _ in range(2):
            assert (await client.put(path, json=body, headers=bob)).status_code == 204
        assert problem(await client.put(path, json=body, headers=bearer("eve")))["code"] == "chat-not-found"
        assert problem(await client.put(path, json={"reason": "dull"}, headers=bob))["code"] == "invalid"
        assert problem(await client.put(path, json=body, headers=service))["code"] == "forbidden"
        assert problem(await client.get("/api/chats/c/reports", headers=bob))["code"] == "forbidden"
        for headers in (ann, service):
            (found,) = (await client.get("/api/chats/c/reports", headers=headers)).json()["reports"]
            assert found == {**body, "messageId": message.id, "userId": "b/b", "time": found["time"]}
        where = f"/api/chats/c/reports/{message.id}/b/b"
        assert problem(await client.delete(where, headers=bob))["code"] == "forbidden"
        assert (await client.delete(where, headers=ann)).status_code == 204
        assert (await client.get("/api/chats/c/reports", headers=ann)).json() == {"reports": []}
