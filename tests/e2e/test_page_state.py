"""The chat page's lists, marks and stored state in a real Chromium: what is shown of which chat, and to whom."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, Dialog, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

NO_ANSWERS = {"ROOMCAST_RESPONDER": "none"}


async def post(http: httpx.AsyncClient, chat_id: str, content: str, user_id: str = "poster") -> None:
    body = {"chatId": chat_id, "role": "USER", "content": content, "userId": user_id}
    (await http.post("/api/chat/messages", json=body)).raise_for_status()


async def test_a_chat_beyond_the_first_page_has_its_title_everywhere(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with httpx.AsyncClient(base_url=server.api_url) as http:
            created = await http.post("/api/chats", json={"title": "Old plans"})
            old = created.raise_for_status().json()["id"]
            await post(http, old, "long ago")
            for number in range(55):
                await post(http, f"chat-{number}", "hello")
        async with open_tab(browser, f"{server.api_url}/c/{old}", "Ada") as ada:
            await expect(ada.by("chat-title")).to_have_text("Old plans", timeout=LIMIT_MS)
            # The first page of the list has 50 chats, each with one unread message.
            await expect(ada.page).to_have_title("(50) Old plans · Roomcast")
            active = ada.page.locator("[data-testid=chat-item][aria-current=page]")
            await expect(active).to_contain_text("#Old plans")
            await expect(active).to_be_in_viewport()
            await ada.by("more-chats").click()
            await expect(ada.by("more-chats")).to_have_count(0)
            # All chats, each once, and the lobby.
            await expect(ada.by("chat-item")).to_have_count(57)


async def test_reading_a_chat_in_one_tab_removes_its_mark_in_another(browser: Browser, tmp_path: Path) -> None:
    unread = "[data-testid=chat-item][data-unread=true]"
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with (
            httpx.AsyncClient(base_url=server.api_url) as http,
            open_tab(browser, server.api_url, "Ada") as ada,
        ):
            second = Tab(ada.context, await ada.context.new_page())
            await second.page.goto(server.api_url)
            await second.enter("Ada")
            for chat_id in ("7", "8"):
                await post(http, chat_id, "news", user_id="小美")
            # Neither an added member nor an own message makes a chat unread.
            await post(http, "9", "mine", user_id="Ada")
            (await http.put("/api/chats/9/members/eve")).raise_for_status()
            for tab in (ada, second):
                await expect(tab.page.locator("[data-chat-id='9']")).to_be_visible(timeout=LIMIT_MS)
                await expect(tab.page.locator(unread)).to_have_count(2, timeout=LIMIT_MS)
            for remaining, chat_id in ((1, "7"), (0, "8")):
                await second.page.locator(f"[data-chat-id='{chat_id}']").click()
                await second.sees("news")
                for tab in (second, ada):
                    await expect(tab.page.locator(unread)).to_have_count(remaining, timeout=LIMIT_MS)
            # A hidden tab does not mark its open chat as read.
            hide = """(state) => {
                Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
                document.dispatchEvent(new Event('visibilitychange'));
            }"""
            await second.page.evaluate(hide, "hidden")
            await post(http, "8", "more news", user_id="小美")
            await second.sees("more news")
            await expect(ada.page.locator(unread)).to_have_count(1, timeout=LIMIT_MS)
            await second.page.evaluate(hide, "visible")
            await expect(ada.page.locator(unread)).to_have_count(0, timeout=LIMIT_MS)
            assert second.errors == []


async def test_signing_out_leaves_nothing_of_the_user_and_asks_about_unsent_messages(
    browser: Browser, tmp_path: Path
) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada:
            await ada.say("sent")
            await ada.shows(1)
            await ada.page.route("**/api/chat/messages", lambda route: route.abort("connectionrefused"))
            await ada.say("a secret")
            await ada.sees("a secret", status="sending")
            await ada.by("composer").fill("half a secret")
            questions: list[str] = []

            async def answer(dialog: Dialog) -> None:
                questions.append(dialog.message)
                await (dialog.accept() if len(questions) > 1 else dialog.dismiss())

            ada.page.on("dialog", answer)
            await ada.by("sign-out").click()
            await expect(ada.by("composer")).to_have_value("half a secret")
            await ada.by("sign-out").click()
            await expect(ada.by("name-input")).to_be_visible()
            assert questions == ["A message of Ada has not been sent. Delete it and leave?"] * 2
            stored = await ada.page.evaluate("() => JSON.stringify([{...localStorage}, {...sessionStorage}])")
            assert "secret" not in stored
            assert "user/" not in stored
            await ada.page.unroute("**/api/chat/messages")
            await ada.enter("Ada")
            await ada.shows(1)
            await expect(ada.by("composer")).to_have_value("")
