"""The built-in demo answers one user, and several only if they mention it."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.api_client import open_api


@pytest.mark.parametrize(("responder", "unasked"), [("demo", False), ("openai", True)])
async def test_the_demo_does_not_answer_between_two_people_unasked(
    tmp_path: Path, responder: str, unasked: bool
) -> None:
    async with open_api(tmp_path, responder=responder) as (client, _):

        async def asks(user_id: str, content: str) -> bool:
            body = {"chatId": "c", "role": "USER", "content": content, "userId": user_id}
            return (await client.post("/api/chat/messages", json=body)).json()["turn"] is not None

        assert await asks("ann", "hello")
        assert await asks("ann", "still alone")
        assert await asks("bob", "hi Ann") is unasked
        assert await asks("ann", "hi Bob") is unasked
        assert await asks("bob", "@ai what do you think?")
        # Named in the settings of the chat, it answers as the chat says.
        settings = {"answers": "always", "responder": responder}
        assert (await client.put("/api/chats/c/ai", json=settings)).status_code == 200
        assert await asks("bob", "and now?")
