"""Checks of host, content type and body size before the routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import BaseModel

from roomcast.api.durations import RequestDurations
from roomcast.api.middleware import Checks, RequestChecks, host_name
from roomcast.api.problems import install_problems
from support.waiting import until


def application() -> FastAPI:
    app = FastAPI()
    install_problems(app)

    @app.post("/echo")
    async def echo(request: Request) -> int:
        return len(await request.body())

    return app


def checked(app: FastAPI, **checks: Any) -> RequestChecks:
    return RequestChecks(app, RequestDurations({}), Checks(**checks))


def client(app: object) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:3000")  # type: ignore[arg-type]


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:3000", "localhost"),
        ("[::1]:3000", "[::1]"),
        ("127.0.0.1:1", "127.0.0.1"),
    ],
)
def test_a_host_header_names_a_host_without_its_port(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:3000", "", "[::1", "localhost@evil"]
)
async def test_another_host_is_rejected_as_misdirected(host: str) -> None:
    async with client(checked(application(), hosts=["localhost", "127.0.0.1", "[::1]"])) as http:
        answer = await http.post("/echo", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "misdirected")
    assert "ALLOWED_HOSTS" in answer.json()["detail"]


async def test_an_allowed_host_is_accepted() -> None:
    async with client(checked(application(), hosts=["localhost"])) as http:
        assert (await http.post("/echo", headers={"Host": "localhost:3000"})).json() == 0


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""])
async def test_a_body_without_a_json_content_type_is_rejected(kind: str) -> None:
    async with client(checked(application())) as http:
        answer = await http.post("/echo", content="{}", headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported-media-type")


async def test_json_with_a_charset_is_accepted() -> None:
    async with client(checked(application())) as http:
        answer = await http.post("/echo", content="{}", headers={"Content-Type": "application/json; charset=utf-8"})
    assert answer.json() == 2


@pytest.mark.parametrize(("size", "status"), [(10, 200), (11, 413)])
async def test_a_body_is_accepted_up_to_exactly_the_limit(size: int, status: int) -> None:
    async with client(checked(application(), limit_bytes=10)) as http:
        assert (await http.post("/echo", content=b"x" * size, headers=JSON)).status_code == status


async def test_a_chunked_body_is_rejected_while_it_is_read() -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1
            yield b"x" * 10

    async with client(checked(application(), limit_bytes=100)) as http:
        answer = await http.post("/echo", content=endless(), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (413, "too-large")


@pytest.mark.parametrize("declared", ["-1", "1e9", "9" * 40, "٣"])
async def test_an_invalid_or_too_large_content_length_is_rejected(declared: str) -> None:
    async with client(checked(application())) as http:
        headers = [(b"Content-Type", b"application/json"), (b"Content-Length", declared.encode())]
        answer = await http.post("/echo", content=b"{}", headers=headers)
    assert answer.status_code == 413
    # A proxy that is still sending the body would take the end of its connection for a failure of the server.
    assert "connection" not in answer.headers


class Body(BaseModel):
    """What `parsing_application` takes."""

    text: str


def parsing_application() -> FastAPI:
    app = FastAPI()
    install_problems(app)

    @app.post("/parse")
    async def parse(body: Body) -> str:
        return body.text

    return app


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"text":' * 100_000, b'{"text":"\xff"}', b'{"text":'])
async def test_a_body_that_cannot_be_parsed_is_the_fault_of_the_client(body: bytes) -> None:
    async with client(checked(parsing_application())) as http:
        answer = await http.post("/parse", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")


async def test_a_body_for_which_there_is_no_memory_is_the_fault_of_the_server(caplog: pytest.LogCaptureFixture) -> None:
    app = checked(parsing_application())

    async def without_memory(scope: Any, receive: Any, send: Any) -> None:
        async def fail() -> Any:
            raise MemoryError("no memory for the body")

        await app(scope, fail, send)

    async with client(without_memory) as http:
        answer = await http.post("/parse", content=b'{"text":"x"}', headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "no memory for the body" in caplog.text


async def test_unfinished_bodies_share_a_budget_and_the_one_that_was_begun_first_gets_503() -> None:
    app = checked(parsing_application(), unfinished_bytes=100)
    ends = [asyncio.Event() for _ in range(4)]
    begun: list[int] = []

    async def body(number: int) -> AsyncIterator[bytes]:
        yield b'{"text":"' + b"x" * 21
        begun.append(number)
        await ends[number].wait()
        yield b'"}'

    async with client(app) as http:

        async def post(number: int) -> httpx.Response:
            return await http.post("/parse", content=body(number), headers=JSON)

        posts = [asyncio.create_task(post(number)) for number in range(3)]
        await until(lambda: len(begun) == 3)
        assert not posts[0].done()
        posts.append(asyncio.create_task(post(3)))
        first = await asyncio.wait_for(posts[0], 5)
        assert (first.status_code, first.json()["code"], first.headers["retry-after"]) == (503, "unavailable", "5")
        for end in ends:
            end.set()
        assert [answer.status_code for answer in await asyncio.gather(*posts)] == [503, 200, 200, 200]
        # Nothing is counted any more.
        assert (await http.post("/parse", content=b'{"text":"' + b"x" * 80 + b'"}', headers=JSON)).status_code == 200
        ends[0].clear()
        posts = [asyncio.create_task(post(0)) for _ in range(3)]
        await until(lambda: len(begun) == 7)
        assert not any(one.done() for one in posts)
        ends[0].set()
        await asyncio.gather(*posts)
