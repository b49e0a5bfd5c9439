"""The direct route answers as the declared one: same status, headers and body, for any request."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from roomcast.api.app import create_api, create_internal_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.chat.commands import NewChat
from roomcast.chat.errors import StoreUnavailable
from support.api_client import bearer, open_api
from support.backend import START

HELLO = {"chatId": "c", "role": "USER", "content": "hello"}


def bodies() -> Iterator[bytes]:
    for changes in (
        {},
        {"clientMsgId": "k"},
        {"clientMsgId": "k", "content": "a repeat"},
        {"clientMsgId": "l", "userId": "ann"},
        {"userId": "other"},
        {"role": "AI"},
        {"role": "user"},
        {"content": ""},
        {"content": " "},
        {"content": "x" * 40_000},
        {"content": "\ud83d\ude00 \u0000"},
        {"content": 5},
        {"content": None},
        {"chatId": "unknown"},
        {"chatId": "a b"},
        {"extra": 1},
    ):
        yield json.dumps(HELLO | changes).encode()
    yield b""
    yield b"nonsense"
    yield b"[]"
    yield b"null"
    yield b"[" * 100_000
    yield json.dumps(HELLO).encode("utf-16")
    yield b'\xef\xbb\xbf{"chatId":"c","role":"USER","content":"bom"}'
    yield b'{"chatId":"c","role":"USER","content":"\\ud800"}'
    yield b'{"chatId":"c","role":"USER","content":"\xff"}'
    yield b'{"chatId":"c","role":"USER","content":"first","content":"second"}'
    yield b'{"chatId":"c","role":"USER","content":"x"} more'
    yield b' {"chatId":"c","role":"USER","content":"space"} '


def comparable(response: httpx.Response) -> tuple[int, dict[str, str], str]:
    """Status, headers and body, without what differs between two requests: ids, times, the epoch."""
    headers = {name: value for name, value in response.headers.items() if name != "x-request-id"}
    body = re.sub(r'"(id|time|epoch|requestId)":\s*"[^"]*"', r'"\1":""', response.text)
    return response.status_code, headers, body


@pytest.mark.parametrize("auth", [False, True])
async def test_every_request_is_answered_as_by_the_declared_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: bool
) -> None:
    async def answers(folder: str, *, direct: bool) -> list[Any]:
        def create(services: ApiServices, options: ApiOptions | None) -> FastAPI:
            with monkeypatch.context() as patch:
                if not direct:
                    patch.setattr("roomcast.api.app.direct_send", lambda declared, *_: declared)
                nonlocal app
                app = create_api(services, options)
                return app

        app = FastAPI()
        async with open_api(tmp_path / folder, auth=auth, create=create) as (client, backend):
            tokens = [bearer("ann"), bearer("bob"), bearer("x", service=True), {}] if auth else [{}]
            await client.post("/api/chats", json={"id": "c", "members": ["ann"]}, headers=bearer("x", service=True))
            found: list[Any] = []
            for body, (number, token) in itertools.product(bodies(), enumerate(tokens)):
                headers = {"Content-Type": "application/json", **token}
                response = await client.post("/api/chat/messages", content=body, headers=headers)
                found.append((body[:80], number, *comparable(response)))
            methods = ("GET", "PUT", "OPTIONS", "HEAD")
            found += [comparable(await client.request(method, "/api/chat/messages")) for method in methods]
            good: dict[str, Any] = {"json": HELLO, "headers": tokens[0]}
            for refused in ({"content-type": "text/plain"}, {"content-length": "9999999"}, {"host": ""}):
                headers = {**tokens[0], **refused}
                found.append(comparable(await client.post("/api/chat/messages", json=HELLO, headers=headers)))
            with monkeypatch.context() as patch:
                patch.setattr(backend.relay, "offer", None)  # a bug
                found.append(comparable(await client.post("/api/chat/messages", **good)))
            with monkeypatch.context() as patch:
                patch.setattr(backend.store.chats, "commit", failing(StoreUnavailable("disk full")))
                found.append(comparable(await client.post("/api/chat/messages", **good)))
            counted = {key: sum(histogram.counts) for key, histogram in app.state.durations.items()}
            return [*found, counted]

    direct = await answers("direct", direct=True)
    assert direct == await answers("declared", direct=False)
    assert {status for *_, status, _, _ in direct[:-1]} >= {200, 201, 400, 405, 413, 415, 422, 500, 503}


ASK = {"chatId": "c", "userId": "ann"}
ASKED = (
    {"asks": []},
    {"asks": [ASK]},
    {"asks": [ASK, {"chatId": "c", "userId": "eve"}, {"chatId": "none", "userId": "ann"}]},
    {"asks": [ASK | {"since": {"epoch": "gone", "seq": 3}}, ASK | {"since": None}]},
    {"asks": [ASK | {"since": {"epoch": "gone", "seq": 3.0}}]},
    {"asks": [ASK | {"since": {"epoch": "gone", "seq": -1}}]},
    {"asks": [{"chatId": "c"}]},
    {"asks": [{"chatId": "c", "userId": None}]},
    {"asks": [{"chatId": "a b"}]},
    {"asks": [{"chatId": 5}]},
    {"asks": [ASK | {"extra": 1}]},
    {"asks": [ASK] * 256},
    {"asks": [ASK] * 257},
    {"asks": None},
    {"asks": {}},
    {},
    [],
    None,
)


@pytest.mark.parametrize("auth", [False, True])
async def test_every_question_of_a_gateway_is_answered_as_by_the_declared_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: bool
) -> None:
    async def answers(folder: str, *, direct: bool) -> list[Any]:
        def create(services: ApiServices, options: ApiOptions | None) -> FastAPI:
            with monkeypatch.context() as patch:
                if not direct:
                    patch.setattr("roomcast.api.app.direct_admissions", lambda declared, *_: declared)
                nonlocal app
                app = create_internal_api(services, options)
                return app

        app = FastAPI()
        path = "/api/internal/admissions"
        async with open_api(tmp_path / folder, auth=auth, create=create) as (client, backend):
            await backend.store.chats.commit(NewChat("c", None, None, START, "ann"))
            service = bearer("gateway", service=True)
            tokens = [service, bearer("ann"), {"Authorization": "Bearer a.b.c"}, {}] if auth else [{}]
            contents = [*(json.dumps(asked).encode() for asked in ASKED), b"", b"nonsense", b'{"asks":[]} more']
            found: list[Any] = []
            for content, token in itertools.product(contents, tokens):
                headers = {"Content-Type": "application/json", **token}
                found.append(comparable(await client.post(path, content=content, headers=headers)))
            found += [comparable(await client.request(method, path)) for method in ("GET", "PUT", "OPTIONS", "HEAD")]
            for failure in (StoreUnavailable("disk full"), RuntimeError("a bug")):
                with monkeypatch.context() as patch:
                    patch.setattr(backend.store.chats, "access", failing(failure))
                    found.append(comparable(await client.post(path, json={"asks": [ASK]}, headers=tokens[0])))
            with monkeypatch.context() as patch:
                patch.setattr("roomcast.api.routes.internal._admit", None)  # a bug
                found.append(comparable(await client.post(path, json={"asks": [ASK]}, headers=tokens[0])))
            counted = {key: sum(histogram.counts) for key, histogram in app.state.durations.items()}
            return [*found, counted]

    direct = await answers("direct", direct=True)
    assert direct == await answers("declared", direct=False)
    assert {status for status, _, _ in direct[:-1]} >= {200, 400, 405, 422, 500} | ({401, 403} if auth else set())


def failing(error: Exception) -> Any:
    """A coroutine function that raises the error."""

    async def fail(*_: object) -> None:
        raise error

    return fail
