"""Accessibility of what a page shows, by axe-core.

await assert_accessible(tab.page)
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from playwright.async_api import Page

_AXE: Final = Path(__file__).parents[2] / "web/node_modules/axe-core/axe.min.js"
# The levels of the headings in an answer are those that its model chose.
_RUN: Final = """async () => (await axe.run()).violations.flatMap(({ id, nodes }) => nodes
    .filter(({ target }) => id !== 'heading-order' || !document.querySelector(target[0])?.closest('.markdown'))
    .map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary}`))"""

_SETTLED: Final = """async () => {
    for (let frames = 0; frames < 3; frames++) await new Promise((next) => requestAnimationFrame(next));
    const once = document.getAnimations().filter(({ effect }) => effect.getTiming().iterations === 1);
    await Promise.allSettled(once.map(({ finished }) => finished));
}"""


@cache
def _source() -> str:
    return _AXE.read_text()


async def assert_accessible(page: Page) -> None:
    """Check that axe finds no violation, by all its rules, in what the page shows now."""
    if not await page.evaluate("typeof axe === 'object'"):
        # Evaluated, since the Content Security Policy of the page admits no other script.
        await page.evaluate(_source())
    # The last change is drawn, and elements that were fading in have their contrast.
    await page.evaluate(_SETTLED)
    violations = await page.evaluate(_RUN)
    assert violations == [], "\n".join(violations)
