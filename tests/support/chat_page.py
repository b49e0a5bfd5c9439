"""The chat page as its tests see it: what a person does in a tab, and what they read there.

    async with open_tab(browser, server.api_url, "Ada") as ada:
        await ada.say("hello")
        await ada.sees("hello")

Nothing here waits for a time to pass; whatever is expected is awaited, up to `LIMIT_MS`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

LIMIT_MS: Final = 15_000
#: For a Chromium that may run as root in a container, and must not call home.
CHROMIUM_ARGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# What Chromium itself writes when a request finds no server: expected wherever a test takes it away.
_UNREACHABLE: Final = re.compile(r"net::ERR_(INTERNET_DISCONNECTED|CONNECTION_\w+|EMPTY_RESPONSE|NETWORK_CHANGED)")


@dataclass(frozen=True)
class Shown:
    """One message as a tab shows it."""

    id: str
    seq: int
    author: str | None
    role: str
    status: str
    text: str


class Tab:
    """One tab of one person.

    Attributes:
        complaints: What the page wrote to the console as an error, and what it threw.
    """

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context = context
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(LIMIT_MS)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def by(self, test_id: str) -> Locator:
        """The elements with a ``data-testid``."""
        return self.page.get_by_test_id(test_id)

    async def enter(self, name: str) -> None:
        """Choose a name and wait for the connection."""
        await self.by("name-input").fill(name)
        await self.by("name-submit").click()
        await self.is_connected()

    async def is_connected(self) -> None:
        """Wait until the page says so."""
        await self.has_state("connected")

    async def has_state(self, state: str) -> None:
        """Wait for a state of the connection."""
        await expect(self.by("connection-state")).to_have_attribute("data-state", state, timeout=LIMIT_MS)

    async def say(self, text: str) -> None:
        """Type a message and send it with Enter."""
        await self.by("composer").fill(text)
        await self.by("composer").press("Enter")

    async def sees(self, text: str, *, status: str = "sent") -> None:
        """Wait until exactly one message has this text."""
        message = self.page.locator(f'[data-testid=message][data-status="{status}"]')
        shown = message.get_by_test_id("message-text").filter(has_text=re.compile(f"^{re.escape(text)}$"))
        await expect(shown).to_have_count(1, timeout=LIMIT_MS)

    async def shows(self, count: int) -> None:
        """Wait until this many messages are there, all of them sent."""
        await expect(self.page.locator("[data-testid=message][data-status=sent]")).to_have_count(
            count, timeout=LIMIT_MS
        )
        await expect(self.by("message")).to_have_count(count, timeout=LIMIT_MS)

    async def messages(self) -> list[Shown]:
        """What is shown, from top to bottom."""
        found: list[Mapping[str, Any]] = await self.by("message").evaluate_all(
            """(items) => items.map((item) => ({
                ...item.dataset,
                text: item.querySelector('[data-testid=message-text]').textContent,
            }))"""
        )
        return [
            Shown(
                id=item["messageId"],
                seq=int(item.get("seq", 0)),
                author=item.get("author"),
                role=item["role"],
                status=item["status"],
                text=item["text"],
            )
            for item in found
        ]

    async def cut(self) -> None:
        """Take the network away, and wait until the page knows."""
        await self.context.set_offline(True)
        await self.has_state("offline")

    async def restore(self) -> None:
        """Give the network back, and wait until the page is connected."""
        await self.context.set_offline(False)
        await self.is_connected()

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _UNREACHABLE.search(message.text):
            self.complaints.append(message.text)


@asynccontextmanager
async def open_tab(
    browser: Browser, url: str, name: str | None = None, *, locale: str = "en-GB", **context_options: Any
) -> AsyncIterator[Tab]:
    """A tab of a person with a browser of their own. At the end the page must have had nothing to complain of.

    Args:
        url: What they type into the address bar.
        name: What they call themselves; None leaves them at the question.
        context_options: As `Browser.new_context` takes them.
    """
    context = await browser.new_context(locale=locale, **context_options)
    try:
        tab = Tab(context, await context.new_page())
        await tab.page.goto(url)
        if name is not None:
            await tab.enter(name)
        yield tab
        assert tab.complaints == [], tab.complaints
    finally:
        await context.close()
