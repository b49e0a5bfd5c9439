"""A text that the moderation refuses, on the page: the reason is shown, and the text can be changed and sent again."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from support.chat_page import LIMIT_MS, open_tab
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

HOOK = """
async def review(text):
    if "casino" in text.content:
        return {"action": "refuse", "reason": "No advertisements, please."}
    return {"action": "mask", "content": text.content.replace("damn", "****")}
"""


async def test_a_refused_text_shows_the_reason_and_is_sent_again_after_a_change(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "own_hook.py").write_text(HOOK)
    env = {
        "ROOMCAST_RESPONDER": "none",
        "ROOMCAST_MODERATION": "own_hook:review",
        "PYTHONPATH": str(tmp_path),
    }
    with Roomcast.up(tmp_path / "data", env=env) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, open_tab(browser, server.api_url, "Bob") as bob:
            await ann.page.locator("#composer").fill("casino!")
            await ann.page.keyboard.press("Enter")
            refused = ann.page.locator("[data-status=failed]")
            await expect(refused).to_contain_text("No advertisements, please.", timeout=LIMIT_MS)
            await refused.get_by_test_id("edit-refused").click()
            await ann.by("edit-field").fill("damn good")
            await ann.by("edit-save").click()
            await expect(bob.by("message-text")).to_have_text("**** good", timeout=LIMIT_MS)
            await expect(ann.by("message-text")).to_have_text("**** good", timeout=LIMIT_MS)
            await expect(refused).to_have_count(0)
            # Chromium reports each response with an error.
            assert ["422" in error for error in ann.errors] == [True]
            ann.errors.clear()


ANSWER_HOOK = """
async def review(text):
    if text.kind != "answer":
        return None
    if "casino" in text.content:
        return {"action": "refuse", "reason": "No advertisements, please."}
    return {"action": "mask", "content": "**** good"} if "damn" in text.content else None
"""


@pytest.mark.parametrize("answers", ["streamed", "withheld"])
async def test_an_answer_that_is_refused_is_replaced_by_the_reason_and_a_masked_one_by_its_text(
    browser: Browser, tmp_path: Path, answers: str
) -> None:
    (tmp_path / "answer_hook.py").write_text(ANSWER_HOOK)
    env = {
        "ROOMCAST_MODERATION": "answer_hook:review",
        "ROOMCAST_MODERATION_ANSWERS": answers,
        "PYTHONPATH": str(tmp_path),
    }
    with Roomcast.up(tmp_path / "data", env=env) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, open_tab(browser, server.api_url, "Bob") as bob:
            for question in ("casino", "damn"):  # the demo quotes them
                await ann.page.locator("#composer").fill(question)
                await ann.page.keyboard.press("Enter")
                await expect(ann.page.locator("[data-role=AI]")).to_have_count(
                    1 if question == "casino" else 2, timeout=LIMIT_MS
                )
                for tab in (ann, bob):
                    reply = tab.page.locator("[data-role=AI]").last
                    if question == "casino":
                        await expect(reply.get_by_test_id("turn-state")).to_contain_text(
                            "The moderation refused it.", timeout=LIMIT_MS
                        )
                        await expect(reply).not_to_contain_text("casino")
                    else:
                        await expect(reply).to_contain_text("**** good", timeout=LIMIT_MS)
                        await expect(reply).not_to_contain_text("damn")
