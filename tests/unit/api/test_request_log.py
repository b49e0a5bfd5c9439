"""The id of a request, and its log lines."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.api.app import create_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.observability.logs import LogLevel, LogOptions, configure_logging
from support.api_client import bearer, open_api

CONTENT = "recognisable-content"
TOKEN = "recognisable-token"


class Lines:
    """Configures JSON logging into a string."""

    def __init__(self) -> None:
        self._stream = io.StringIO()

    def start(self, level: LogLevel) -> None:
        configure_logging(LogOptions(level, "json"), self._stream)

    def read(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    @property
    def text(self) -> str:
        return self._stream.getvalue()


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    yield Lines()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def client() -> httpx.AsyncClient:
    # Without use cases, every route fails with an AttributeError: the 500 of these tests.
    app = create_api(
        ApiServices(*[None] * 11, personal=None),
        ApiOptions(allowed_origins=["https://page.example"]),
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.7", 4000))
    return httpx.AsyncClient(transport=transport, base_url="http://localhost:3000")


async def test_the_id_of_a_proxy_is_returned_and_is_in_every_line_of_the_request(lines: Lines) -> None:
    lines.start("debug")
    async with client() as api:
        answer = await api.get(
            "/api/chats/c1/messages",
            headers={"X-Request-Id": "proxy-1", "User-Agent": "tests/1", "Authorization": f"Bearer {TOKEN}"},
        )
    assert answer.status_code == 500
    assert answer.headers.get_list("x-request-id") == ["proxy-1"]
    (failed,) = lines.read("request failed")
    (answered,) = lines.read("request answered")
    assert failed["requestId"] == answered["requestId"] == "proxy-1"
    assert answered["seconds"] < 10
    assert {name: answered[name] for name in ("level", "method", "route", "status", "ip", "userAgent")} == {
        "level": "info",
        "method": "GET",
        "route": "/api/chats/{chat_id}/messages",
        "status": 500,
        "ip": "192.0.2.7",
        "userAgent": "tests/1",
    }
    assert TOKEN not in lines.text


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "é", '"},{"'])
async def test_an_id_that_is_none_is_replaced(lines: Lines, given: str) -> None:
    lines.start("debug")
    async with client() as api:
        answer = await api.get("/api/unknown", headers={"X-Request-Id": given.encode()})
    made = answer.headers["x-request-id"]
    assert len(made) == 32
    assert answer.json()["requestId"] == made
    (answered,) = lines.read("request answered")
    assert (answered["requestId"], answered["route"]) == (made, "unmatched")


async def test_simultaneous_requests_keep_their_own_ids_and_later_lines_have_none(lines: Lines) -> None:
    lines.start("debug")
    ids = [f"r{number}" for number in range(5)]
    async with client() as api:
        await asyncio.gather(*(api.get("/api/unknown", headers={"X-Request-Id": one}) for one in ids))
    logging.getLogger("roomcast.later").info("later")
    assert sorted(line["requestId"] for line in lines.read("request answered")) == ids
    assert "requestId" not in lines.read("later")[0]


async def test_lines_of_a_request_have_the_ids_of_user_and_chat(lines: Lines, tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True) as (api, _):
        body = {"members": []}
        chat_id = (await api.post("/api/chats", json=body, headers=bearer("ada"))).json()["id"]
        lines.start("debug")
        message = {"chatId": chat_id, "role": "USER", "content": CONTENT}
        await api.post("/api/chat/messages", json=message, headers=bearer("ada"))
        await api.get(f"/api/chats/{chat_id}/messages", headers=bearer("bob"))
        await api.get(f"/api/chats/{chat_id}/messages")
    (committed,) = lines.read("message committed")
    sent, refused, unknown = lines.read("request answered")
    assert {(line["userId"], line["chatId"]) for line in (committed, sent)} == {("ada", chat_id)}
    assert (refused["userId"], refused["chatId"], refused["status"]) == ("bob", chat_id, 404)
    assert (unknown.get("userId"), unknown["chatId"], unknown["status"]) == (None, chat_id, 401)
    assert CONTENT not in lines.text


async def test_fast_requests_without_a_fault_of_the_server_have_no_line_at_level_info(lines: Lines) -> None:
    lines.start("info")
    async with client() as api:
        await api.post(f"/api/{CONTENT}", json={"content": CONTENT}, headers={"Authorization": f"Bearer {TOKEN}"})
    assert lines.read("request answered") == []


async def test_a_line_has_no_path_body_or_token(lines: Lines) -> None:
    lines.start("debug")
    async with client() as api:
        await api.post(
            f"/api/{CONTENT}?token={TOKEN}", json={"content": CONTENT}, headers={"Authorization": f"Bearer {TOKEN}"}
        )
    assert len(lines.read("request answered")) == 1
    assert CONTENT not in "".join(map(str, lines.read("request answered")))
    assert TOKEN not in "".join(map(str, lines.read("request answered")))


async def test_pages_of_other_origins_may_send_and_read_the_id() -> None:
    page = {"Origin": "https://page.example"}
    ask = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "x-request-id"}
    async with client() as api:
        assert (await api.options("/api/unknown", headers=page | ask)).status_code == 200
        answer = await api.get("/api/unknown", headers=page)
    assert "X-Request-Id" in answer.headers["access-control-expose-headers"]
