"""Sign-in on the page in a real Chromium, at a real OpenID provider."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from support.chat_page import LIMIT_MS
from support.open_id_provider import is_up, running_provider
from support.processes import Roomcast
from support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


async def test_a_user_signs_in_stays_signed_in_on_reload_and_signs_out(browser: Browser, tmp_path: Path) -> None:
    server = Roomcast.up(tmp_path / "data")
    page_url = f"http://127.0.0.1:{server.api_port}"
    env = {
        "ROOMCAST_RESPONDER": "none",
        "ROOMCAST_SECRET": "a secret of more than thirty-two bytes",
        "ROOMCAST_OIDC_CLIENT_ID": "chat",
        "ROOMCAST_OIDC_CLIENT_SECRET": "any",
        "ROOMCAST_PAGE_URL": page_url,
    }
    with running_provider() as issuer:
        await until(lambda: is_up(issuer))
        server.env |= {**env, "ROOMCAST_OIDC_ISSUER": issuer}
        with server:
            context = await browser.new_context(locale="en-US")
            try:
                page = await context.new_page()
                page.set_default_timeout(LIMIT_MS)
                await page.goto(page_url)
                await page.get_by_test_id("sign-in").click()
                await page.locator("input[name=sub]").fill("ann@example.org")
                await page.locator("input[name=sub]").press("Enter")
                await page.wait_for_url(f"{page_url}/**")
                await expect(page.get_by_text("ann@example.org").first).to_be_visible(timeout=LIMIT_MS)
                # The session is one of the browser: a reload and another tab need no sign-in.
                other = await context.new_page()
                await other.goto(page_url)
                await expect(other.get_by_text("ann@example.org").first).to_be_visible(timeout=LIMIT_MS)
                await page.reload()
                await expect(page.get_by_text("ann@example.org").first).to_be_visible(timeout=LIMIT_MS)
                assert await page.evaluate("document.cookie") == ""
                # A sign-out that does not reach the server says so, and the user stays signed in.
                await page.route("**/api/auth/logout", lambda route: route.abort())
                async with page.expect_event("dialog") as shown:
                    page.once("dialog", lambda dialog: dialog.accept())
                    await page.get_by_role("button", name="Sign out").click()
                assert "still signed in" in (await shown.value).message
                await expect(page.get_by_text("ann@example.org").first).to_be_visible(timeout=LIMIT_MS)
                await page.unroute("**/api/auth/logout")
                await page.get_by_role("button", name="Sign out").click()
                await expect(page.get_by_test_id("sign-in")).to_be_visible(timeout=LIMIT_MS)
                await page.reload()
                await expect(page.get_by_test_id("sign-in")).to_be_visible(timeout=LIMIT_MS)
                await page.goto(f"{page_url}/?sign-in=failed")
                await expect(page.get_by_role("alert")).to_be_visible(timeout=LIMIT_MS)
            finally:
                await context.close()
