from __future__ import annotations

import httpx
import pytest

from roomcast.gateway.http import HealthApp


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(HealthApp(lambda: 7)), base_url="http://gateway")


async def test_health_is_the_guides_json() -> None:
    async with client() as http:
        answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == '{"status":"healthy","service":"websocket-server","connections":7}'


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/healthz"), ("GET", "/health/"), ("POST", "/health"), ("HEAD", "/x")]
)
async def test_all_else_is_not_found(method, path) -> None:
    async with client() as http:
        answer = await http.request(method, path)
    assert answer.status_code == 404
