from __future__ import annotations

from pathlib import Path

import pytest

from roomcast.contract.rest import SearchPage
from support.api_client import bearer, open_api


async def test_a_user_searches_the_messages_of_its_chats_page_by_page(tmp_path: Path) -> None:
    ann, eve = bearer("ann"), bearer("eve")
    async with open_api(tmp_path, auth=True) as (client, _):
        chat_id = (await client.post("/api/chats", headers=ann, json={"title": "Lunch"})).json()["id"]
        sent = []
        for number in range(3):
            body = {"chatId": chat_id, "role": "USER", "content": f"😀 中午吃飯 {number}"}
            sent.append((await client.post("/api/chat/messages", headers=ann, json=body)).json()["id"])
        first = await client.get("/api/search", headers=ann, params={"q": "中午", "limit": 2})
        page = SearchPage.model_validate_json(first.content)
        assert [hit.message_id for hit in page.hits] == sent[:0:-1]
        assert page.complete
        hit = page.hits[0]
        assert (hit.chat_id, hit.chat_title, hit.user_id, hit.snippet, hit.matches) == (
            chat_id,
            "Lunch",
            "ann",
            "😀 中午吃飯 2",
            [(3, 5)],
        )
        second = await client.get("/api/search", headers=ann, params={"q": "中午", "cursor": page.next_cursor or ""})
        page = SearchPage.model_validate_json(second.content)
        assert ([hit.message_id for hit in page.hits], page.next_cursor) == (sent[:1], None)
        assert (await client.get("/api/search", headers=eve, params={"q": "中午"})).json()["hits"] == []
        assert (await client.get("/api/search", headers=eve, params={"q": "a", "chatId": chat_id})).status_code == 404
        filtered = await client.get(f"/api/chats/{chat_id}/messages", headers=ann, params={"author": "bob"})
        assert filtered.json()["messages"] == []


@pytest.mark.parametrize(
    "params",
    [{}, {"q": ""}, {"q": "x" * 201}, {"q": "a", "cursor": "x"}, {"q": "a", "limit": 0}, {"q": "a", "chatId": "/"}],
)
async def test_a_malformed_search_is_refused(tmp_path: Path, params: dict[str, str]) -> None:
    async with open_api(tmp_path) as (client, _):
        assert (await client.get("/api/search", params=params)).status_code == 422
        assert (await client.get("/api/search", params={"q": "\x00 ?"})).json()["hits"] == []
