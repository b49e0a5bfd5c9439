from __future__ import annotations

from http import HTTPStatus

import httpx
import pytest

from roomcast.gateway.http import health_app
from roomcast.observability.http import PlainApp, json_response


def client() -> httpx.AsyncClient:
    app = health_app(
        lambda: 7, {"/ready": lambda: json_response(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready"})}
    )
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")


async def test_health_is_the_guides_json() -> None:
    async with client() as http:
        answer = await http.get("/health")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == '{"status":"healthy","service":"websocket-server","connections":7}'


async def test_further_routes_are_served_and_head_has_no_body() -> None:
    async with client() as http:
        answer, head = await http.get("/ready"), await http.head("/ready")
    assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
    assert (head.status_code, head.text, head.headers["content-length"]) == (503, "", str(len(answer.content)))


async def test_in_front_of_another_application_it_serves_only_its_own_paths() -> None:
    behind = health_app(lambda: 3)
    app = PlainApp({"/live": lambda: json_response(HTTPStatus.OK, {"status": "alive"})}, behind)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        answers = [(await http.get(path)).status_code for path in ("/live", "/health", "/ready")]
        assert answers == [200, 200, 404]
        assert (await http.post("/live")).status_code == 404


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/"), ("GET", "/healthz"), ("GET", "/health/"), ("POST", "/health"), ("HEAD", "/x")]
)
async def test_other_paths_and_methods_are_not_found(method, path) -> None:
    async with client() as http:
        answer = await http.request(method, path)
    assert answer.status_code == 404
