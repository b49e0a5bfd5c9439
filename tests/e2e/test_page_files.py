"""Files on the page: upload by button, drop and paste, in two browsers."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from PIL import Image
from playwright.async_api import Browser, FilePayload, Locator, expect

from support.chat_page import LIMIT_MS, Tab, open_tab
from support.processes import Roomcast

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

#: Gives the composer a file as the event of a drop or a paste has it.
GIVE = """(element, [kind, name, type, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, { type }));
    const given = kind === 'drop' ? { dataTransfer: data } : { clipboardData: data };
    const make = kind === 'drop' ? DragEvent : ClipboardEvent;
    element.dispatchEvent(new make(kind, { ...given, bubbles: true, cancelable: true }));
}"""


def picture(width: int = 1920, height: int = 1080) -> FilePayload:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(file, "png")
    return {"name": "gradient.png", "mimeType": "image/png", "buffer": file.getvalue()}


async def give(tab: Tab, kind: str, name: str, text: str = "hello") -> None:
    await tab.by("composer").evaluate(GIVE, [kind, name, "text/plain", text])


def uploads(tab: Tab) -> Locator:
    return tab.page.locator('[data-testid="upload"][data-done="true"]')


async def test_files_are_uploaded_previewed_sent_shown_and_deleted(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann, open_tab(browser, server.api_url, "Bob") as bob:
            await ann.by("file-input").set_input_files([picture()])
            await give(ann, "drop", "notes.txt", "dropped")
            await give(ann, "paste", "pasted.txt", "pasted")
            await expect(uploads(ann)).to_have_count(3, timeout=LIMIT_MS)
            await ann.page.get_by_role("button", name="Remove pasted.txt").press("Enter")
            await expect(ann.by("upload")).to_have_count(2)
            await ann.by("send").click()
            await expect(ann.by("upload")).to_have_count(0)
            shown = bob.by("picture").locator("img")
            await expect(shown).to_be_visible(timeout=LIMIT_MS)
            # Its place is reserved before it is loaded.
            assert await shown.evaluate("image => [image.width, image.height]") == [320, 180]
            await expect(shown).to_have_js_property("complete", value=True)
            assert await shown.evaluate("image => image.naturalWidth") == 640
            await expect(bob.by("file")).to_contain_text("notes.txt")
            async with bob.page.expect_download() as download:
                await bob.by("file").click()
            saved = await (await download.value).path()
            assert await asyncio.to_thread(saved.read_text) == "dropped"
            assert (await download.value).suggested_filename == "notes.txt"
            await bob.by("picture").press("Enter")
            await expect(bob.by("viewer")).to_be_visible()
            await bob.page.keyboard.press("Escape")
            await expect(bob.by("viewer")).to_be_hidden()
            await expect(bob.by("picture")).to_be_focused()
            await bob.page.reload()
            await expect(bob.by("picture").locator("img")).to_be_visible(timeout=LIMIT_MS)
            await ann.by("delete").first.press("Enter")
            await ann.by("delete-confirm").press("Enter")
            await expect(bob.by("picture")).to_have_count(0, timeout=LIMIT_MS)
            await expect(bob.by("file")).to_have_count(0)


async def test_an_upload_that_fails_is_repeated(browser: Browser, tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as server:
        async with open_tab(browser, server.api_url, "Ann") as ann:
            await ann.page.route("**/files?name=*", lambda route: route.abort("connectionrefused"))
            await give(ann, "paste", "notes.txt")
            retry = ann.by("upload-retry")
            await expect(retry).to_be_visible(timeout=LIMIT_MS)
            await expect(ann.by("send")).to_be_disabled()
            await ann.page.unroute("**/files?name=*")
            await retry.press("Enter")
            await expect(uploads(ann)).to_have_count(1, timeout=LIMIT_MS)
            await ann.by("send").click()
            await expect(ann.by("file")).to_contain_text("notes.txt", timeout=LIMIT_MS)
