"""Members on the page, in two browsers: an invitation is accepted, a member is muted and banned."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SECRET = "a secret of more than thirty-two bytes"


def token(user_id: str) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=600)


async def report(bob: Tab, ann: Tab) -> None:
    """Bob reports a message of Ann twice: Ann closes the first report, and deletes the message after the second."""
    await ann.say("buy now")
    for closes in (True, False):
        message = bob.by("message").filter(has_text="buy now").first
        await message.focus()
        await message.get_by_test_id("report").press("Enter")
        await message.get_by_test_id("report-spam").press("Enter")
        await expect(message.get_by_test_id("report")).to_have_text("Reported", timeout=LIMIT_MS)
        await ann.page.keyboard.press("Escape")
        await ann.by("members").press("Enter")
        await expect(ann.by("reported")).to_contain_text("Spam, reported by Bob", timeout=LIMIT_MS)
        if closes:
            await ann.by("report-close").press("Enter")
            await expect(ann.by("reported")).to_have_count(0, timeout=LIMIT_MS)
    await ann.by("report-delete").press("Enter")
    await expect(bob.page.get_by_text("buy now")).to_have_count(0, timeout=LIMIT_MS)


async def test_a_guest_joins_by_a_link_is_muted_and_banned(browser: Browser, tmp_path: Path) -> None:
    env = {"ROOMCAST_RESPONDER": "none", "ROOMCAST_SECRET": SECRET}
    with Roomcast.up(tmp_path / "data", env=env) as server:
        headers = {"Authorization": f"Bearer {token('Ann')}"}
        async with httpx.AsyncClient(base_url=server.api_url, headers=headers) as http:
            chat = (await http.post("/api/chats", json={"title": "Plans"})).json()
        address = f"{server.api_url}/c/{chat['id']}"
        async with open_tab(browser, address, None) as ann:
            await ann.enter(token("Ann"))
            await ann.by("members").press("Enter")
            await ann.by("invite-create").press("Enter")
            link = await ann.by("invite-link").input_value()
            async with open_tab(browser, link, None) as bob:
                await bob.enter(token("Bob"))
                await expect(bob.page.get_by_text("Plans").last).to_be_visible(timeout=LIMIT_MS)
                await bob.by("join").press("Enter")
                await expect(bob.by("chat-title")).to_have_text("Plans", timeout=LIMIT_MS)
                await bob.say("hello")
                await ann.sees("hello")
                # The open list shows the new member.
                row = ann.by("member").filter(has_text="Bob")
                await row.locator("summary").press("Enter")
                await row.get_by_test_id("member-mute").press("Enter")
                await expect(bob.by("blocked")).to_be_visible(timeout=LIMIT_MS)
                await expect(bob.by("composer")).to_have_count(0)
                await row.get_by_test_id("member-mute").press("Enter")
                await expect(bob.by("composer")).to_be_visible(timeout=LIMIT_MS)
                await bob.say("again")
                await ann.sees("again")
                await report(bob, ann)
                ann.page.on("dialog", lambda dialog: dialog.accept())
                await row.locator("summary").press("Enter")
                await row.get_by_test_id("member-ban").press("Enter")
                await expect(row).to_have_count(0, timeout=LIMIT_MS)
                await ann.say("not for Bob")
                await expect(bob.by("blocked")).to_have_text(
                    "You are no longer a member of this chat.", timeout=LIMIT_MS
                )
                await expect(bob.page.get_by_text("not for Bob")).to_have_count(0)
                await bob.page.goto(link)
                # The link shows nothing of the chat.
                await expect(bob.page.get_by_role("alert")).to_be_visible(timeout=LIMIT_MS)
                await expect(bob.by("join")).to_have_count(0)
                await expect(bob.page.get_by_text("Plans")).to_have_count(0)
                # Chromium reports each refused response with an error.
                assert all("40" in error for error in bob.errors)
                bob.errors.clear()
