"""The files of the page, their headers, and paths that try to leave the folder."""

from __future__ import annotations

import gzip
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from roomcast.api.options import ApiOptions
from roomcast.api.page import StaticPage, content_security_policy, gateway_sources


@pytest.fixture
def page(tmp_path: Path) -> Path:
    folder = tmp_path / "page"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>the page")
    (folder / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


def client(folder: Path, base_path: str = "") -> httpx.AsyncClient:
    app = StaticPage(ApiOptions(gateway_port=3001), folder)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, root_path=base_path), base_url="http://page")


@pytest.mark.parametrize("path", ["/", "/index.html", "/c/lobby", "/c/a.b~c"])
async def test_the_document_is_served_for_the_root_and_for_every_chat_and_not_cached(page: Path, path: str) -> None:
    async with client(page) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.text) == (200, "<!doctype html>the page")
    assert answer.headers["cache-control"] == "no-cache"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["referrer-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/socket.io/", "/favicon.ico", "/c", "/" + "a" * 300, "/" + "a/" * 3_000])
async def test_an_unknown_path_answers_the_document_with_status_404(page: Path, path: str) -> None:
    async with client(page) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.text) == (404, "<!doctype html>the page")


async def test_assets_are_cached_for_ever_and_a_missing_asset_is_a_404(page: Path) -> None:
    async with client(page) as http:
        assert "immutable" in (await http.get("/assets/app-1a2b.js")).headers["cache-control"]
        assert (await http.get("/assets/app-0000.js")).status_code == 404


@pytest.mark.parametrize(
    ("accepted", "served"),
    [
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, BR;q=0", "gzip"),
        ("*", "br"),
        ("*;q=0", None),
        ("identity", None),
        ("deflate, br ; q=0.0", None),
    ],
)
async def test_a_compressed_copy_is_served_to_clients_that_accept_it(
    page: Path, accepted: str, served: str | None
) -> None:
    script = "let a = 1;" * 200
    (page / "assets" / "app-1a2b.js").write_text(script)
    packed = gzip.compress(script.encode())  # once: it holds the time
    (page / "assets" / "app-1a2b.js.gz").write_bytes(packed)
    (page / "assets" / "app-1a2b.js.br").write_bytes(b"brotli")
    async with (
        client(page) as http,
        http.stream("GET", "/assets/app-1a2b.js", headers={"accept-encoding": accepted}) as answer,
    ):
        body = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers.get("content-encoding") == served
    assert body == {None: script.encode(), "gzip": packed, "br": b"brotli"}[served]
    assert answer.headers["content-type"].startswith("text/javascript")
    assert (answer.headers["vary"], "immutable" in answer.headers["cache-control"]) == ("Accept-Encoding", True)


DOCUMENT = """<!doctype html>
    <link rel="icon" href="./assets/icon.svg" />
    <script src="./theme.js"></script>
    <script type="module" crossorigin src="./assets/app-1a2b.js"></script>
    <a href="https://example.test/">./not a URL</a>
"""


@pytest.mark.parametrize("base_path", ["", "/chat", "/a/b"])
@pytest.mark.parametrize("path", ["/", "/index.html", "/c/lobby", "/nothing"])
async def test_the_urls_of_the_document_begin_with_the_base_path(page: Path, base_path: str, path: str) -> None:
    (page / "index.html").write_text(DOCUMENT)
    async with client(page, base_path) as http:
        answer = await http.get(path)
    assert answer.text == DOCUMENT.replace('="./', f'="{base_path}/')
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


async def test_a_base_path_of_another_server_is_escaped(page: Path) -> None:
    (page / "index.html").write_text(DOCUMENT)
    async with client(page, '/"><script>') as http:
        assert "<script>/" not in (await http.get("/")).text


