"""The official admin UI, unmodified, in a real Chromium against a server of this package."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import socketio  # the Python client
from playwright.async_api import Browser, expect
from starlette.staticfiles import StaticFiles

from roomcast.realtime import ServeOptions, Server, Site, serve
from roomcast.realtime.admin import AdminOptions, hash_password, instrument

pytestmark = [pytest.mark.browser, pytest.mark.node, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ROOT / "tests/integration/adapters/node/node_modules"
UI: Final = PACKAGES / "@socket.io/admin-ui/ui/dist"
SCENARIO: Final = ROOT / "tests/integration/realtime/js/admin.mjs"
CLIENT: Final = ROOT / "web/node_modules/socket.io-client/build/esm-debug/index.js"
PASSWORD_HASH: Final = hash_password("secret")


@asynccontextmanager
async def running(server: Server) -> AsyncIterator[str]:
    """The server, and the UI at its other paths; its URL."""
    stop = asyncio.Event()
    ready = asyncio.get_running_loop().create_future()
    site = Site(server.asgi(StaticFiles(directory=UI, html=True)), "127.0.0.1", 0)
    task = asyncio.create_task(serve([site], ServeOptions(on_ready=ready.set_result), stop=stop))
    try:
        yield f"http://127.0.0.1:{(await ready)[0][0][1]}"
    finally:
        stop.set()
        await task


async def test_the_ui_shows_clients_rooms_and_events(browser: Browser) -> None:
    assert UI.exists(), "run: make .make/node-peers"
    server = Server()
    instrument(server, AdminOptions(username="admin", password_hash=PASSWORD_HASH, mode="development"))

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        await server.enter_room(sid, "lobby")

    server.on("say", lambda sid, text: text)
    async with running(server) as url:
        page = await browser.new_page(locale="en-US")
        await page.route(lambda target: not target.startswith(url), lambda route: route.abort())  # fonts
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(url)
        await page.get_by_label("Server URL").fill(url)
        await page.get_by_label("Username").fill("admin")
        await page.get_by_label("Password").fill("wrong")
        await page.get_by_role("button", name="Connect").click()
        await expect(page.get_by_text("Invalid credentials")).to_be_visible()
        await page.get_by_label("Password").fill("secret")
        await page.get_by_role("button", name="Connect").click()
        await expect(page.get_by_label("Password")).to_be_hidden()

        async with socketio.AsyncSimpleClient() as client:
            await client.connect(url)
            await client.call("say", "hello")
            await page.goto(f"{url}/#/sockets/")
            await page.get_by_label("Select namespace").locator("xpath=ancestor::*[@role='button'][1]").click()
            await page.get_by_role("option", name="/", exact=True).click()
            await expect(page.get_by_text(client.sid)).to_be_visible()
            await page.goto(f"{url}/#/rooms/")
            await expect(page.get_by_text("lobby").first).to_be_visible()
            await page.goto(f"{url}/#/events/")
            await expect(page.get_by_text("say").first).to_be_visible()
        assert errors == []
        await page.close()


async def transcripts(mode: Any) -> dict[str, Any]:
    """What the official client sees in ``/admin`` of the official server side, and of this one."""
    node = shutil.which("node")
    assert node is not None
    server = Server()
    instrument(server, AdminOptions(username="admin", password_hash=PASSWORD_HASH, mode=mode))

    @server.event
    def connect(sid: str, environ: Any) -> None:
        server.socket(sid).data["user"] = "u"

    @server.on("hello")
    async def hello(sid: str, text: str) -> None:
        await server.emit("hi", (text, b"\x01"), to=sid)

    async with running(server) as url:
        arguments = map(str, (SCENARIO, CLIENT, PACKAGES, url, mode))
        process = await asyncio.create_subprocess_exec(
            node, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out))


async def test_the_ui_receives_what_the_official_server_side_sends() -> None:
    assert UI.exists(), "run: make .make/node-peers"
    for seen in await asyncio.gather(*map(transcripts, ("production", "development"))):
        assert seen["other"] == seen["node"]
