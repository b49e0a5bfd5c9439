"""The scopes that service tokens need at the routes of the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from roomcast.api.dialects import agui_routes, ai_sdk, probe
from roomcast.api.routes.marks import mark_router
from roomcast.api.routes.messages import router
from roomcast.api.routes.search import search_router
from roomcast.api.routes.turns import turn_router
from roomcast.auth.scopes import ServiceScope
from support.api_client import bearer, open_api, problem

PUBLIC = {"/health", "/api/config"}
ROUTES = [
    (route.path, method)
    for each in (router, turn_router, mark_router, search_router, agui_routes.router, ai_sdk.router, probe.router)
    for route in each.routes
    if isinstance(route, APIRoute) and route.path not in PUBLIC
    for method in route.methods
]
BODIES = {
    "/api/ai/agui": {"threadId": "c", "runId": "r", "messages": []},
    "/api/ai/chat": {"id": "c", "messages": [{}], "trigger": "submit-message"},
}


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An API with authentication on."""
    async with open_api(tmp_path, auth=True) as (client, _):
        yield client


@pytest.mark.parametrize(("path", "method"), ROUTES)
async def test_a_service_token_needs_the_scope_of_each_route(
    guarded: httpx.AsyncClient, path: str, method: str
) -> None:
    needed = ServiceScope.READ if method == "GET" else ServiceScope.WRITE
    url = path.replace(":path", "").format(
        chat_id="c", user_id="ann", message_id="m" * 26, turn_id="t" * 26, emoji="👍"
    )
    body = BODIES.get(path)
    others = bearer("reports", scopes=set(ServiceScope) - {needed})
    refused = await guarded.request(method, url, headers=others, json=body)
    assert problem(refused)["code"] == "forbidden"
    assert f"service:{needed}" in refused.json()["detail"]
    assert refused.headers["WWW-Authenticate"] == f'Bearer error="insufficient_scope", scope="service:{needed}"'
    allowed = await guarded.request(method, url, headers=bearer("reports", scopes={needed}), json=body)
    assert allowed.status_code not in {401, 500}
    assert "scope" not in allowed.text  # a use case may refuse what a service cannot do


async def test_a_service_with_the_scope_write_may_not_read_and_the_reverse(guarded: httpx.AsyncClient) -> None:
    writer, reader = bearer("x", scopes={ServiceScope.WRITE}), bearer("x", scopes={ServiceScope.READ})
    assert (await guarded.post("/api/chats", json={"id": "scoped"}, headers=writer)).status_code == 201
    body = {"chatId": "scoped", "role": "AI", "content": "hello"}
    assert (await guarded.post("/api/chat/messages", json=body, headers=writer)).status_code == 201
    assert (await guarded.post("/api/chat/messages", json=body, headers=reader)).status_code == 403
    assert (await guarded.get("/api/chats/scoped/messages", headers=writer)).status_code == 403
    messages = (await guarded.get("/api/chats/scoped/messages", headers=reader)).json()["messages"]
    assert [message["content"] for message in messages] == ["hello"]
