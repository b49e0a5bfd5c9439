"""Responders of a real process, for tests of the page: ``support.page_responders:hostile`` and ``…:steady``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from roomcast.chat.ports import Prompt

TEXT: Final = """\
<script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">
<iframe src="https://evil.example/"></iframe><style>* { display: none }</style>

![pixel](https://evil.example/pixel.png) [go](javascript:window.hacked=1) [bank](https://evil.example/login)
<svg onload="window.hacked=1"> [x]: javascript:window.hacked=1 \u202e reversed \u0007\u001b[31m

"""
UNBROKEN: Final = "x" * 10_000


async def steady(prompt: Prompt) -> AsyncIterator[str]:
    """Yield as many words as the question says at once, in paragraphs, and then 50 words a second for 4 s."""
    yield " ".join("\n\n**word** `x`" if number % 40 == 39 else "word" for number in range(int(prompt.message.content)))
    for number in range(200):
        yield "\n\n" if number % 40 == 39 else " more"
        await asyncio.sleep(0.02)


async def hostile(_prompt: Prompt) -> AsyncIterator[str | dict[str, Any]]:
    """Yield an answer that tries to run, to load and to break what it can."""
    yield TEXT
    yield UNBROKEN + "\n\n```\n" + UNBROKEN + "\n```\n\n" + "> " * 500 + "deep\n\nThe end."
    yield {"type": "source-url", "sourceId": "s", "url": "https://evil.example/", "title": "<b>source</b>"}
    yield {"type": "file", "url": "https://evil.example/file.svg", "mediaType": "image/svg+xml"}
