"""The official clients of the AI SDK and of AG-UI, unmodified, in a real Chromium against a real `roomcast up`."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Browser, Page

from support.processes import Roomcast
from support.tcp_proxy import TcpProxy
from support.waiting import until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.official_clients,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(120),
]

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "tests/e2e/official/dist"
DIALECTS: Final = ("sse", "ws", "agui")
LIMIT_S: Final = 20.0


@dataclass(frozen=True)
class Setup:
    """A server, and the origin of the page with the official clients."""

    server: Roomcast
    origin: str


class _Files(SimpleHTTPRequestHandler):
    """Serves files without a line for each request."""

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The page, on an origin of its own as that of another application."""
    handler = partial(_Files, directory=str(PAGE))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as static:
        thread = Thread(target=static.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{static.server_port}"
        static.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def setup(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """One server for all tests, with answers of the tests' pace; its port has Socket.IO's websockets, too."""
    env = {
        "PYTHONPATH": str(ROOT / "tests"),
        "ROOMCAST_RESPONDER": "support.paced_responder:answer",
        "ALLOWED_ORIGINS": origin,
    }
    with Roomcast.up(tmp_path_factory.mktemp("data"), one_port=True, env=env) as running:
        yield Setup(running, origin)


class Client:
    """A page with one of the official clients."""

    def __init__(self, page: Page, setup: Setup, port: int | None, dialect: str, chat_id: str) -> None:
        self.page = page
        self._server = setup.server
        api = f"http://127.0.0.1:{port or setup.server.api_port}"
        self._url = f"{setup.origin}/?dialect={dialect}&chat={chat_id}&api={api}"
        self.chat_id = chat_id

    async def open(self) -> None:
        """Load the page, or load it again."""
        await self.page.goto(self._url)
        await until(lambda: self.page.evaluate("window.client !== undefined"), limit_s=LIMIT_S)

    async def state(self) -> dict[str, Any]:
        """The state of the client: status, messages, error."""
        return json.loads(await self.page.text_content("#app") or "{}")  # type: ignore[no-any-return]

    async def call(self, name: str, *arguments: str) -> None:
        """Call a function of the page."""
        await self.page.evaluate(f"window.client.{name}(...{json.dumps(arguments)})")

    async def text(self) -> str:
        """The text of the last message, if it is an answer."""
        messages = (await self.state()).get("messages") or [{"role": "none"}]
        return str(messages[-1]["text"]) if messages[-1]["role"] == "assistant" else ""

    async def grows(self, beyond: int = 0) -> str:
        """Wait until the answer is longer than this, and return it."""

        async def is_longer() -> str:
            text = await self.text()
            return text if len(text) > beyond else ""

        return str(await until(is_longer, limit_s=LIMIT_S))

    async def ends(self) -> dict[str, Any]:
        """Wait until the client is idle and has an answer, and return its state."""

        async def is_idle() -> dict[str, Any] | None:
            state = await self.state()
            done = state["status"] in {"ready", "success", "cancelled", "error"} and await self.text()
            return state if done else None

        state: dict[str, Any] = await until(is_idle, limit_s=LIMIT_S)
        return state

    async def stored(self) -> list[dict[str, Any]]:
        """The messages of the chat."""
        async with httpx.AsyncClient(base_url=self._server.api_url) as http:
            messages: list[dict[str, Any]] = (await http.get(f"/api/chats/{self.chat_id}/messages")).json()["messages"]
            return messages

    async def has_ended(self, status: str) -> str:
        """Wait until the turn of the last message has ended with this status, and return the stored text."""

        async def is_over() -> list[dict[str, Any]] | None:
            messages = await self.stored()
            return messages if messages and messages[-1]["turn"]["status"] == status else None

        return str((await until(is_over, limit_s=LIMIT_S))[-1]["content"])


@asynccontextmanager
async def client(
    browser: Browser, setup: Setup, dialect: str, chat_id: str, port: int | None = None
) -> AsyncIterator[Client]:
    """A page of its own; ``port``: of a proxy in front of the server."""
    context = await browser.new_context()
    page = await context.new_page()
    opened = Client(page, setup, port, dialect, chat_id)
    await opened.open()
    try:
        yield opened
    finally:
        await context.close()


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_sends_streams_reloads_and_shows_what_is_stored(
    browser: Browser, setup: Setup, dialect: str, tmp_path: Path
) -> None:
    async with client(browser, setup, dialect, f"reload-{dialect}") as page:
        await page.call("send", f"pieces=40 pause=0.01 until={tmp_path / 'go-on'}")
        before = await page.grows()
        await page.open()
        (tmp_path / "go-on").touch()
        after = await page.grows(len(before))
        assert after.startswith(before)
        state = await page.ends()
        assert state.get("error") is None
        content = await page.has_ended("complete")
        assert await page.text() == content
        # The next question, and the history after another reload.
        await page.call("send", "pieces=3")
        await until(lambda: _count(page, 4), limit_s=LIMIT_S)
        await page.ends()
        await page.open()
        await until(lambda: _count(page, 4), limit_s=LIMIT_S)
        shown = [(message["role"], message["text"]) for message in (await page.state())["messages"]]
        roles = {"AI": "assistant", "USER": "user"}
        assert shown == [(roles[message["role"]], message["content"]) for message in await page.stored()]


async def _count(page: Client, count: int) -> bool:
    state = await page.state()
    return len(state["messages"]) == count and bool(await page.text())


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stop_ends_the_answer_for_everybody_and_keeps_its_text(
    browser: Browser, setup: Setup, dialect: str
) -> None:
    async with (
        client(browser, setup, dialect, f"stop-{dialect}") as page,
        client(browser, setup, "sse", f"stop-{dialect}") as other,
    ):
        await page.call("send", "pieces=2000 pause=0.03")
        await page.grows()
        await other.call("resume")
        await other.grows()
        await page.call("stop")
        content = await page.has_ended("stopped")
        await other.ends()
        assert await other.text() == content
        await page.ends()
        await page.open()
        assert await page.grows() == content


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_client_resumes_after_its_connection_is_lost(
    browser: Browser, setup: Setup, dialect: str, tmp_path: Path
) -> None:
    assert setup.server.api_port is not None
    async with (
        TcpProxy(setup.server.api_port) as proxy,
        client(browser, setup, dialect, f"resume-{dialect}", proxy.port) as page,
    ):
        await page.call("send", f"pieces=40 pause=0.01 until={tmp_path / 'go-on'}")
        before = await page.grows()
        proxy.cut()
        await until(lambda: _has_failed(page), limit_s=LIMIT_S)
        await page.call("resume")
        (tmp_path / "go-on").touch()
        assert (await page.grows(len(before))).startswith(before)
        assert (await page.ends()).get("error") is None
        assert await page.text() == await page.has_ended("complete")


async def _has_failed(page: Client) -> bool:
    state = await page.state()
    return state["status"] != "streaming" and state.get("error") is not None


@pytest.mark.parametrize("dialect", ["sse", "ws"])
async def test_usechat_edits_and_regenerates(browser: Browser, setup: Setup, dialect: str) -> None:
    async with client(browser, setup, dialect, f"edit-{dialect}") as page:
        await page.call("send", "pieces=3")
        first = (await page.ends())["messages"]
        await page.call("edit", first[0]["id"], "pieces=4 seed=1")
        await until(lambda: _last_id_differs(page, first[-1]["id"]), limit_s=LIMIT_S)
        second = (await page.ends())["messages"]
        await page.call("regenerate")
        await until(lambda: _last_id_differs(page, second[-1]["id"]), limit_s=LIMIT_S)
        third = (await page.ends())["messages"]
        assert [message["text"] for message in third] == [message["text"] for message in second]
        messages = await page.stored()
        assert [(message["version"], message["content"]) for message in messages] == [
            (2, third[0]["text"]),
            (3, third[1]["text"]),
        ]


async def _last_id_differs(page: Client, message_id: str) -> bool:
    messages = (await page.state())["messages"]
    return len(messages) == 2 and messages[-1]["id"] != message_id


async def test_clients_of_all_dialects_see_the_same_text(browser: Browser, setup: Setup, tmp_path: Path) -> None:
    async with (
        client(browser, setup, "sse", "all") as sse,
        client(browser, setup, "ws", "all") as ws,
        client(browser, setup, "agui", "all") as agui,
    ):
        await sse.call("send", f"pieces=60 pause=0.01 seed=5 until={tmp_path / 'go-on'}")
        await sse.grows()
        for page in (ws, agui):
            await page.call("resume")
            await page.grows()
        (tmp_path / "go-on").touch()
        content = await sse.has_ended("complete")
        for page in (sse, ws, agui):
            await page.ends()
            assert await page.text() == content
