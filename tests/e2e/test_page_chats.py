"""A chat is renamed, archived, taken back and deleted on the page, in two browsers."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


async def choose(tab: Tab, *test_ids: str) -> None:
    """Choose from the menu of the chat with the keyboard."""
    for test_id in ("chat-menu", *test_ids):
        button = tab.by(test_id)
        await button.focus()
        await button.press("Enter")


async def test_members_rename_archive_and_delete_a_chat(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, open_tab(browser, server.api_url, "Bob") as bob:
            await ann.say("hello")
            await bob.sees("hello")
            await expect(bob.by("chat-menu")).to_be_visible(timeout=LIMIT_MS)
            await choose(ann, "chat-rename")
            await ann.by("rename-title").fill("Plans")
            await ann.by("rename-title").press("Enter")
            for tab in (ann, bob):
                await expect(tab.by("chat-title")).to_have_text("Plans", timeout=LIMIT_MS)
            await choose(bob, "chat-archive")
            for tab in (ann, bob):
                await expect(tab.page.get_by_text("can be read only")).to_be_visible(timeout=LIMIT_MS)
                await expect(tab.by("composer")).to_have_count(0)
            await ann.by("archived").press("Enter")
            await expect(ann.by("archived-list")).to_contain_text("Plans", timeout=LIMIT_MS)
            await choose(ann, "chat-archive")
            await expect(bob.page.get_by_text("can be read only")).to_have_count(0, timeout=LIMIT_MS)
            await choose(ann, "chat-delete", "chat-confirm")
            await expect(ann.by("chat-menu")).to_have_count(0, timeout=LIMIT_MS)
            await expect(bob.by("chat-menu")).to_have_count(0, timeout=LIMIT_MS)


async def test_two_users_open_their_direct_chat_from_the_list_of_people(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data") as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, open_tab(browser, server.api_url, "Bob") as bob:
            for tab, other in ((ann, "Bob"), (bob, "Ann")):
                await expect(tab.by("presence")).to_have_attribute("data-online", "2", timeout=LIMIT_MS)
                await tab.by("presence").press("Enter")
                await tab.by("open-direct").press("Enter")
                await expect(tab.by("chat-title")).to_have_text(other, timeout=LIMIT_MS)
                if tab is ann:
                    await ann.page.go_back()
                    await ann.page.go_forward()
            assert ann.page.url == bob.page.url
            # The demo does not answer here unasked.
            await ann.say("hello Bob")
            await expect(bob.page.get_by_test_id("message-text").filter(has_text="hello Bob")).to_be_visible(
                timeout=LIMIT_MS
            )
            await expect(bob.by("message")).to_have_count(1)
