"""The chat page in a real Chromium against a real `roomcast up`: what users see through restarts and outages."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast, run_roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

NO_ANSWERS = {"ROOMCAST_RESPONDER": "none"}


async def post(server: Roomcast, chat_id: str, *contents: str, user_id: str = "poster") -> None:
    async with httpx.AsyncClient(base_url=server.api_url) as http:
        for content in contents:
            body = {"chatId": chat_id, "role": "USER", "content": content, "userId": user_id}
            (await http.post("/api/chat/messages", json=body)).raise_for_status()


async def assert_same_messages(*tabs: Tab) -> None:
    """Check that all tabs show the same messages, each once, in the order of their seq."""
    first, *others = [await tab.messages() for tab in tabs]
    assert [message.seq for message in first] == list(range(1, len(first) + 1))
    assert len({message.id for message in first}) == len(first)
    for other in others:
        assert other == first


async def test_two_users_see_each_message_once_and_in_one_order(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada, open_tab(browser, server.api_url, "小美") as mei:
            assert ada.page.url == mei.page.url == f"{server.api_url}/c/lobby"

            async def talk(tab: Tab, name: str) -> None:
                for number in range(10):
                    await tab.say(f"{name} {number}")

            await asyncio.gather(talk(ada, "Ada"), talk(mei, "小美"))
            await ada.shows(20)
            await mei.shows(20)
            await assert_same_messages(ada, mei)
            shown = await mei.messages()
            assert [message.text for message in shown if message.author == "Ada"] == [f"Ada {n}" for n in range(10)]


async def test_presence_and_typing_appear_and_disappear(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada:
            async with open_tab(browser, server.api_url, "小美") as mei:
                for tab in (ada, mei):
                    await expect(tab.by("presence")).to_have_attribute("data-online", "2", timeout=LIMIT_MS)
                await ada.by("presence").click()
                await expect(ada.by("presence-panel")).to_contain_text("小美")
                await ada.page.keyboard.press("Escape")
                await mei.by("composer").press_sequentially("你")
                await expect(ada.by("typing")).to_contain_text("小美 is typing…", timeout=LIMIT_MS)
                await expect(mei.by("typing")).to_have_attribute("data-count", "0")
                await mei.by("composer").fill("")
                await expect(ada.by("typing")).to_have_attribute("data-count", "0", timeout=LIMIT_MS)
                await mei.say("你好")
                await ada.sees("你好")
                await expect(ada.by("typing")).to_have_attribute("data-count", "0")
                # A reload does not show as leaving.
                await mei.page.reload()
                await mei.is_connected()
                await expect(mei.by("presence")).to_have_attribute("data-online", "2", timeout=LIMIT_MS)
                await expect(ada.by("presence")).to_have_attribute("data-online", "2")
            await expect(ada.by("presence")).to_have_attribute("data-online", "1", timeout=LIMIT_MS)


async def test_the_demo_answers_and_a_reload_keeps_everything(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data") as server:
        async with open_tab(browser, f"{server.api_url}/c/support", "Ada") as ada:
            await ada.say("Hello, is anybody there?")
            await ada.is_answered()
            question, answer = await ada.messages()
            assert (question.author, question.role) == ("Ada", "USER")
            assert answer.role == "AI"
            assert "demo" in answer.text
            await ada.by("composer").fill("half a thought")

            await ada.page.reload()
            await ada.shows(2)
            assert await ada.messages() == [question, answer]
            assert ada.page.url == f"{server.api_url}/c/support"
            await expect(ada.by("me")).to_have_text("Ada")
            await expect(ada.by("composer")).to_have_value("half a thought")


async def test_messages_sent_while_offline_arrive_in_both_directions(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada, open_tab(browser, server.api_url, "Bob") as bob:
            await ada.say("before")
            await bob.sees("before")
            await ada.cut()
            await expect(ada.by("connection-banner")).to_be_visible()
            await bob.say("Bob meanwhile")
            await bob.sees("Bob meanwhile")
            await ada.say("Ada in a tunnel")
            await ada.sees("Ada in a tunnel", status="sending")
            await ada.restore()
            for tab in (ada, bob):
                await tab.shows(3)
            await assert_same_messages(ada, bob)
            await expect(ada.by("connection-banner")).to_have_count(0)


async def test_an_unsent_message_survives_a_reload(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada:
            await ada.page.route("**/api/chat/messages", lambda route: route.abort("connectionrefused"))
            await ada.say("do not lose me")
            await ada.sees("do not lose me", status="sending")
            await ada.page.unroute("**/api/chat/messages")
            await ada.page.reload()
            await ada.sees("do not lose me")
            await ada.shows(1)


async def test_a_restart_of_the_process_loses_nothing_and_shows_no_error(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with (
            open_tab(browser, server.api_url, "Ada", server_is_killed=True) as ada,
            open_tab(browser, server.api_url, "Bob", server_is_killed=True) as bob,
        ):
            await ada.say("before the restart")
            await bob.sees("before the restart")
            server.kill()
            await ada.has_state("reconnecting")
            await ada.say("while it was away")
            await ada.sees("while it was away", status="sending")
            server.start()
            for tab in (ada, bob):
                await tab.is_connected()
                await tab.shows(2)
            await bob.say("and on we go")
            await ada.shows(3)
            await assert_same_messages(ada, bob)


async def test_a_deleted_data_directory_resets_an_open_tab(browser: Browser, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Roomcast.up(data, env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada:
            for number in range(3):
                await ada.say(f"lost {number}")
            await ada.shows(3)
            server.stop()
            shutil.rmtree(data)
            server.start()
            # New events take the seqs that the tab has seen, before it is back: only the epoch differs.
            await post(server, "lobby", "new 1", "new 2", "new 3", "new 4")
            await ada.sees("new 4")
            await ada.shows(4)
            assert [message.text for message in await ada.messages()] == ["new 1", "new 2", "new 3", "new 4"]


async def test_an_older_copy_of_the_data_resets_an_open_tab(browser: Browser, tmp_path: Path) -> None:
    data, copy = tmp_path / "data", tmp_path / "copy"
    with Roomcast.up(data, env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada:
            await ada.say("kept")
            await ada.shows(1)
            server.stop()
            shutil.copytree(data, copy)
            server.start()
            await ada.is_connected()
            await ada.say("lost")
            await ada.shows(2)
            server.stop()
            shutil.rmtree(data)
            copy.rename(data)
            server.start()
            await post(server, "lobby", "written over it")
            await ada.sees("written over it")
            await ada.shows(2)
            assert [message.text for message in await ada.messages()] == ["kept", "written over it"]


async def test_chats_are_created_shared_by_link_and_marked_unread(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "Ada") as ada:
            await ada.by("new-chat").click()
            await ada.by("new-chat-title").fill("Release 1.4")
            await ada.by("new-chat-title").press("Enter")
            await expect(ada.by("chat-title")).to_have_text("Release 1.4")
            await ada.say("what should be in it?")
            await ada.shows(1)
            link = ada.page.url
            async with open_tab(browser, link, "Bob") as bob:
                await bob.sees("what should be in it?")
                await expect(bob.by("chat-title")).to_have_text("Release 1.4")
                active = bob.page.locator("[data-testid=chat-item][aria-current=page]")
                await expect(active).to_contain_text("#Release 1.4")

                await ada.page.locator("[data-testid=chat-item]", has_text="Lobby").click()
                await expect(ada.by("chat-title")).to_have_text("Lobby")
                await bob.say("speed")
                await bob.shows(2)
                unread = ada.page.locator("[data-testid=chat-item][data-unread=true]")
                await expect(unread).to_contain_text("Release 1.4", timeout=20_000)
                await ada.page.go_back()
                await ada.sees("speed")
                await expect(unread).to_have_count(0)


async def test_a_message_in_another_chat_marks_it_unread_without_a_request(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        await post(server, "plans", "a first thought", user_id="Ada")
        async with open_tab(browser, server.api_url, "Ada") as ada:
            plans = ada.page.locator("[data-testid=chat-item][data-chat-id=plans]")
            await expect(plans).to_have_attribute("data-unread", "false")
            # From here on the list of chats gets no response: every change was pushed.
            await ada.page.route("**/api/chats?*", lambda _route: None)
            await post(server, "plans", "another one", user_id="小美")
            await expect(plans).to_have_attribute("data-unread", "true", timeout=LIMIT_MS)
            # Her own message from another device is not counted.
            await post(server, "plans", "agreed", user_id="Ada")
            await post(server, "plans", "and one more", user_id="小美")
            await expect(plans.get_by_test_id("unread")).to_contain_text("2", timeout=LIMIT_MS)


async def test_older_messages_load_without_a_jump_and_new_ones_are_counted(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        await post(server, "lobby", *(f"message {number}\nwith a second line" for number in range(1, 301)))
        async with open_tab(browser, server.api_url, "Ada") as ada:
            await expect(ada.page.locator('[data-seq="300"]')).to_be_in_viewport(timeout=LIMIT_MS)
            assert len(await ada.messages()) < 300
            await ada.by("message-list").hover()
            reading = ada.page.locator('[data-seq="270"]')
            while await reading.count() == 0 or not await reading.evaluate(
                "(item) => item.getBoundingClientRect().top > 100"
            ):
                await ada.page.mouse.wheel(0, -400)
                await ada.page.evaluate("() => new Promise((next) => requestAnimationFrame(() => next()))")
            place = await settled_top(ada, 270)
            await post(server, "lobby", "news from below", "and more")
            pill = ada.by("to-latest")
            await expect(pill).to_have_attribute("data-unseen", "2", timeout=LIMIT_MS)
            assert abs(await settled_top(ada, 270) - place) <= 1

            while await ada.page.locator('[data-seq="1"]').count() == 0:
                await ada.page.mouse.wheel(0, -3000)
                await ada.page.evaluate("() => new Promise((next) => requestAnimationFrame(() => next()))")
            assert [message.seq for message in await ada.messages()] == list(range(1, 303))
            await pill.click()
            await expect(ada.page.locator('[data-seq="302"]')).to_be_in_viewport(timeout=LIMIT_MS)
            await expect(pill).to_have_count(0)


async def settled_top(tab: Tab, seq: int) -> float:
    """The position of a message once it is the same in two frames."""
    return float(
        await tab.page.evaluate(
            """async (seq) => {
                const top = () => document.querySelector(`[data-seq="${seq}"]`).getBoundingClientRect().top;
                const frame = () => new Promise((next) => requestAnimationFrame(() => next()));
                for (let last = NaN, now = top(); ; last = now, now = top()) {
                    if (last === now) return now;
                    await frame(); await frame(); await frame();
                }
            }""",
            seq,
        )
    )


@pytest.mark.parametrize("address", ["http://localhost:{port}", "http://127.0.0.1:{port}"])
@pytest.mark.parametrize("one_port", [False, True], ids=["two ports", "one port"])
async def test_the_page_works_from_every_address(
    browser: Browser, tmp_path: Path, address: str, *, one_port: bool
) -> None:
    with Roomcast.up(tmp_path / "data", one_port=one_port, env=NO_ANSWERS) as server:
        async with open_tab(browser, address.format(port=server.api_port), "Ada") as ada:
            await ada.say("hello")
            await ada.shows(1)


async def test_language_and_appearance_follow_the_browser_and_the_switches(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with open_tab(browser, server.api_url, "小美", locale="zh-TW", color_scheme="dark") as mei:
            root = mei.page.locator("html")
            await expect(root).to_have_attribute("lang", "zh-Hant")
            await expect(mei.by("send")).to_have_attribute("aria-label", "傳送")
            await expect(root).to_have_css("background-color", "rgb(17, 19, 24)")
            await mei.by("language-switch").click()
            await expect(mei.by("send")).to_have_attribute("aria-label", "Send")
            await mei.by("theme-switch").click()
            await expect(root).to_have_css("background-color", "rgb(255, 255, 255)")
            await mei.page.reload()
            await expect(root).to_have_attribute("lang", "en")
            await expect(root).to_have_css("background-color", "rgb(255, 255, 255)")


async def test_message_text_is_never_markup(browser: Browser, tmp_path: Path) -> None:
    attack = "<img src=x onerror=alert(1)><script>alert(2)</script> javascript:alert(3)"
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        await post(server, "lobby", attack, "see https://example.org/?q=<b>", user_id="<b>Eve</b>")
        async with open_tab(browser, server.api_url, "Ada") as ada:
            await ada.shows(2)
            assert [message.text for message in await ada.messages()] == [attack, "see https://example.org/?q=<b>"]
            links = ada.by("message-list").locator("a")
            assert await links.evaluate_all("(links) => links.map((link) => link.href)") == ["https://example.org/?q="]
            assert await ada.by("message-list").locator("img, script, b").count() == 0


async def test_a_narrow_screen_has_the_chats_in_a_drawer(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        narrow = {"width": 360, "height": 640}
        async with open_tab(browser, server.api_url, "Ada", viewport=narrow) as ada:
            sidebar = ada.by("sidebar")
            await expect(sidebar).not_to_be_in_viewport()
            await ada.by("open-sidebar").click()
            await expect(sidebar).to_be_in_viewport(ratio=0.99)
            await ada.page.keyboard.press("Escape")
            await expect(sidebar).not_to_be_in_viewport()
            await expect(ada.by("open-sidebar")).to_be_focused()
            width = await ada.page.evaluate("() => document.documentElement.scrollWidth")
            assert width <= narrow["width"]


async def test_a_valid_token_is_accepted_and_a_forged_one_rejected(browser: Browser, tmp_path: Path) -> None:
    secret = {"ROOMCAST_SECRET": "a secret of the tests, long enough for HS256", **NO_ANSWERS}
    token = run_roomcast("token", "ada", env=secret).stdout.strip()
    stranger = {"ROOMCAST_SECRET": "another secret, just as long as the first one"}
    forged = run_roomcast("token", "ada", env=stranger).stdout.strip()
    with Roomcast.up(tmp_path / "data", env=secret) as server:
        async with open_tab(browser, server.api_url) as ada:
            await expect(ada.by("name-input")).to_have_attribute("type", "password")
            await ada.enter(token)
            await expect(ada.by("me")).to_have_text("ada")
            await ada.by("new-chat").click()
            await ada.by("new-chat-title").fill("Mine")
            await ada.by("new-chat-title").press("Enter")
            await expect(ada.by("chat-title")).to_have_text("Mine")
            await ada.say("hello")
            await ada.shows(1)
            assert [message.author for message in await ada.messages()] == ["ada"]
            await ada.page.goto(server.api_url)
            await ada.sees("hello")
        async with open_tab(browser, server.api_url) as mallory:
            await mallory.by("name-input").fill(forged)
            await mallory.by("name-submit").click()
            await mallory.has_state("disconnected")
            await expect(mallory.by("connection-banner")).to_contain_text("sign in again")
            mallory.errors.clear()  # the browser logs each refused request


async def test_a_long_name_stays_inside_its_column_on_a_phone(browser: Browser, tmp_path: Path) -> None:
    name = "W" * 128
    phone = {"viewport": {"width": 390, "height": 700}}
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        await post(server, "lobby", "hello", user_id=name[1:])
        async with open_tab(browser, server.api_url, name, **phone) as ada:
            await ada.shows(1)
            edge = "(item) => item.getBoundingClientRect().right"
            # The drawer is closed: none of it may overlap the conversation.
            assert await ada.by("me").evaluate(edge) <= 0
            assert await ada.by("sign-out").evaluate(edge) <= 0
            author = ada.page.locator(".group__author bdi")
            assert await author.evaluate(edge) <= 390


@pytest.mark.parametrize(
    ("arguments", "hosts"),
    [
        (("--host", "::1"), ["[::1]"]),
        (("--host", "127.0.0.2"), ["127.0.0.2"]),
        # Not printed, but answered: a name of this machine in a local network.
        (("--host", "::", "--insecure"), ["localhost", "127.0.0.1", "[::1]", "box.localhost"]),
    ],
)
async def test_the_page_connects_at_every_host_that_names_the_machine(
    browser: Browser, tmp_path: Path, arguments: tuple[str, ...], hosts: list[str]
) -> None:
    with Roomcast.up(tmp_path / "data", *arguments, env=NO_ANSWERS) as server:
        for host in hosts:
            url = f"http://{host}:{server.api_port}"
            assert (url in server.output) is (host != "box.localhost")
            async with open_tab(browser, url, "Ada") as ada:
                await ada.is_connected()


async def test_a_page_of_an_allowed_origin_calls_the_api_of_another(browser: Browser, tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A response before the request, or on a connection that Chromium opened in advance, would not be accepted.
        if await reader.read(65_536):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<p>An application")
        await writer.drain()
        writer.close()

    application = await asyncio.start_server(serve, "127.0.0.1", 0)
    other = f"http://127.0.0.1:{application.sockets[0].getsockname()[1]}"
    async with application:
        with Roomcast.up(tmp_path / "data", env={**NO_ANSWERS, "ALLOWED_ORIGINS": other}) as server:
            await _call_from(browser, other, server)


async def _call_from(browser: Browser, other: str, server: Roomcast) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{other}/")
    call = """async ([url, body]) => {
        const headers = { 'Content-Type': 'application/json', Authorization: 'Bearer ignored' };
        return (await fetch(url, { method: 'POST', headers, body: JSON.stringify(body) })).status;
    }"""
    message = {"chatId": "lobby", "role": "USER", "content": "hello", "userId": "ada"}
    assert await page.evaluate(call, [f"{server.api_url}/api/chat/messages", message]) == 201
    await context.close()


async def test_a_page_of_a_rejected_origin_shows_it_and_the_gateway_logs_it(browser: Browser, tmp_path: Path) -> None:
    env = {**NO_ANSWERS, "ALLOWED_ORIGINS": "https://chat.example"}
    with Roomcast.up(tmp_path / "data", env=env) as server:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(server.api_url)
        await page.get_by_test_id("name-input").fill("Ada")
        await page.get_by_test_id("name-submit").click()
        await expect(page.get_by_test_id("connection-banner")).to_contain_text("No live connection", timeout=LIMIT_MS)
        await context.close()
        assert f"origin={server.api_url} setting=ALLOWED_ORIGINS" in server.output
