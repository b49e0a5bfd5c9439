"""The page in a real Chromium below a path of nginx, which passes the path on, or removes it and reports it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.load_balancers import nginx
from support.ports import free_port
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

KEPT = """
location /chat/ {{ proxy_pass http://127.0.0.1:{api}; }}
location /chat/socket.io/ {{ proxy_pass http://127.0.0.1:{gateway}; }}
"""
STRIPPED = """
proxy_set_header X-Forwarded-Prefix /chat;
location /chat/ {{ proxy_pass http://127.0.0.1:{api}/; }}
"""


@contextlib.contextmanager
def below_chat(form: str, directory: Path) -> Iterator[str]:
    """Run `roomcast up` behind nginx, whose host has nothing but it, at ``/chat/``; the origin.

    Kept: API and gateway have a port each. Stripped: they share one.
    """
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    kept = {"ROOMCAST_BASE_PATH": "/chat", "GATEWAY_URL": origin}
    env = kept if form == "kept" else {"TRUSTED_PROXIES": "127.0.0.1"}
    server = Roomcast.up(directory / "data", one_port=form == "stripped", env=env)
    locations = (KEPT if form == "kept" else STRIPPED).format(api=server.api_port, gateway=server.gateway_port)
    with server, nginx(directory / "nginx", port, locations + "location / { return 404; }"):
        yield origin


def watched(page: Page) -> list[str]:
    """The URLs of all requests and websockets of a tab, from now on."""
    urls: list[str] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("websocket", lambda websocket: urls.append(websocket.url))
    return urls


async def stored_keys(tab: Tab) -> list[str]:
    found: list[str] = await tab.page.evaluate("[...Object.keys(localStorage), ...Object.keys(sessionStorage)]")
    return found


@pytest.mark.parametrize("form", ["kept", "stripped"])
async def test_the_page_is_whole_below_a_path_and_requests_nothing_outside(
    browser: Browser, tmp_path: Path, form: str
) -> None:
    with below_chat(form, tmp_path) as origin:
        chat = f"{origin}/chat"
        async with open_tab(browser, "about:blank") as ada, open_tab(browser, "about:blank") as ben:
            requested = [watched(tab.page) for tab in (ada, ben)]
            await ada.page.goto(f"{chat}/")
            await ada.enter("Ada")
            assert ada.page.url == f"{chat}/c/lobby"
            await ben.page.goto(f"{chat}/c/lobby")
            await ben.enter("Ben")
            await ada.say("hello")
            for tab in (ada, ben):
                await tab.is_answered()
                await tab.shows(2)
            await ada.by("theme-switch").click()
            await ada.page.reload()
            await ada.is_connected()
            await ada.shows(2)

            await ada.by("new-chat").click()
            await ada.by("new-chat-title").fill("Plans")
            await ada.by("new-chat-title").press("Enter")
            await expect(ada.by("chat-title")).to_have_text("Plans")
            assert ada.page.url.startswith(f"{chat}/c/")
            await ben.page.goto(ada.page.url)
            await ben.is_connected()
            await ada.say("a deep link")
            await ben.sees("a deep link")
            await ada.page.go_back()
            await ada.shows(2)
            assert ada.page.url == f"{chat}/c/lobby"
            await ada.page.locator("[data-testid=chat-item]", has_text="Plans").click()
            await ada.sees("a deep link")

            await ada.page.goto(f"{chat}/nowhere/at/all")
            await ada.page.locator(".notice a").click()
            await ada.is_connected()
            assert ada.page.url == f"{chat}/c/lobby"
            # Chromium logs the status of the document.
            assert [error for error in ada.errors if "404" not in error] == []
            ada.errors.clear()

            websockets = [url for url in requested[0] if url.startswith("ws")]
            assert websockets
            for url in (*requested[0], *requested[1]):
                assert url.partition("://")[2].startswith(f"{chat.partition('://')[2]}/"), url
            assert all(url.partition("?")[0].endswith("/chat/socket.io/") for url in websockets)
            # Deployments below other paths of the host have values of their own.
            assert {key.partition("/")[0] for key in await stored_keys(ada)} == {"chat"}
            await expect(ada.page.locator("html")).to_have_attribute("data-theme", "light", timeout=LIMIT_MS)