@pytest.mark.parametrize("path", ["/", "/c/lobby", "/theme.js", "/assets/app-1a2b.js"])
async def test_a_file_that_has_not_changed_is_not_sent_again(page: Path, path: str) -> None:
    (page / "theme.js").write_text("2")
    async with client(page) as http:
        first = await http.get(path)
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = await http.get(path, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert [again.headers[name] for name in ("etag", "cache-control")] == [tag, first.headers["cache-control"]]
        for other in ('"other"', tag[:-2], ""):
            assert (await http.get(path, headers={"if-none-match": other})).content == first.content


async def test_an_error_is_sent_again(page: Path) -> None:
    async with client(page) as http:
        for path in ("/nothing", "/assets/nothing.js", "/api/nothing"):
            assert (await http.get(path, headers={"if-none-match": "*"})).status_code == 404


async def test_another_base_path_another_policy_and_another_build_change_the_etag_of_the_document(page: Path) -> None:
    (page / "index.html").write_text(DOCUMENT)
    tags = set()
    for base_path, host in (("", "a"), ("/chat", "a"), ("/chat", "b")):
        async with client(page, base_path) as http:
            tags.add((await http.get("/", headers={"host": host})).headers["etag"])
    (page / "index.html").write_text(DOCUMENT.replace("1a2b", "3c4d"))
    async with client(page) as http:
        tags.add((await http.get("/", headers={"host": "a"})).headers["etag"])
    assert len(tags) == 4


async def test_a_change_of_the_coding_changes_the_etag(page: Path) -> None:
    (page / "assets" / "app-1a2b.js.gz").write_bytes(b"another size")
    async with client(page) as http:
        tags = {(await http.get("/assets/app-1a2b.js", headers={"accept-encoding": "identity"})).headers["etag"]}
        async with http.stream("GET", "/assets/app-1a2b.js", headers={"accept-encoding": "gzip"}) as answer:
            tags.add(answer.headers["etag"])
    assert len(tags) == 2


@pytest.mark.parametrize(
    "path", ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/..%2f..%2fsecret.txt", "/..%5csecret.txt", "/%00"]
)
async def test_no_path_leaves_the_folder(page: Path, path: str) -> None:
    async with client(page) as http:
        assert "secret" not in (await http.get(path)).text


@pytest.mark.parametrize("path", ["/api", "/api/nothing"])
async def test_an_unknown_api_path_answers_a_problem_document(page: Path, path: str) -> None:
    async with client(page) as http:
        for method in ("GET", "POST", "DELETE"):
            answer = await http.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (404, "not-found")


async def test_only_get_and_head_are_allowed(page: Path) -> None:
    async with client(page) as http:
        assert (await http.post("/")).status_code == 405


async def test_a_websocket_is_rejected(page: Path) -> None:
    received: list[Message] = [{"type": "websocket.connect"}]
    sent: list[Message] = []

    async def receive() -> Message:
        return received.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    await StaticPage(page)({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


async def test_without_a_build_a_text_says_how_to_create_one(tmp_path: Path) -> None:
    async with client(tmp_path) as http:
        answer = await http.get("/")
    assert "make run" in answer.text


def test_the_policy_allows_the_gateway_and_no_inline_code() -> None:
    policy = content_security_policy(gateway_sources(ApiOptions(gateway_port=3001), "localhost:3000"))
    assert "connect-src 'self' http://localhost:3001 ws://localhost:3001;" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("host", "sources"),
    [
        ("localhost:3000", ["http://localhost:3001", "ws://localhost:3001"]),
        ("Box.Example", ["http://box.example:3001", "ws://box.example:3001"]),
        # A policy cannot name an IPv6 address.
        ("[::1]:3000", ["http://*:3001", "ws://*:3001"]),
        ("", []),
        ("*:3000", []),
        ("a; script-src 'unsafe-inline'", []),
        ("a b", []),
    ],
)
def test_the_page_may_connect_to_the_gateway_on_the_host_of_its_own_url(host: str, sources: list[str]) -> None:
    assert gateway_sources(ApiOptions(gateway_port=3001), host) == sources


def test_the_page_may_connect_to_the_gateway_at_the_configured_url_and_on_allowed_origins() -> None:
    # A source with a path would not cover the paths below.
    for url in ("https://gw.example", "https://gw.example/chat"):
        assert gateway_sources(ApiOptions(gateway_url=url), "x") == ["https://gw.example", "wss://gw.example"]
    allowed = ApiOptions(gateway_port=3001, allowed_origins=("https://chat.example", "tauri://localhost", "*"))
    assert gateway_sources(allowed, "x")[2:] == [
        "https://chat.example:3001",
        "wss://chat.example:3001",
        "http://*:3001",
        "ws://*:3001",
    ]
    assert gateway_sources(ApiOptions(), "x") == []
