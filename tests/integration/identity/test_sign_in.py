"""Sign-in at a real OpenID provider, with a real `roomcast up`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from support.clients import ChatClient
from support.open_id_provider import running_provider
from support.processes import Roomcast
from support.waiting import until

SECRET = "a secret of more than thirty-two bytes"


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The issuer of a provider."""
    with running_provider() as issuer:
        yield issuer


@pytest.fixture(scope="module")
def server(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roomcast]:
    """Everything in one process, at the public URL of a proxy."""
    env = {
        "ROOMCAST_RESPONDER": "none",
        "ROOMCAST_SECRET": SECRET,
        "ROOMCAST_OIDC_ISSUER": provider,
        "ROOMCAST_OIDC_CLIENT_ID": "chat",
        "ROOMCAST_OIDC_CLIENT_SECRET": "any",
        "ROOMCAST_PAGE_URL": "http://chat.example",
    }
    with Roomcast.up(tmp_path_factory.mktemp("sign-in") / "data", env=env) as running:
        yield running


class Browser:
    """A browser with cookies. The proxy of the public URL is the API itself."""

    def __init__(self, server: Roomcast, provider: str) -> None:
        self._provider = provider
        self.page = httpx.AsyncClient(base_url=server.api_url)

    async def sign_in(self, user_id: str, **form: str) -> httpx.Response:
        """Sign in at the provider; the response of the callback."""

        async def begun() -> httpx.Response | None:
            answer = await self.page.get("/api/auth/login", params={"return": "/c/lobby"})
            return answer if answer.status_code == 303 else None  # 503 until the provider has started

        begin = await until(begun)
        async with httpx.AsyncClient() as elsewhere:
            done = await elsewhere.post(begin.headers["location"], data={"sub": user_id, **form})
        target = urlsplit(done.headers["location"])
        assert f"{target.scheme}://{target.netloc}{target.path}" == "http://chat.example/api/auth/callback"
        return await self.page.get("/api/auth/callback", params=dict(parse_qsl(target.query)))


@pytest.fixture
async def browser(server: Roomcast, provider: str) -> AsyncIterator[Browser]:
    opened = Browser(server, provider)
    async with opened.page:
        yield opened


async def test_a_user_signs_in_chats_and_signs_out(browser: Browser, server: Roomcast) -> None:
    assert (await browser.page.get("/api/config")).json()["signIn"]
    assert (await browser.page.post("/api/auth/token")).status_code == 401
    done = await browser.sign_in("ann@example.org")
    assert (done.status_code, done.headers["location"]) == (303, "http://chat.example/c/lobby")
    cookie = next(value for value in done.headers.get_list("set-cookie") if value.startswith("roomcast-session="))
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    answer = await browser.page.post("/api/auth/token")
    assert (answer.headers["cache-control"], answer.json()["expiresIn"]) == ("no-store", 600)
    headers = {"Authorization": f"Bearer {answer.json()['token']}"}
    assert (await browser.page.get("/api/me", headers=headers)).json()["userId"] == "ann@example.org"
    async with ChatClient(server.gateway_url, auth={"token": answer.json()["token"]}) as client:
        assert (await client.call("join-user", "ann@example.org"))["ok"]
        session = browser.page.cookies["roomcast-session"]
        assert (await browser.page.post("/api/auth/logout")).status_code == 204
        # Its access token ends with the session, at sockets too.
        await asyncio.wait_for(client.disconnected.wait(), 5)
    assert (await browser.page.get("/api/me", headers=headers)).status_code == 401
    assert "roomcast-session" not in browser.page.cookies
    stolen = await browser.page.post("/api/auth/token", headers={"Cookie": f"roomcast-session={session}"})
    assert stolen.status_code == 401


async def test_a_refused_sign_in_returns_to_the_page(browser: Browser) -> None:
    done = await browser.sign_in("ann", action="deny")
    assert done.headers["location"] == "http://chat.example/?sign-in=failed"
    assert (await browser.page.post("/api/auth/token")).status_code == 401


async def test_another_browser_cannot_finish_a_sign_in(browser: Browser, server: Roomcast, provider: str) -> None:
    other = Browser(server, provider)
    async with other.page:
        other.page.cookies.clear()
        begin = await until(lambda: browser.page.get("/api/auth/login"))
        async with httpx.AsyncClient() as elsewhere:
            done = await elsewhere.post(begin.headers["location"], data={"sub": "ann"})
        callback = dict(parse_qsl(urlsplit(done.headers["location"]).query))
        refused = await other.page.get("/api/auth/callback", params=callback)
        assert refused.headers["location"].endswith("?sign-in=failed")
        assert "roomcast-session" not in other.page.cookies
        # The code still works where it was asked for, and works once.
        assert (await browser.page.get("/api/auth/callback", params=callback)).headers["location"].endswith("/")
        assert (await browser.page.get("/api/auth/callback", params=callback)).headers["location"].endswith("failed")


async def test_without_a_provider_there_are_no_such_routes(tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as plain:
        async with httpx.AsyncClient(base_url=plain.api_url) as client:
            assert not (await client.get("/api/config")).json()["signIn"]
            assert (await client.get("/api/auth/login")).status_code == 404
