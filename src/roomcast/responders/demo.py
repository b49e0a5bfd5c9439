"""A responder without a model: it says that it is a demo, and quotes the message.

Layer: responders.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Final

from roomcast.chat.ports import Prompt

NAME: Final = "demo"
#: Longer quotations are truncated.
MAX_QUOTE_CHARS: Final = 80
# CJK ideographs and their extensions. Like the page, the demo supports English and Traditional Chinese.
_HAN: Final = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


class DemoResponder:
    """Answers every message immediately, in the language of the message: English or Chinese."""

    @property
    def name(self) -> str:
        """The name by which chats refer to this responder."""
        return NAME

    async def respond(self, prompt: Prompt) -> AsyncIterator[str]:
        """Yield two sentences: a disclaimer, and a quotation of the message."""
        text = " ".join(prompt.message.content.split())
        quote = text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 1]}…"
        words = len(text.split())
        earlier = len(prompt.history)
        if _HAN.search(text):
            yield "我是 Roomcast 的示範回覆，不是真正的 AI 模型。"
            yield f"您說：「{quote}」（共 {len(text)} 個字元；之前的訊息我讀了 {earlier} 則）。"
        else:
            yield "I am Roomcast's demo responder, not a real AI model. "
            yield f"You said “{quote}” ({_count(words, 'word')}; I read {_count(earlier, 'earlier message')})."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
