"""Growing answers on the page, in a real Chromium against a real `roomcast up`."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


def responder(name: str) -> dict[str, str]:
    return {
        "ROOMCAST_RESPONDER": f"support.page_responders:{name}",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


async def stored_answer(server: Roomcast, chat_id: str) -> dict[str, object]:
    async with httpx.AsyncClient(base_url=server.api_url) as http:
        page = (await http.get(f"/api/chats/{chat_id}/messages")).json()
    return next(message for message in page["messages"] if message["role"] == "AI")


async def assert_same_text(*tabs: Tab) -> str:
    texts = [(await tab.messages())[1].text for tab in tabs]
    assert len(set(texts)) == 1
    return texts[0]


async def test_an_answer_is_whole_in_a_late_tab_after_a_reload_and_after_an_outage(
    browser: Browser, tmp_path: Path
) -> None:
    with Roomcast.up(tmp_path / "data") as server:
        url = f"{server.api_url}/c/support"
        async with open_tab(browser, url, "Ada") as ada, open_tab(browser, url, "Cho") as cho:
            await ada.say("/long 300")
            await ada.is_answering(20)
            async with open_tab(browser, url, "Bob") as bob:
                await bob.is_answering(20)
                await ada.page.reload()
                await ada.is_answering(40)
                await cho.cut()
                await cho.restore()
                for tab in (ada, bob, cho):
                    await tab.is_answered()
                text = await assert_same_text(ada, bob, cho)
            await ada.page.reload()
            await ada.is_answered()
            assert await assert_same_text(ada, cho) == text
            content = str((await stored_answer(server, "support"))["content"])
            # Markdown has more characters than the text that it shows; its words are the same.
            assert content.split()[-3:] == text.split()[-3:]


async def test_another_user_stops_an_answer_and_its_versions_can_be_read(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data") as server:
        url = f"{server.api_url}/c/support"
        async with open_tab(browser, url, "Ada") as ada, open_tab(browser, url, "Bob") as bob:
            await ada.say("/long 1000")
            await ada.is_answering(10)
            await bob.is_answering(10)
            await bob.by("stop").click()
            for tab in (ada, bob):
                await tab.is_answered(status="stopped")
                await expect(tab.by("turn-state")).to_contain_text("Stopped by a member of the chat.")
                await expect(tab.by("send")).to_be_visible()
            stopped = await assert_same_text(ada, bob)
            assert stopped.split()

            await bob.by("regenerate").click()
            await bob.is_answering(5)
            await ada.by("stop").click()
            await bob.is_answered(status="stopped")
            await expect(bob.by("versions")).to_contain_text("2/2")
            await bob.page.get_by_label("Earlier version").click()
            await expect(bob.by("versions")).to_contain_text("1/2")
            assert (await bob.messages())[1].text == stopped

            await ada.page.locator("[data-role=USER]").hover()
            await ada.by("edit").click()
            await ada.by("edit-field").fill("Hello instead")
            await ada.by("edit-save").click()
            for tab in (ada, bob):
                await tab.is_answered()
                await tab.sees("Hello instead")
                await tab.shows(2)


async def test_the_settings_of_the_chat_decide_which_messages_are_answered(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data") as server:
        async with open_tab(browser, f"{server.api_url}/c/support", "Ada") as ada:
            await ada.say("first")
            await ada.is_answered()
            await ada.by("ai-settings").click()
            await ada.page.get_by_label("Which messages are answered?").select_option("mention")
            await ada.by("ai-save").click()
            await expect(ada.by("ai-save")).to_be_hidden(timeout=LIMIT_MS)
            await ada.say("second")
            await ada.sees("second")
            await ada.say("@ai third")
            await ada.is_answered(2)
            await ada.shows(5)


async def test_hostile_output_runs_nothing_loads_nothing_and_keeps_the_layout(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env=responder("hostile")) as server:
        async with open_tab(browser, f"{server.api_url}/c/support", "Ada") as ada:
            foreign: list[str] = []
            ada.page.on("request", lambda request: "evil" in request.url and foreign.append(request.url))
            await ada.say("go on")
            await ada.is_answered()
            await expect(ada.page.get_by_text("The end.")).to_be_visible()
            assert await ada.page.evaluate("window.hacked") is None
            assert foreign == []
            assert await ada.page.locator("[data-testid=message] :is(img, iframe, script, style)").count() == 0
            hrefs = await ada.page.locator("[data-testid=message] a").evaluate_all(
                "links => links.map((a) => a.protocol)"
            )
            assert hrefs
            assert set(hrefs) == {"https:"}
            widths = await ada.page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
            assert widths[0] <= widths[1]


async def test_fifty_words_a_second_leave_the_main_thread_free_however_long_the_answer(
    browser: Browser, tmp_path: Path
) -> None:
    with Roomcast.up(tmp_path / "data", env=responder("steady")) as server:
        async with open_tab(browser, f"{server.api_url}/c/support", "Ada") as ada:
            cdp = await ada.context.new_cdp_session(ada.page)
            # The time that the main thread ran, not the time that it waited for a processor.
            await cdp.send("Performance.enable", {"timeDomain": "threadTicks"})

            async def busy_s() -> float:
                metrics = (await cdp.send("Performance.getMetrics"))["metrics"]
                return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")

            async def busy_s_of_answer(number: int, words: int) -> float:
                """Seconds of the main thread while an answer that has many words grows for 4 s."""
                await ada.say(str(words))
                await ada.is_answering(words)
                before = await busy_s()
                await ada.is_answered(number)
                return await busy_s() - before

            short_s = await busy_s_of_answer(1, 50)
            long_s = await busy_s_of_answer(2, 4_000)
            assert max(short_s, long_s) < 0.3 * 4, (short_s, long_s)
            assert long_s < 2 * short_s + 0.2, (short_s, long_s)
