"""A day on the page: two people and the demo AI use every feature, by keyboard in one run and by touch in the other.

Each panel, dialog and menu is checked by axe while it is open; one run begins in English and light, the other in
Traditional Chinese and dark, and both switch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Browser, Locator, expect

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.accessibility import assert_accessible
from support.chat_page import LIMIT_MS, Tab, open_tab
from support.page_hands import Hand, Keyboard, Touch
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

SECRET: Final = "a secret of more than thirty-two bytes"
#: Drags a file over the title of the chat, drops it there, or pastes one into the message field.
GIVE: Final = """([type, name]) => {
    const data = new DataTransfer();
    data.items.add(new File(['hello'], name, { type: 'text/plain' }));
    const given = { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true };
    const make = type === 'paste' ? ClipboardEvent : DragEvent;
    document.querySelector(type === 'paste' ? '#composer' : 'h1').dispatchEvent(new make(type, given));
}"""


def token(user_id: str) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=1_200)


def message(tab: Tab, text: str) -> Locator:
    return tab.by("message").filter(has=tab.page.get_by_test_id("message-text").filter(has_text=text)).last


async def send(hand: Hand, tab: Tab, text: str) -> None:
    await hand.write(tab.by("composer"), text)
    await hand.submit(tab, "send")
    await tab.sees(text)


class Day:
    """Two people on the page: Ann, whose hand is tested, and Bob with a mouse.

    Attributes:
        ann: Signed in, with the chat "Plans" open.
        bob: As Ann.
        chat_id: The chat, which answers mentions.
    """

    def __init__(self, server: Roomcast, hand: Hand, ann: Tab, bob: Tab) -> None:
        self.server = server
        self.hand = hand
        self.ann = ann
        self.bob = bob
        self.chat_id = ""

    async def request(self, user_id: str, method: str, path: str, **body: Any) -> Any:
        async with httpx.AsyncClient(base_url=self.server.api_url, trust_env=False) as client:
            headers = {"authorization": f"Bearer {token(user_id)}"}
            response = await client.request(method, path, json=body or None, headers=headers)
            response.raise_for_status()
            return response.json() if response.content else None

    async def sign_in(self) -> None:
        await assert_accessible(self.ann.page)
        await self.hand.write(self.ann.by("name-input"), token("Ann"))
        await self.hand.submit(self.ann, "name-submit")
        await self.bob.by("name-input").fill(token("Bob"))
        await self.bob.by("name-submit").click()

    async def meet(self, owner: str) -> None:
        """Sign in, in a chat of both."""
        self.chat_id = (await self.request(owner, "POST", "/api/chats", title="Plans"))["id"]
        await self.request(owner, "PUT", f"/api/chats/{self.chat_id}/members/{'Bob' if owner == 'Ann' else 'Ann'}")
        await self.request(owner, "PUT", f"/api/chats/{self.chat_id}/ai", answers="mention")
        for tab in (self.ann, self.bob):
            await tab.page.goto(f"{self.server.api_url}/c/{self.chat_id}")
        await self.sign_in()
        for tab in (self.ann, self.bob):
            await expect(tab.by("presence")).to_have_attribute("data-online", "2", timeout=LIMIT_MS)


Begin = Callable[[], AbstractAsyncContextManager[Day]]


@pytest.fixture(
    params=[(Keyboard(), "en-GB", "light"), (Touch(), "zh-TW", "dark")],
    ids=["keyboard, English, light", "touch, Traditional Chinese, dark"],
)
def begin(request: pytest.FixtureRequest, browser: Browser, tmp_path: Path) -> Begin:
    hand, locale, color_scheme = request.param

    @asynccontextmanager
    async def day() -> AsyncIterator[Day]:
        with Roomcast.up(tmp_path / "data", env={"ROOMCAST_SECRET": SECRET}) as server:
            # Without transitions: colours between two states have less contrast.
            options = {**hand.context, "locale": locale, "color_scheme": color_scheme, "reduced_motion": "reduce"}
            async with open_tab(browser, server.api_url, **options) as ann, open_tab(browser, server.api_url) as bob:
                await ann.context.grant_permissions(["notifications"], origin=server.api_url)
                ann.page.on("dialog", lambda dialog: dialog.accept())
                yield Day(server, hand, ann, bob)
                # A context of the tests is incognito, where Chromium refuses subscriptions.
                ann.errors[:] = [error for error in ann.errors if "Push API in incognito mode" not in error]
                # Chromium reports each refused response with an error.
                assert all("40" in error for error in bob.errors)
                bob.errors.clear()

    return day


async def test_chats_are_created_shared_kept_and_deleted(begin: Begin) -> None:
    async with begin() as day:
        hand, ann, bob = day.hand, day.ann, day.bob
        await day.sign_in()
        link = await creates_a_chat_and_invites(hand, ann)
        await bob.page.goto(link)
        await bob.by("join").click()
        await direct_chat_and_unread(hand, ann, bob)
        await the_chat_is_kept(hand, ann, bob)
        await the_chat_is_deleted(hand, ann)


async def test_messages_are_answered_edited_and_marked(begin: Begin) -> None:
    async with begin() as day:
        await day.meet("Ann")
        await talk(day.hand, day.ann, day.bob)
        await threads_and_receipts(day.hand, day.ann, day.bob)
        await edited_messages_are_found(day.hand, day.ann, day.bob)


async def test_files_are_sent_and_messages_searched(begin: Begin) -> None:
    async with begin() as day:
        await day.meet("Ann")
        await files(day.hand, day.ann, day.bob)
        await search_finds(day.hand, day.ann, day.bob)


async def test_the_ai_answers_and_settings_are_changed(begin: Begin) -> None:
    async with begin() as day:
        await day.meet("Ann")
        await the_ai_answers(day.hand, day.ann)
        await notifications(day.hand, day.ann)
        await languages_and_appearance(day.hand, day.ann)


async def test_members_are_managed_and_messages_reported(begin: Begin) -> None:
    async with begin() as day:
        await day.meet("Bob")
        await a_report_is_handled(day)
        await day.request("Bob", "PATCH", f"/api/chats/{day.chat_id}/members/Ann", role="owner")
        await day.request("Bob", "PATCH", f"/api/chats/{day.chat_id}/members/Bob", role="member")
        await members_are_managed(day.hand, day.ann, day.bob)


async def creates_a_chat_and_invites(hand: Hand, ann: Tab) -> str:
    await hand.show_chats(ann)
    await hand.press(ann.by("new-chat"))
    await assert_accessible(ann.page)
    await hand.write(ann.by("new-chat-title"), "Plans")
    await hand.submit(ann, "new-chat-submit")
    await expect(ann.by("chat-title")).to_have_text("Plans", timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    await hand.press(ann.by("members"))
    await hand.write(ann.by("member-name"), "Cho")
    await hand.submit(ann, "member-add")
    await expect(ann.by("member")).to_have_count(2, timeout=LIMIT_MS)
    await hand.press(ann.by("invite-create"))
    await expect(ann.by("invite")).to_have_count(1, timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    link = await ann.by("invite-link").input_value()
    await hand.close(ann)
    # Otherwise the demo answers each message.
    await hand.press(ann.by("ai-settings"))
    await expect(ann.by("ai-save")).to_be_visible(timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    await hand.choose(ann.page.locator("select[name=answers]"), "mention")
    await hand.press(ann.by("ai-save"))
    await expect(ann.by("ai-save")).to_be_hidden(timeout=LIMIT_MS)
    return link


async def direct_chat_and_unread(hand: Hand, ann: Tab, bob: Tab) -> None:
    await hand.press(ann.by("presence"))
    await assert_accessible(ann.page)
    await hand.press(ann.by("open-direct"))
    await expect(ann.by("chat-title")).to_have_text("Bob", timeout=LIMIT_MS)
    await expect(ann.by("presence")).to_have_count(1)
    await bob.say("News, @Ann!")
    plans = ann.by("chat-item").filter(has_text="Plans")
    await expect(plans.get_by_test_id("unread")).to_contain_text("1", timeout=LIMIT_MS)
    await expect(plans).to_contain_text("News, @Ann!")
    await expect(ann.page).to_have_title("(1) Bob · Roomcast")
    await hand.show_chats(ann)
    await assert_accessible(ann.page)
    await hand.press(plans)
    await ann.sees("News, @Ann!")
    await expect(plans.get_by_test_id("unread")).to_have_count(0, timeout=LIMIT_MS)


async def the_chat_is_kept(hand: Hand, ann: Tab, bob: Tab) -> None:
    """Rename, retention, archive and take back."""
    await open_menu(hand, ann)
    await assert_accessible(ann.page)
    await hand.press(ann.by("chat-rename"))
    await assert_accessible(ann.page)
    await hand.write(ann.by("rename-title"), "Spring")
    await hand.submit(ann, "rename-save")
    await expect(bob.by("chat-title")).to_have_text("Spring", timeout=LIMIT_MS)
    # A member is offered what it may do.
    await bob.by("chat-menu").click()
    await expect(bob.by("chat-leave")).to_be_visible()
    for test_id in ("chat-rename", "chat-archive", "chat-retention", "chat-delete"):
        await expect(bob.by(test_id)).to_have_count(0)
    await bob.page.keyboard.press("Escape")
    for before, after in (("", "30"), ("30", "7")):
        await open_menu(hand, ann)
        await hand.press(ann.by("chat-retention"))
        await expect(ann.by("retention-days")).to_have_value(before, timeout=LIMIT_MS)
        await assert_accessible(ann.page)
        await hand.choose(ann.by("retention-days"), after)
        await hand.press(ann.by("retention-save"))
        await expect(ann.by("retention-save")).to_have_count(0, timeout=LIMIT_MS)
    await open_menu(hand, ann)
    await hand.press(ann.by("chat-archive"))
    await expect(ann.by("composer")).to_have_count(0, timeout=LIMIT_MS)
    await hand.show_chats(ann)
    await hand.press(ann.by("archived"))
    await expect(ann.by("archived-list")).to_contain_text("Spring", timeout=LIMIT_MS)
    # Only the direct chat with Bob is left above it.
    await expect(ann.by("chat-list").get_by_test_id("chat-item")).to_have_count(1)
    await assert_accessible(ann.page)
    await hand.press(ann.by("archived-list").get_by_test_id("chat-item"))
    await open_menu(hand, ann)
    await hand.press(ann.by("chat-archive"))
    await expect(ann.by("composer")).to_be_visible(timeout=LIMIT_MS)


async def open_menu(hand: Hand, tab: Tab) -> None:
    """Open the menu of the chat. It closes with the response to an action, whose event may arrive before."""
    await expect(tab.by("chat-menu-panel")).to_be_hidden(timeout=LIMIT_MS)
    await hand.press(tab.by("chat-menu"))


async def the_chat_is_deleted(hand: Hand, ann: Tab) -> None:
    await open_menu(hand, ann)
    await hand.press(ann.by("chat-delete"))
    await assert_accessible(ann.page)
    await hand.press(ann.by("chat-confirm"))
    await expect(ann.by("chat-title")).not_to_have_text("Spring", timeout=LIMIT_MS)


async def talk(hand: Hand, ann: Tab, bob: Tab) -> None:
    """Presence, typing, reactions, replies with mentions, pins."""
    await bob.by("composer").press_sequentially("S")
    await expect(ann.by("typing")).to_contain_text("Bob", timeout=LIMIT_MS)
    await bob.say("Shall we ship on Friday?")
    await ann.sees("Shall we ship on Friday?")
    question = message(ann, "Shall we ship")
    await hand.act(ann, question, "react")
    await assert_accessible(ann.page)
    await hand.press(question.get_by_test_id("emoji").first)
    await expect(bob.by("reaction")).to_have_text("👍 1", timeout=LIMIT_MS)
    await bob.by("reaction").click()
    await expect(question.get_by_test_id("reaction")).to_have_text("👍 2", timeout=LIMIT_MS)
    await hand.act(ann, question, "pin")
    await expect(bob.by("pins")).to_be_visible(timeout=LIMIT_MS)
    await hand.press(ann.by("pins").locator("summary"))
    await assert_accessible(ann.page)
    await hand.act(ann, question, "reply")
    await expect(ann.by("replying")).to_contain_text("Shall we ship")
    await hand.write(ann.by("composer"), "Yes, @B")
    await expect(ann.by("mentions")).to_be_visible()
    await assert_accessible(ann.page)
    if isinstance(hand, Keyboard):
        await ann.page.keyboard.press("Enter")
    else:
        await ann.by("mentions").locator("li").first.tap()
    await ann.page.keyboard.insert_text("if tests are green")
    await hand.submit(ann, "send")
    await bob.sees("Yes, @Bob if tests are green")
    await expect(bob.by("quote").last).to_contain_text("Shall we ship")


async def threads_and_receipts(hand: Hand, ann: Tab, bob: Tab) -> None:
    """The replies to a message alone, and the users that have read one."""
    question = message(ann, "Shall we ship")
    await hand.press(question.get_by_test_id("replies"))
    await expect(ann.by("thread")).to_be_visible()
    await expect(ann.by("message")).to_have_count(2)
    await assert_accessible(ann.page)
    await send(hand, ann, "In the thread")
    await bob.sees("In the thread")
    await hand.press(ann.by("thread-close"))
    await expect(ann.by("thread")).to_have_count(0)
    await bob.say("Out of it")
    await ann.sees("Out of it")
    await send(hand, ann, "Read this")
    await bob.sees("Read this")
    await hand.press(message(ann, "Read this").get_by_test_id("read-by"))
    await expect(ann.page.locator("[data-testid=read-by-panel]:popover-open")).to_contain_text("Bob")
    await assert_accessible(ann.page)
    await hand.close(ann)


async def edited_messages_are_found(hand: Hand, ann: Tab, bob: Tab) -> None:
    """Editing, deletion, and the quote of a message that was edited later."""
    await send(hand, ann, "The tests are gren.")
    await bob.sees("The tests are gren.")
    answered = message(bob, "The tests are gren.")
    await answered.hover()
    await answered.get_by_test_id("reply").click()
    await bob.say("All of them?")
    await ann.sees("All of them?")
    await hand.act(ann, message(ann, "The tests are gren."), "edit")
    await assert_accessible(ann.page)
    await hand.write(ann.by("edit-field"), "The tests are green.")
    await hand.submit(ann, "edit-save")
    await bob.sees("The tests are green.")
    quote = message(ann, "All of them?").get_by_test_id("quote")
    await expect(quote).to_contain_text("The tests are green.")
    # Loaded after the edit, the page knows the reply's original by the id of an earlier version only.
    await ann.page.reload()
    await ann.sees("The tests are green.")
    await expect(quote).not_to_contain_text("green")
    await hand.press(quote)
    await expect(message(ann, "The tests are green.")).to_be_focused(timeout=LIMIT_MS)
    await expect(quote).to_contain_text("The tests are green.")
    await send(hand, ann, "A mistake")
    await hand.act(ann, message(ann, "A mistake"), "delete")
    await assert_accessible(ann.page)
    await hand.press(ann.by("delete-confirm"))
    await expect(bob.page.get_by_text("This message was deleted.")).to_be_visible(timeout=LIMIT_MS)


async def files(hand: Hand, ann: Tab, bob: Tab) -> None:
    """Chosen, dropped and pasted files; one is removed before and one after it was sent."""
    plans = ann.by("chat-item").filter(has_text="Plans")
    async with ann.page.expect_file_chooser() as chooser:
        await hand.press(ann.by("attach"))
    picture = Path(__file__).parents[2] / "docs" / "screenshot.png"
    await (await chooser.value).set_files(picture)
    await ann.page.evaluate(GIVE, ["dragover", "notes.txt"])
    await expect(ann.by("drop-hint")).to_be_visible()
    await assert_accessible(ann.page)
    await ann.page.evaluate(GIVE, ["drop", "notes.txt"])
    await expect(ann.by("drop-hint")).to_have_count(0)
    await ann.page.evaluate(GIVE, ["paste", "pasted.txt"])
    await expect(ann.page.locator("[data-testid=upload][data-done=true]")).to_have_count(3, timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    await hand.press(ann.by("upload").filter(has_text="pasted.txt").get_by_test_id("upload-remove"))
    await expect(ann.by("upload")).to_have_count(2)
    await send(hand, ann, "The plan")
    await expect(bob.by("file")).to_contain_text("notes.txt", timeout=LIMIT_MS)
    await hand.press(ann.by("picture"))
    await expect(ann.by("viewer")).to_be_visible()
    await assert_accessible(ann.page)
    await hand.press(ann.by("viewer").locator("button"))
    await hand.act(ann, message(ann, "The plan"), "edit")
    await expect(ann.by("edit-file")).to_have_count(2)
    await assert_accessible(ann.page)
    await hand.press(ann.by("edit-file").filter(has_text="notes.txt").get_by_test_id("edit-file-remove"))
    await hand.submit(ann, "edit-save")
    await expect(bob.by("file")).to_have_count(0, timeout=LIMIT_MS)
    await expect(bob.by("picture")).to_be_visible()
    await ann.page.evaluate(GIVE, ["paste", "alone.txt"])
    await expect(ann.page.locator("[data-testid=upload][data-done=true]")).to_have_count(1, timeout=LIMIT_MS)
    await hand.press(ann.by("send"))
    for tab in (ann, bob):
        await expect(tab.by("chat-item").filter(has_text="Plans")).to_contain_text("📎 alone.txt", timeout=LIMIT_MS)
    # As after a reload.
    await ann.page.reload()
    await expect(plans).to_contain_text("📎 alone.txt", timeout=LIMIT_MS)


async def search_finds(hand: Hand, ann: Tab, bob: Tab) -> None:
    """By words, and by author with and without words."""
    await bob.say("Shall we ship on Friday?")
    await send(hand, ann, "Friday it is")
    await ann.sees("Shall we ship on Friday?")
    await hand.open_search(ann)
    await assert_accessible(ann.page)
    await hand.write(ann.by("search-field"), "friday")
    found = ann.by("search").locator("[role=option][data-kind=message]")
    await expect(found).to_have_count(2, timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    await hand.choose(ann.by("search-author"), "@Bob")
    await hand.toggle(ann.by("search-here"))
    await expect(found).to_have_count(1, timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    await hand.write(ann.by("search-field"), "")
    await ann.page.keyboard.press("Backspace")
    await expect(found).to_have_count(1, timeout=LIMIT_MS)
    await expect(found).to_contain_text("Shall we ship on Friday?")
    if isinstance(hand, Keyboard):
        await ann.page.keyboard.press("Enter")
    else:
        await found.tap()
    await expect(message(ann, "Shall we ship")).to_be_focused(timeout=LIMIT_MS)


async def the_ai_answers(hand: Hand, ann: Tab) -> None:
    """An answer grows, goes on after a reload, is stopped, and is asked for again."""
    await send(hand, ann, "@ai /long 2000")
    await ann.is_answering(5)
    await assert_accessible(ann.page)
    await ann.page.reload()
    await ann.is_answering(20)
    await hand.press(ann.by("stop"))
    await ann.is_answered(status="stopped")
    await assert_accessible(ann.page)
    await hand.act(ann, ann.page.locator("[data-role=AI]").last, "regenerate")
    await ann.is_answering(5)
    await hand.press(ann.by("stop"))
    await expect(ann.by("versions").last).to_contain_text("2/2", timeout=LIMIT_MS)
    await ann.is_answered(status="stopped")


async def notifications(hand: Hand, ann: Tab) -> None:
    """Of this device, of all chats, and of one chat."""
    await hand.show_chats(ann)
    await hand.press(ann.by("notification-settings"))
    await hand.toggle(ann.by("notification-device"))
    await expect(ann.by("notification-state")).to_have_attribute("data-state", "page", timeout=LIMIT_MS)
    await hand.choose(ann.by("notification-default"), "mentions")
    await assert_accessible(ann.page)
    await hand.close(ann)
    if isinstance(hand, Touch):
        await ann.by("chat-item").filter(has_text="Plans").tap()
    await open_menu(hand, ann)
    await hand.press(ann.by("chat-notifications"))
    await expect(ann.by("chat-level")).to_have_value("default", timeout=LIMIT_MS)
    await hand.press(ann.by("mute-hour"))
    await expect(ann.by("muted-until")).to_be_visible(timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    await hand.press(ann.by("unmute"))
    await expect(ann.by("mute-hour")).to_be_visible(timeout=LIMIT_MS)
    await hand.close(ann)


async def languages_and_appearance(hand: Hand, ann: Tab) -> None:
    """Both switches, and back."""
    for other in (True, False):
        await hand.show_chats(ann)
        await hand.press(ann.by("language-switch"))
        for _ in range(2 if other else 1):
            await hand.press(ann.by("theme-switch"))
            await assert_accessible(ann.page)
        if isinstance(hand, Touch):
            await ann.by("chat-item").filter(has_text="Plans").tap()
        await assert_accessible(ann.page)


async def a_report_is_handled(day: Day) -> None:
    """Ann reports a message as a member and, once she is a moderator, deletes it."""
    hand, ann, bob = day.hand, day.ann, day.bob
    await bob.say("Cheap watches!")
    await ann.sees("Cheap watches!")
    await hand.act(ann, message(ann, "Cheap watches!"), "report")
    await assert_accessible(ann.page)
    await hand.press(ann.by("report-spam"))
    await expect(message(ann, "Cheap watches!").get_by_test_id("report")).not_to_have_text("Report", timeout=LIMIT_MS)
    await day.request("Bob", "PATCH", f"/api/chats/{day.chat_id}/members/Ann", role="moderator")
    await expect(ann.by("composer")).to_be_visible()
    await hand.press(ann.by("members"))
    await expect(ann.by("reported")).to_contain_text("Cheap watches!", timeout=LIMIT_MS)
    await assert_accessible(ann.page)
    await hand.press(ann.by("report-delete"))
    await expect(ann.by("reported")).to_have_count(0, timeout=LIMIT_MS)
    await expect(bob.page.get_by_text("This message was deleted.")).to_be_visible(timeout=LIMIT_MS)
    await hand.close(ann)


async def members_are_managed(hand: Hand, ann: Tab, bob: Tab) -> None:
    """Mute, a role and a ban."""
    await hand.press(ann.by("members"))
    row = ann.by("member").filter(has_text="Bob")
    await hand.press(row.locator("summary"))
    await assert_accessible(ann.page)
    await hand.press(row.get_by_test_id("member-mute"))
    await expect(bob.by("blocked")).to_be_visible(timeout=LIMIT_MS)
    await assert_accessible(bob.page)
    await hand.press(row.get_by_test_id("member-mute"))
    await expect(bob.by("composer")).to_be_visible(timeout=LIMIT_MS)
    await hand.choose(row.get_by_test_id("member-role"), "moderator")
    await bob.by("chat-menu").click()
    await expect(bob.by("chat-rename")).to_be_visible(timeout=LIMIT_MS)
    await bob.page.keyboard.press("Escape")
    await hand.press(row.get_by_test_id("member-ban"))
    await expect(bob.by("blocked")).to_have_text("You are no longer a member of this chat.", timeout=LIMIT_MS)
    await expect(ann.by("banned")).to_have_count(1, timeout=LIMIT_MS)
    await assert_accessible(ann.page)
