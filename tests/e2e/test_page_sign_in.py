"""Sign-in on the page in a real Chromium, at a real OpenID provider."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from playwright.async_api import Browser, Page, expect

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.chat_page import LIMIT_MS
from support.open_id_provider import is_up, running_provider
from support.processes import Roomcast
from support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SECRET: Final = "a secret of more than thirty-two bytes"


@contextmanager
def signed_in_server(tmp_path: Path) -> Iterator[tuple[Roomcast, str]]:
    """A server whose users sign in at a provider, and the address of its page."""
    server = Roomcast.up(tmp_path / "data")
    page_url = f"http://127.0.0.1:{server.api_port}"
    with running_provider() as issuer:
        server.env |= {
            "ROOMCAST_RESPONDER": "none",
            "ROOMCAST_SECRET": SECRET,
            "ROOMCAST_OIDC_CLIENT_ID": "chat",
            "ROOMCAST_OIDC_CLIENT_SECRET": "any",
            "ROOMCAST_OIDC_ISSUER": issuer,
            "ROOMCAST_PAGE_URL": page_url,
        }
        yield server, page_url


async def sign_in(page: Page, page_url: str, user_id: str) -> None:
    page.set_default_timeout(LIMIT_MS)
    await page.get_by_test_id("sign-in").click()
    await page.locator("input[name=sub]").fill(user_id)
    await page.locator("input[name=sub]").press("Enter")
    await page.wait_for_url(f"{page_url}/**")
    await expect(page.get_by_text(user_id).first).to_be_visible(timeout=LIMIT_MS)


async def test_a_visitor_with_an_invite_link_signs_in_and_lands_in_the_chat(browser: Browser, tmp_path: Path) -> None:
    with signed_in_server(tmp_path) as (server, page_url):
        await until(lambda: is_up(server.env["ROOMCAST_OIDC_ISSUER"]))
        with server:
            owner = {"Authorization": f"Bearer {TokenIssuer(AuthOptions(SECRET)).issue('ann', ttl_s=300)}"}
            async with httpx.AsyncClient(base_url=server.api_url, headers=owner) as http:
                chat = (await http.post("/api/chats", json={"title": "Plans"})).raise_for_status().json()["id"]
                invite = (await http.post(f"/api/chats/{chat}/invites", json={})).raise_for_status().json()
            context = await browser.new_context(locale="en-US")
            try:
                page = await context.new_page()
                await page.goto(f"{page_url}/join/{invite['token']}")
                await sign_in(page, page_url, "bob@example.org")
                await page.get_by_test_id("join").click()
                await expect(page.get_by_test_id("chat-title")).to_have_text("Plans", timeout=LIMIT_MS)
                await expect(page).to_have_url(f"{page_url}/c/{chat}")
                await page.get_by_test_id("composer").fill("here I am")
                await page.get_by_test_id("composer").press("Enter")
                await expect(page.locator("[data-status=sent]")).to_have_count(1, timeout=LIMIT_MS)
            finally:
                await context.close()


async def test_a_user_signs_in_stays_signed_in_on_reload_and_signs_out(browser: Browser, tmp_path: Path) -> None:
    with signed_in_server(tmp_path) as (server, page_url):
        await until(lambda: is_up(server.env["ROOMCAST_OIDC_ISSUER"]))
        with server:
            context = await browser.new_context(locale="en-US")
            try:
                page = await context.new_page()
                await page.goto(page_url)
                await sign_in(page, page_url, "ann@example.org")
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
