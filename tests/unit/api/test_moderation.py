"""The errors of the moderation, as REST answers them. What it does: tests/unit/chat/use_cases/test_moderation.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from roomcast.api.app import create_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.chat.use_cases.moderation import Moderation
from roomcast.chat.use_cases.writing import ChatWriter
from roomcast.contract.moderation import Review
from roomcast.moderation.function import FunctionModerator
from support.api_client import open_api, problem
from support.backend import open_backend


@pytest.mark.parametrize(
    ("verdict", "status", "code", "detail"),
    [
        ({"action": "refuse", "reason": "be kind"}, 422, "message-refused", "be kind"),
        ({"action": "refuse"}, 422, "message-refused", "the moderation of this server refuses this text"),
        ("no verdict", 503, "unavailable", None),
    ],
)
async def test_a_refused_text_and_an_absent_hook_are_problems(
    tmp_path: Path, verdict: object, status: int, code: str, detail: str | None
) -> None:
    async def review(_review: Review) -> object:
        return verdict

    async with open_backend(tmp_path / "hook") as hooked:
        writer = ChatWriter(hooked.store.chats, hooked.relay, moderation=Moderation(FunctionModerator(review)))

        def create(services: ApiServices, options: ApiOptions | None) -> FastAPI:
            return create_api(replace(services, writer=writer), options)

        async with open_api(tmp_path / "api", create=create) as (client, _):
            body = {"chatId": "c", "role": "USER", "content": "hello"}
            response = await client.post("/api/chat/messages", json=body)
    found = problem(response)
    assert (found["status"], found["code"]) == (status, code)
    assert detail is None or found["detail"] == detail
    assert ("Retry-After" in response.headers) == (status == 503)
