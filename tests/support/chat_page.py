"""Driver for the chat page: what a user does in a tab, and what the tab shows.

    async with open_tab(browser, server.api_url, "Ada") as ada:
        await ada.say("hello")
        await ada.sees("hello")

No method sleeps: each waits for what it expects, up to `LIMIT_MS`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

LIMIT_MS: Final = 15_000
#: For a Chromium that may run as root in a container, without requests to its vendor.
CHROMIUM_ARGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Chromium's own console errors for an unreachable server, which some tests stop; and for responses of a killed one.
_UNREACHABLE: Final = re.compile(r"net::ERR_(INTERNET_DISCONNECTED|CONNECTION_\w+|EMPTY_RESPONSE|NETWORK_CHANGED)")
_INCOMPLETE: Final = re.compile(r"net::ERR_(CONTENT_LENGTH_MISMATCH|INCOMPLETE_CHUNKED_ENCODING)")


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
    """One tab of one user.

    Attributes:
        errors: Errors that the page logged to the console, and uncaught exceptions.
    """

    def __init__(self, context: BrowserContext, page: Page, *expected: re.Pattern[str]) -> None:
        self.context = context
        self.page = page
        self.errors: list[str] = []
        self._expected = expected
        page.set_default_timeout(LIMIT_MS)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def by(self, test_id: str) -> Locator:
        """The elements with a ``data-testid``."""
        return self.page.get_by_test_id(test_id)

    async def enter(self, name: str) -> None:
        """Choose a name and wait for the connection."""
        await self.by("name-input").fill(name)
        await self.by("name-submit").click()
        await self.is_connected()

    async def is_connected(self) -> None:
        """Wait until the page shows that it is connected."""
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
        """Wait until this many messages are shown, all of them sent."""
        await expect(self.page.locator("[data-testid=message][data-status=sent]")).to_have_count(
            count, timeout=LIMIT_MS
        )
        await expect(self.by("message")).to_have_count(count, timeout=LIMIT_MS)

    async def is_answered(self, count: int = 1, status: str = "complete") -> None:
        """Wait until this many answers have ended with a status."""
        ended = self.page.locator(f'[data-testid=message][data-role=AI][data-turn-status="{status}"]')
        await expect(ended).to_have_count(count, timeout=2 * LIMIT_MS)

    async def is_answering(self, words: int = 0) -> None:
        """Wait until an answer grows and has at least this many words."""
        await self.page.wait_for_function(
            """(words) => [...document.querySelectorAll('[data-role=AI][data-turn-status=streaming]')].some((item) =>
                (item.querySelector('[data-testid=message-text]')?.textContent ?? '').split(/\\s+/).length > words)""",
            arg=words,
        )

    async def messages(self) -> list[Shown]:
        """The messages from top to bottom."""
        found: list[Mapping[str, Any]] = await self.by("message").evaluate_all(
            """(items) => items.map((item) => ({
                ...item.dataset,
                text: item.querySelector('[data-testid=message-text]')?.textContent ?? '',
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
        """Take the network away, and wait until the page shows it."""
        await self.context.set_offline(True)
        await self.has_state("offline")

    async def restore(self) -> None:
        """Give the network back, and wait until the page is connected."""
        await self.context.set_offline(False)
        await self.is_connected()

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(pattern.search(message.text) for pattern in self._expected):
            self.errors.append(message.text)


@asynccontextmanager
async def open_tab(
    browser: Browser,
    url: str,
    name: str | None = None,
    *,
    locale: str = "en-GB",
    server_is_killed: bool = False,
    **context_options: Any,
) -> AsyncIterator[Tab]:
    """A tab in a browser context of its own. Fails at the end if the page logged an error or threw one.

    Args:
        url: The page's address.
        name: The user's name; None leaves the tab at the question for it.
        server_is_killed: Allow responses that end early.
        context_options: As `Browser.new_context` takes them.
    """
    context = await browser.new_context(locale=locale, **context_options)
    try:
        expected = (_UNREACHABLE, _INCOMPLETE) if server_is_killed else (_UNREACHABLE,)
        tab = Tab(context, await context.new_page(), *expected)
        await tab.page.goto(url)
        if name is not None:
            await tab.enter(name)
        yield tab
        assert tab.errors == []
    finally:
        await context.close()
