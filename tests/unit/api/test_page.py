"""The page's files, their headers, and paths that want out of the folder."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from roomcast.api.page import StaticPage, content_security_policy


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>the page")
    (folder / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def client(folder: Path) -> httpx.AsyncClient:
    app = StaticPage(folder, ["http://localhost:3001", "ws://localhost:3001"])
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


@pytest.mark.parametrize("path", ["/", "/index.html", "/c/lobby", "/c/a.b~c"])
async def test_the_page_is_served_for_itself_and_for_every_chat_and_never_kept(page: Path, path: str) -> None:
    async with client(page) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, "<!doctype html>the page")
    assert answer.headers["cache-control"] == "no-cache"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/socket.io/", "/favicon.ico", "/c", "/" + "a" * 300, "/" + "a/" * 3_000])
async def test_an_unknown_path_is_the_page_for_people_and_a_404_for_programs(page: Path, path: str) -> None:
    async with client(page) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.text) == (404, "<!doctype html>the page")


async def test_hashed_assets_are_kept_for_ever_and_missing_ones_are_not_the_page(page: Path) -> None:
    async with client(page) as http:
        assert "immutable" in (await http.get("/assets/app-1a2b.js")).headers["cache-control"]
        assert (await http.get("/assets/app-0000.js")).status_code == 404


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/..%5csecret.txt", "/%00"]
)
async def test_no_path_leads_out_of_the_folder(page: Path, path: str) -> None:
    async with client(page) as http:
        assert "secret" not in (await http.get(path)).text


@pytest.mark.parametrize("path", ["/api", "/api/nothing"])
async def test_an_unknown_api_path_is_a_problem_and_not_the_page(page: Path, path: str) -> None:
    async with client(page) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_the_page_is_only_read(page: Path) -> None:
    async with client(page) as http:
        assert (await http.post("/")).status_code == 405


async def test_a_websocket_is_refused(page: Path) -> None:
    received: list[Message] = [{"type": "websocket.connect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await StaticPage(page)({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_without_a_build_a_text_says_what_to_do(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        answer = await http.get("/")
    assert "make run" in answer.text


def test_the_policy_names_the_gateway_and_no_inline_code() -> None:
    policy = content_security_policy(["ws://localhost:3001"])
    assert "connect-src 'self' ws://localhost:3001" in policy
    assert "unsafe" not in policy
