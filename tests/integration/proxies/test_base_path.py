"""Page, API, gateway and AI clients below a path of a real nginx, which keeps or strips it, on two ports and on one."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.agui_client import AgUiClient
from support.clients import send
from support.dialect_clients import UiMessage, open_socket, question, read_events
from support.load_balancers import nginx
from support.ports import free_port
from support.processes import Roomcast, run_roomcast

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "web/node_modules/socket.io-client/build/esm-debug/index.js"
LIMIT_S = 20.0

#: The form of nginx's example in the documentation: the path is kept.
KEPT = """
    proxy_set_header X-Forwarded-Prefix "";
    location = /chat {{ return 308 /chat/; }}
    location /chat/ {{ proxy_pass http://127.0.0.1:{api}; }}
    location /chat/socket.io/ {{ proxy_pass http://127.0.0.1:{gateway}; }}
"""
#: The path is stripped, and named in a header.
STRIPPED = """
    proxy_set_header X-Forwarded-Prefix /chat;
    location = /chat {{ return 308 /chat/; }}
    location /chat/ {{ proxy_pass http://127.0.0.1:{api}/; }}
    location /chat/socket.io/ {{ proxy_pass http://127.0.0.1:{gateway}/socket.io/; }}
"""


#: nginx changes ``Host``, as it does by default, and says so.
INNER = [("Host $http_host;", "Host inner; proxy_set_header X-Forwarded-Host $http_host;")]


@dataclass(frozen=True)
class Site:
    """A server behind a proxy.

    Attributes:
        server: Its process.
        url: The URL below which the proxy serves it.
        one_port: Whether API and gateway share a port.
    """

    server: Roomcast
    url: str
    one_port: bool


@pytest.fixture(
    scope="module",
    params=[(form, one_port) for form in ("kept", "stripped") for one_port in (False, True)],
    ids=lambda param: f"{param[0]}-{'one port' if param[1] else 'two ports'}",
)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    form, one_port = request.param
    directory = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        port = free_port()
        # The proxy's Host is not among the allowed ones, but its X-Forwarded-Host is.
        env = {"TRUSTED_PROXIES": "127.0.0.1", "ALLOWED_HOSTS": "127.0.0.1"}
        if not one_port:
            env["GATEWAY_URL"] = f"http://127.0.0.1:{port}"
        if form == "kept":
            env["ROOMCAST_BASE_PATH"] = "/chat"
        server = Roomcast.up(directory / "data", one_port=one_port, env=env)
        locations = {"kept": KEPT, "stripped": STRIPPED}[form].format(api=server.api_port, gateway=server.gateway_port)
        stack.enter_context(nginx(directory / "nginx", port, locations, changes=INNER))
        stack.enter_context(server)
        yield Site(server, f"http://127.0.0.1:{port}/chat", one_port)


async def test_the_page_and_its_assets_are_served(site: Site) -> None:
    async with httpx.AsyncClient() as http:
        for path in ("/", "/c/lobby"):
            document = await http.get(f"{site.url}{path}")
            assert document.status_code == 200
            urls = re.findall(r'(?:src|href)="([^"]*)"', document.text)
            assert len(urls) > 2
            assert all(url.startswith("/chat/") for url in urls), urls
        for url in urls:
            answer = await http.get(httpx.URL(site.url).join(url))
            assert answer.status_code == 200
            assert answer.headers["content-type"].partition(";")[0] in {"text/javascript", "text/css", "image/svg+xml"}
            again = await http.get(answer.url, headers={"if-none-match": answer.headers["etag"]})
            assert again.status_code == 304
        moved = await http.get(site.url)
    assert (moved.status_code, httpx.URL(moved.headers["location"]).path) == (308, "/chat/")


async def test_the_configuration_names_the_gateway_below_the_base_path(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url) as http:
        gateway = (await http.get("/api/config")).json()["gateway"]
        policy = (await http.get("/")).headers["content-security-policy"]
    if site.one_port:
        assert gateway == {"url": None, "port": None}
    else:
        assert gateway["url"] == site.url
        assert f"connect-src 'self' {site.url.removesuffix('/chat')} ws://" in policy


async def test_rest_and_its_description_are_served(site: Site) -> None:
    await send(site.url, "rest", "hello")
    async with httpx.AsyncClient(base_url=site.url) as http:
        assert (await http.get("/api/chats/rest/messages")).json()["messages"][0]["content"] == "hello"
        document = (await http.get("/openapi.json")).json()
        assert document["servers"] == [{"url": "/chat"}]
        wrong = await http.delete("/api/chat/messages")
        assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
        assert (await http.get("/api/nothing")).json()["code"] == "not-found"
        for path in ("/health", "/live", "/ready"):
            assert (await http.get(path)).status_code == 200
    async with httpx.AsyncClient() as direct:
        for path in ("/health", "/live", "/ready"):
            for url in (site.server.api_url, site.server.gateway_url):
                assert (await direct.get(f"{url}{path}")).status_code == 200


@pytest.mark.node
@pytest.mark.parametrize("transports", ["polling,websocket", "websocket"])
async def test_the_official_client_receives_messages_on_every_transport(site: Site, transports: str) -> None:
    if not CLIENT.exists():
        pytest.fail(f"{CLIENT} is missing: make test installs it")
    origin, chat = site.url.removesuffix("/chat"), transports.replace(",", "-")
    command = ["node", str(HERE / "js/reader.mjs"), str(CLIENT), origin, transports, chat, "1", "/chat/socket.io/"]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]}
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            joined = json.loads(await process.stdout.readline())
            assert joined["joined"]["ok"] is True
            await send(site.url, chat, "hello")
            done: dict[str, Any] = json.loads(await process.stdout.readline())["done"]
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (done["errors"], done["seqs"]) == ([], [1])
    assert (done["transports"][0], done["transports"][-1]) == (transports.partition(",")[0], "websocket")


async def test_clients_of_the_ai_sdk_and_of_ag_ui_are_answered(site: Site) -> None:
    async with httpx.AsyncClient(base_url=site.url, timeout=LIMIT_S) as http:
        streamed = UiMessage()
        async with http.stream("POST", "/api/ai/chat", json=question("sdk", "m1", "hi")) as response:
            async for event in read_events(response):
                if event != "[DONE]":
                    streamed.apply(event)
        assert streamed.ended is not None
        assert streamed.ended["type"] == "finish"
        agent = AgUiClient([{"id": "m1", "role": "user", "content": "hi"}])
        run = {"threadId": "agui", "runId": "r", "messages": agent.messages}
        async with http.stream("POST", "/api/ai/agui", json=run) as response:
            agent.apply([event async for event in read_events(response)])
        assert agent.outcome == "success"
    # The page's own origin, as the proxy names it.
    async with open_socket(site.url, origin=site.url.removesuffix("/chat")) as socket:
        await socket.send("send", "r", **question("socket", "m1", "hi"))
        message = UiMessage()
        async for chunk in socket.chunks("r"):
            message.apply(chunk)
    assert message.text == streamed.text


@pytest.mark.parametrize(
    ("prefix", "host"),
    [("/forged", "evil.example"), ("//evil.example", 'a"b'), ('/"><script>', "a;b"), ("/a\tb", "a b"), ("/..", "a/b")],
)
async def test_what_a_client_forges_changes_nothing(site: Site, prefix: str, host: str) -> None:
    forged = {"X-Forwarded-Prefix": prefix, "X-Forwarded-Host": host}
    for url in (site.url, site.server.api_url):
        if url == site.server.api_url and prefix == "/forged":
            continue  # a valid prefix from an address that is trusted
        async with httpx.AsyncClient(base_url=url) as http:
            plain, answer = await http.get("/"), await http.get("/", headers=forged)
            assert (answer.status_code, answer.text) == (200, plain.text)
            assert answer.headers["content-security-policy"] == plain.headers["content-security-policy"]
            assert (await http.get("/api/config", headers=forged)).json() == (await http.get("/api/config")).json()


async def test_doctor_passes_the_proxy(site: Site) -> None:
    # Without its last check, which waits for half a minute.
    from roomcast.app.doctor.proxy import check_public_url

    findings = [finding async for finding in check_public_url(site.url, None, idle_s=0.1)]
    assert {finding.status for finding in findings} == {"ok"}, findings
    assert {"page", "streams", "polling", "websocket"} <= {finding.check for finding in findings}
    assert findings[0].text == f"{site.url} names the gateway {site.url}"


def test_the_printed_urls_have_the_base_path(site: Site) -> None:
    page = f"http://localhost:{site.server.api_port}"
    path = site.server.env.get("ROOMCAST_BASE_PATH")
    assert f"Chat page  {page}{'' if path is None else '/chat/'} " in site.server.output


def test_a_wrong_base_path_is_an_error_of_usage() -> None:
    run = run_roomcast("up", "--base-path", "chat")
    assert run.returncode == 2
    assert "--base-path is 'chat'; expected a path such as /chat" in run.stderr
