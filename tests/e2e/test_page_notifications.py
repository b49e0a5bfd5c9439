"""Receipts, settings for notifications and pushes on the page, in Chromium."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Worker, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast
from support.push_service import Device, PushService, push_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

ENV = {
    "ROOMCAST_RESPONDER": "none",
    "ROOMCAST_VAPID_SUBJECT": "mailto:ops@example.com",
    "ROOMCAST_PUSH_NETWORKS": "127.0.0.0/8",
    "ROOMCAST_PUSH_DELAY_S": "0.3",
}
#: Chromium's push service is its vendor's: in its place, the one of the tests. Everything else is the browser's.
SUBSCRIBE = """(() => {
    const known = %s;
    let current = null;
    PushManager.prototype.getSubscription = async () => current;
    PushManager.prototype.subscribe = async ({ applicationServerKey }) => (current = {
        endpoint: known.endpoint,
        options: { applicationServerKey: applicationServerKey.buffer },
        toJSON: () => known,
        unsubscribe: async () => { current = null; return true; },
    });
})()"""
#: Headless pages are always visible: a test says when they are not.
VISIBILITY = """(() => {
    window.shown = [];
    let hidden = false;
    Object.defineProperty(document, 'visibilityState', { get: () => (hidden ? 'hidden' : 'visible') });
    window.hide = (value) => { hidden = value; document.dispatchEvent(new Event('visibilitychange')); };
    const Real = Notification;
    window.Notification = class extends Real {
        constructor(title, options) { super(title, options); window.shown.push({ title, ...options }); }
    };
})()"""


@asynccontextmanager
async def tab_with(browser: Browser, server: Roomcast, name: str, *scripts: str) -> AsyncIterator[Tab]:
    """A tab whose user permits notifications."""
    async with open_tab(browser, server.api_url) as tab:
        await tab.context.grant_permissions(["notifications"], origin=server.api_url)
        for script in scripts:
            await tab.page.add_init_script(script)
        await tab.page.reload()
        await tab.enter(name)
        yield tab
        # A context of the tests is incognito, where Chromium refuses subscriptions.
        tab.errors[:] = [error for error in tab.errors if "Push API in incognito mode" not in error]


async def turn_on(tab: Tab, state: str) -> None:
    button = tab.by("notification-settings")
    await button.focus()
    await button.press("Enter")
    await tab.by("notification-device").press("Space")
    await expect(tab.by("notification-state")).to_have_attribute("data-state", state, timeout=LIMIT_MS)
    await tab.page.keyboard.press("Escape")


async def push_of(sender: Tab, service: PushService, text: str) -> dict[str, Any]:
    """Send a text until it is pushed: the server begins with pushes soon after the first device was added."""
    for _ in range(10):
        await sender.say(text)
        try:
            async with asyncio.timeout(4):
                while (payload := (await service.received.get()).payload)["text"] != text:
                    pass
        except TimeoutError:
            continue
        return payload
    raise AssertionError("nothing is pushed")


async def test_a_message_shows_who_has_read_it_as_it_is_read(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=ENV) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann:
            await ann.say("Is anyone here?")
            await ann.sees("Is anyone here?")
            await expect(ann.by("read-by")).to_have_count(0)
            async with open_tab(browser, server.api_url, "Bob") as bob:
                await bob.sees("Is anyone here?")
                await expect(ann.by("read-by")).to_have_attribute("title", "Read by Bob", timeout=LIMIT_MS)
                await bob.say("Yes")
                await expect(bob.by("read-by")).to_have_attribute("title", "Read by Ann", timeout=LIMIT_MS)
                async with open_tab(browser, server.api_url, "Cid", locale="zh-TW", has_touch=True) as cid:
                    await expect(cid.by("read-by").last).to_have_attribute("title", "Ann 已讀", timeout=LIMIT_MS)
                    await expect(ann.by("read-by").last).to_have_attribute("title", "Read by Cid", timeout=LIMIT_MS)
                    await cid.by("read-by").last.tap()
                    await expect(cid.by("read-by-panel").last).to_be_visible()
                    await expect(cid.by("read-by-panel").last).to_contain_text("Ann")
            button = ann.by("read-by").first
            await button.focus()
            await button.press("Enter")
            await expect(ann.by("read-by-panel").first).to_be_visible()
            await ann.page.reload()
            await expect(ann.by("read-by").last).to_have_attribute("title", "Read by Cid", timeout=LIMIT_MS)


async def test_settings_are_those_of_the_user_on_every_device(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=ENV) as server:
        async with (
            open_tab(browser, server.api_url, "Ann") as first,
            open_tab(browser, server.api_url, "Ann") as second,
        ):
            await first.say("hello")
            await first.by("chat-menu").press("Enter")
            await first.by("chat-notifications").press("Enter")
            await first.by("chat-level").select_option("mentions")
            await first.by("mute-day").press("Enter")
            await expect(first.by("muted-until")).to_contain_text("Muted until", timeout=LIMIT_MS)
            await expect(first.page.locator(".chat-item__muted")).to_have_count(1, timeout=LIMIT_MS)
            await second.by("chat-menu").click()
            await second.by("chat-notifications").click()
            await expect(second.by("chat-level")).to_have_value("mentions", timeout=LIMIT_MS)
            await second.by("unmute").click()
            await expect(second.by("mute-hour")).to_be_visible(timeout=LIMIT_MS)
            await second.by("notification-settings").click()
            await second.by("notification-default").select_option("none")
            await first.page.reload()
            await first.by("notification-settings").click()
            await expect(first.by("notification-default")).to_have_value("none", timeout=LIMIT_MS)
            await expect(first.by("notification-state")).to_have_attribute("data-state", "off")


async def test_without_a_push_service_the_open_page_notifies(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=ENV) as server:
        async with (
            tab_with(browser, server, "Ann", VISIBILITY) as ann,
            open_tab(browser, server.api_url, "Bob") as bob,
        ):
            # This Chromium reaches none.
            await turn_on(ann, "page")
            await bob.say("seen")
            await ann.sees("seen")
            assert await ann.page.evaluate("window.shown") == []
            await ann.page.evaluate("window.hide(true)")
            await bob.say("look here")
            await ann.page.wait_for_function("() => window.shown.length > 0", timeout=LIMIT_MS)
            (shown,) = await ann.page.evaluate("window.shown")
            assert shown == {"title": "Lobby", "body": "look here", "tag": "lobby"}


async def test_a_hidden_page_receives_pushes_until_its_user_signs_out(browser: Browser, tmp_path: Path) -> None:
    async with push_service() as service:
        device = service.device()
        script = SUBSCRIBE % json.dumps(device.subscription())
        with Roomcast.up(tmp_path / "data", env=ENV) as server:
            async with (
                tab_with(browser, server, "Ann", VISIBILITY, script) as ann,
                open_tab(browser, server.api_url, "Bob") as bob,
            ):
                await turn_on(ann, "push")
                await ann.say("I am here")
                await bob.say("seen")
                await ann.sees("seen")
                await ann.page.evaluate("window.hide(true)")
                payload = await push_of(bob, service, "look, Ann")
                assert (payload["chatId"], payload["userId"], payload["direct"]) == ("lobby", "Bob", False)
                await shows_and_opens(ann, server, device, payload)
                await ann.page.evaluate("window.hide(false)")
                await ann.by("sign-out").click()
                await expect(ann.by("name-input")).to_be_visible()
            async with httpx.AsyncClient(base_url=server.api_url) as client:
                again = await client.put("/api/push/devices", json=device.subscription(), params={"userId": "Cid"})
                assert again.status_code == 204


async def shows_and_opens(tab: Tab, server: Roomcast, device: Device, payload: dict[str, Any]) -> None:
    """The service worker shows a push, as from the push service, and a click opens its chat in the open page."""
    assert device.endpoint
    worker: Worker = next(iter(tab.context.service_workers))
    assert worker.url == f"{server.api_url}/sw.js"
    payload = {**payload, "chatId": "elsewhere", "title": None}
    await worker.evaluate(
        """async (payload) => {
            const event = new PushEvent('push', { data: JSON.stringify(payload) });
            self.dispatchEvent(event);
        }""",
        payload,
    )
    shown = (
        """async () => (await self.registration.getNotifications()).map(({ title, body, tag }) => [title, body, tag])"""
    )
    async with asyncio.timeout(15):
        while not (found := await worker.evaluate(shown)):
            pass
    assert found == [["#elsewhere", "Bob: look, Ann", "elsewhere"]]
    await worker.evaluate(
        """async () => {
            const [notification] = await self.registration.getNotifications();
            self.dispatchEvent(new NotificationEvent('notificationclick', { notification }));
        }"""
    )
    await tab.page.wait_for_url(f"{server.api_url}/c/elsewhere", timeout=LIMIT_MS)
