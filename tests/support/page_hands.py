"""How a user operates the page: with the keyboard only, or by touch only."""

from __future__ import annotations

from typing import Any, Final, Protocol

from playwright.async_api import Locator, expect

from support.chat_page import LIMIT_MS, Tab

#: More than the page has between two elements of a test.
_MAX_STEPS: Final = 150
_IS_FOCUSED: Final = "(element) => element === document.activeElement"


class Hand(Protocol):
    """One way to operate the page.

    Attributes:
        context: Options of the browser context.
    """

    context: dict[str, Any]

    async def press(self, target: Locator) -> None:
        """Activate a button or link."""

    async def choose(self, target: Locator, value: str) -> None:
        """Choose an option of a list."""

    async def toggle(self, target: Locator) -> None:
        """Change a checkbox."""

    async def write(self, field: Locator, text: str) -> None:
        """Type into a field."""

    async def submit(self, tab: Tab, button: str) -> None:
        """Send the field that has the focus; ``button`` is the test id of its button."""

    async def act(self, tab: Tab, message: Locator, *actions: str) -> None:
        """Activate actions of a message, by their test ids."""

    async def close(self, tab: Tab) -> None:
        """Close the open panel."""

    async def show_chats(self, tab: Tab) -> None:
        """Make the list of chats visible."""

    async def open_search(self, tab: Tab) -> None:
        """Open the search."""


class Keyboard:
    """The keyboard: each element is reached with Tab or the arrow keys, as on a wide screen without a pointer."""

    def __init__(self) -> None:
        self.context: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}

    async def press(self, target: Locator) -> None:
        await self._reach(target)
        await target.page.keyboard.press("Enter")

    async def choose(self, target: Locator, value: str) -> None:
        await self._reach(target)
        values = await target.locator("option").evaluate_all("options => options.map(option => option.value)")
        steps = values.index(value) - values.index(await target.input_value())
        # Each step is a choice, which the page may send.
        for _ in range(abs(steps)):
            await target.page.keyboard.press("ArrowDown" if steps > 0 else "ArrowUp")
        await expect(target).to_have_value(value, timeout=LIMIT_MS)

    async def toggle(self, target: Locator) -> None:
        await self._reach(target)
        await target.page.keyboard.press("Space")

    async def write(self, field: Locator, text: str) -> None:
        await self._reach(field)
        await field.page.keyboard.press("Control+a")
        await field.page.keyboard.type(text)

    async def submit(self, tab: Tab, button: str) -> None:
        await tab.page.keyboard.press("Enter")

    async def act(self, tab: Tab, message: Locator, *actions: str) -> None:
        await self._reach(tab.by("composer"))
        await self._step(message, "ArrowUp")
        for action in actions:
            await self.press(message.get_by_test_id(action).first)

    async def close(self, tab: Tab) -> None:
        await tab.page.keyboard.press("Escape")

    async def show_chats(self, tab: Tab) -> None:
        pass

    async def open_search(self, tab: Tab) -> None:
        await tab.page.keyboard.press("Control+k")

    async def _reach(self, target: Locator) -> None:
        await self._step(target, "Tab")

    async def _step(self, target: Locator, key: str) -> None:
        for _ in range(_MAX_STEPS):
            if await target.evaluate(_IS_FOCUSED, timeout=LIMIT_MS):
                return
            await target.page.keyboard.press(key)
        raise AssertionError(f"{target} is not reached with {key}")


class Touch:
    """Touch on a phone: only taps, and the keys of its keyboard for text."""

    def __init__(self) -> None:
        self.context: dict[str, Any] = {
            "viewport": {"width": 390, "height": 844},
            "has_touch": True,
            "is_mobile": True,
        }

    async def press(self, target: Locator) -> None:
        await target.tap()

    async def choose(self, target: Locator, value: str) -> None:
        # The operating system shows the list.
        await target.select_option(value)

    async def toggle(self, target: Locator) -> None:
        await target.tap()

    async def write(self, field: Locator, text: str) -> None:
        await field.tap()
        await field.fill("")
        await field.page.keyboard.insert_text(text)

    async def submit(self, tab: Tab, button: str) -> None:
        await tab.by(button).tap()

    async def act(self, tab: Tab, message: Locator, *actions: str) -> None:
        await message.get_by_test_id("message-text").tap()
        for action in actions:
            await message.get_by_test_id(action).first.tap()

    async def close(self, tab: Tab) -> None:
        # Beside the panel.
        await tab.page.touchscreen.tap(195, 830)

    async def show_chats(self, tab: Tab) -> None:
        await tab.by("open-sidebar").tap()
        await expect(tab.by("sidebar")).to_be_in_viewport(ratio=0.99)

    async def open_search(self, tab: Tab) -> None:
        await self.show_chats(tab)
        await tab.by("open-search").tap()
