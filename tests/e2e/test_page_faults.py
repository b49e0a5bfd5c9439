"""The page on a device with a fault: a half-open connection, no network, a wrong clock, or storage that throws."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from support.chat_page import open_tab
from support.processes import Roomcast, run_roomcast
from support.tcp_proxy import TcpProxy

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

NO_ANSWERS = {"ROOMCAST_RESPONDER": "none"}
#: Less than the 45 s after which socket.io-client itself misses a heartbeat.
SLEEP_S = 30
#: A damaged profile: every access throws.
DAMAGED_STORAGE = """
for (const name of ['getItem', 'setItem', 'removeItem', 'key', 'clear'])
    Storage.prototype[name] = () => { throw new DOMException('damaged', 'UnknownError'); };
Object.defineProperty(Storage.prototype, 'length', { get() { throw new DOMException('damaged', 'UnknownError'); } });
"""
#: Blocked cookies: the look-up of the storage throws. And an insecure origin: `randomUUID` is missing.
BLOCKED_STORAGE = """
for (const name of ['localStorage', 'sessionStorage'])
    Object.defineProperty(window, name, { get() { throw new DOMException('blocked', 'SecurityError'); } });
Crypto.prototype.randomUUID = undefined;
"""
#: Returns an array to which each state that the page shows is added from now on.
RECORD_STATES = """() => {
    const states = [];
    const shown = document.querySelector('[data-testid=connection-state]');
    const record = () => states.push(shown.dataset.state);
    new MutationObserver(record).observe(shown, { attributeFilter: ['data-state'] });
    return states;
}"""


async def test_after_a_sleep_a_page_with_a_half_open_connection_reconnects_in_seconds(
    browser: Browser, tmp_path: Path
) -> None:
    with Roomcast.up(tmp_path / "data", one_port=True, env=NO_ANSWERS) as server:
        async with (
            TcpProxy(server.api_port) as proxy,
            open_tab(browser, server.api_url, "Bob") as bob,
            open_tab(browser, f"http://localhost:{proxy.port}") as ada,
        ):
            await ada.page.clock.install()
            await ada.page.reload()
            await ada.enter("Ada")
            states = await ada.page.evaluate_handle(RECORD_STATES)
            proxy.strand()
            await bob.say("during the sleep")
            await bob.shows(1)
            # A sleep: the wall clock moves on, and the timers of the page do not.
            await ada.page.clock.set_system_time(time.time() + SLEEP_S)
            await ada.sees("during the sleep")
            assert await states.json_value() == ["reconnecting", "connected"]


async def test_a_page_on_localhost_shows_in_seconds_that_it_is_offline(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, f"http://localhost:{server.api_port}", "Ada") as ada:
            await ada.cut()
            await ada.restore()
            await ada.say("back again")
            await ada.shows(1)


async def test_a_token_that_is_expired_only_by_the_clock_of_the_device_is_accepted(
    browser: Browser, tmp_path: Path
) -> None:
    env = {"ROOMCAST_SECRET": "a secret of the tests, long enough for HS256", **NO_ANSWERS}
    token = run_roomcast("token", "--ttl", "3600", "ada", env=env).stdout.strip()
    with Roomcast.up(tmp_path / "data", env=env) as server:
        async with open_tab(browser, server.api_url) as ada:
            await ada.page.clock.install(time=time.time() + 2 * 3600)
            await ada.page.reload()
            await ada.enter(token)


async def test_without_storage_the_page_works_and_says_once_that_a_reload_loses_unsent_messages(
    browser: Browser, tmp_path: Path
) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url) as ada, open_tab(browser, server.api_url) as bob:
            for tab, name, fault in ((ada, "Ada", DAMAGED_STORAGE), (bob, "Bob", BLOCKED_STORAGE)):
                await tab.page.add_init_script(fault)
                await tab.page.reload()
                await tab.enter(name)
                await expect(tab.by("storage-notice")).to_have_count(0)
                await tab.say(f"{name} 1")
                await tab.by("storage-notice").get_by_role("button").click()
                await tab.say(f"{name} 2")
            for tab in (ada, bob):
                await tab.shows(4)
                await expect(tab.by("storage-notice")).to_have_count(0)
                await tab.by("sign-out").click()
                await expect(tab.by("name-input")).to_be_visible()
