"""Reactions, replies, pins and deletion on the page, in two browsers."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


def message(tab: Tab, text: str) -> Locator:
    return tab.by("message").filter(has_text=text).first


async def press(part: Locator, *test_ids: str) -> None:
    """Press buttons of a message with the keyboard."""
    for test_id in test_ids:
        button = part.get_by_test_id(test_id).first
        await button.focus()
        await button.press("Enter")


async def test_members_react_reply_pin_and_delete_and_a_reload_shows_the_same(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, open_tab(browser, server.api_url, "Bob") as bob:
            await ann.say("Shall we ship on Friday?")
            await ann.say("Tests are green.")
            await press(message(bob, "Shall we ship"), "react", "emoji", "pin", "reply")
            await bob.say("Friday is fine.")
            await expect(message(ann, "Friday is fine.").get_by_test_id("quote")).to_contain_text("Ann Shall we ship")
            reaction = message(ann, "Shall we ship").get_by_test_id("reaction")
            await expect(reaction).to_have_attribute("aria-pressed", "false", timeout=LIMIT_MS)
            await reaction.click()
            await expect(ann.by("pins")).to_contain_text("1 pinned message", timeout=LIMIT_MS)
            await press(message(ann, "Tests are green."), "delete", "delete-confirm")
            await expect(bob.page.get_by_text("This message was deleted.")).to_be_visible(timeout=LIMIT_MS)
            await expect(bob.page.get_by_text("Tests are green.")).to_have_count(0)
            await bob.page.reload()
            await expect(bob.by("reaction")).to_have_text("👍 2", timeout=LIMIT_MS)
            await expect(bob.by("reaction")).to_have_attribute("aria-pressed", "true")
            await expect(bob.by("pins")).to_contain_text("1 pinned message")
            await expect(bob.by("quote")).to_have_count(1)
            await expect(bob.page.get_by_text("This message was deleted.")).to_be_visible()
            assert not await bob.page.get_by_text("Tests are green.").count()


async def test_a_thread_lists_its_messages_only_and_what_is_sent_there_is_a_reply(
    browser: Browser, tmp_path: Path
) -> None:
    with Roomcast.up(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, open_tab(browser, server.api_url, "Bob") as bob:
            await ann.say("Cake for Friday?")
            await ann.say("Another subject.")
            await press(message(bob, "Cake for"), "reply")
            await bob.say("I do.")
            await press(message(ann, "I do."), "reply")
            await ann.say("Thank you!")
            question = message(ann, "Cake for")
            await expect(question.get_by_test_id("replies")).to_have_text("2 replies", timeout=LIMIT_MS)
            await press(question, "replies")
            await expect(ann.by("thread")).to_contain_text("2 replies")
            await expect(ann.by("message")).to_have_count(3)
            await ann.say("Which one?")
            await bob.say("Outside of the thread.")
            await expect(ann.by("thread")).to_contain_text("3 replies", timeout=LIMIT_MS)
            await expect(ann.by("message")).to_have_count(4)
            await ann.page.keyboard.press("Escape")
            await expect(ann.by("message")).to_have_count(6)
            await expect(question).to_be_focused()
            await expect(message(bob, "Which one?").get_by_test_id("quote")).to_contain_text("Cake for Friday?")
