"""A responder without a model: it says that it is a demo, and quotes the message.

``/tool`` in the message shows reasoning and a call of a tool; ``/long`` shows a long answer with markdown, and
``/long 500`` one of about 500 words.

Layer: responders.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from typing import Final

from roomcast.chat.ports import AnswerItem, Chunk, Prompt

NAME: Final = "demo"
#: Longer quotations are truncated.
MAX_QUOTE_CHARS: Final = 80
#: The pace of a fast model.
WORDS_PER_S: Final = 50.0
#: A longer answer would exceed the length of a message.
MAX_LONG_WORDS: Final = 4_000
# CJK ideographs and their extensions. Like the page, the demo supports English and Traditional Chinese.
_HAN_RANGES: Final = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_HAN: Final = re.compile(rf"[{_HAN_RANGES}]")
# A word with the white space after it; of Chinese, two characters.
_WORD: Final = re.compile(rf"[{_HAN_RANGES}]{{1,2}}[^\w\s]*\s*|[^\s{_HAN_RANGES}]+\s*|\s+")
_LONG: Final = re.compile(r"/long\b(?: (\d{1,5})\b)?")
_TOOL_CALL: Final = "demo-tool"

_MARKDOWN: Final = """

## What an answer can contain

Text with **bold**, *italic* and `code`, and a [link](https://socket.io/docs/v4/).

1. It grows while you read it.
2. Everybody in the chat sees the same text.
3. Anybody can stop it.

```python
async def answer(prompt):
    for word in prompt.message.content.split():
        yield word + " "
```

| what | where |
|---|---|
| the text | stored in the database |
| its pieces | streamed, not stored |

> A reload in the middle loses nothing.
"""
_MARKDOWN_ZH: Final = """

## 回覆可以包含什麼

**粗體**、*斜體*、`程式碼`，以及[連結](https://socket.io/docs/v4/)。

1. 您閱讀時，文字持續增加。
2. 聊天室裡的每個人都看到相同的文字。
3. 任何人都可以停止。

```python
async def answer(prompt):
    for word in prompt.message.content.split():
        yield word + " "
```

| 項目 | 位置 |
|---|---|
| 文字 | 存在資料庫 |
| 片段 | 只串流，不儲存 |

> 中途重新載入，不會遺失任何內容。
"""


class DemoResponder:
    """Answers every message word by word, in the language of the message: English or Chinese.

    Args:
        words_per_s: The pace.
    """

    def __init__(self, words_per_s: float = WORDS_PER_S) -> None:
        self._pause_s = 1 / words_per_s

    @property
    def name(self) -> str:
        """The name by which chats refer to this responder."""
        return NAME

    async def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """Yield a disclaimer and a quotation of the message, and what the message asks for."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for item in _items(prompt):
            yield item
            # Late timers do not lower the pace.
            due += self._pause_s
            await asyncio.sleep(due - loop.time())


def _items(prompt: Prompt) -> Iterator[AnswerItem]:
    text = " ".join(prompt.message.content.split())
    chinese = _HAN.search(text) is not None
    if "/tool" in text:
        yield from _tool_call(text, len(prompt.history), chinese=chinese)
    yield from _WORD.findall(_introduction(text, len(prompt.history), chinese=chinese))
    if found := _LONG.search(text):
        words = _WORD.findall(_MARKDOWN_ZH if chinese else _MARKDOWN)
        wanted = min(int(found[1] or len(words)), MAX_LONG_WORDS)
        for number in range(wanted):
            yield words[number % len(words)]


def _introduction(text: str, earlier: int, *, chinese: bool) -> str:
    quote = text if len(text) <= MAX_QUOTE_CHARS else f"{text[: MAX_QUOTE_CHARS - 1]}…"
    if chinese:
        return (
            "我是 Roomcast 的示範回覆，不是真正的 AI 模型。"
            f"您說：「{quote}」（共 {len(text)} 個字元；之前的訊息我讀了 {earlier} 則）。"
        )
    return (
        "I am Roomcast's demo responder, not a real AI model. "
        f"You said “{quote}” ({_count(len(text.split()), 'word')}; I read {_count(earlier, 'earlier message')})."
    )


def _tool_call(text: str, earlier: int, *, chinese: bool) -> Iterator[Chunk]:
    thought = (
        "訊息要求使用工具，示範工具會計算字數。"
        if chinese
        else "The message asks for a tool. The demo's tool counts words."
    )
    yield {"type": "reasoning-start", "id": "thought"}
    for word in _WORD.findall(thought):
        yield {"type": "reasoning-delta", "id": "thought", "delta": word}
    yield {"type": "reasoning-end", "id": "thought"}
    call = {"toolCallId": _TOOL_CALL, "toolName": "count_words"}
    yield {"type": "tool-input-start", **call}
    yield {"type": "tool-input-available", **call, "input": {"text": text[:MAX_QUOTE_CHARS]}}
    output = {"words": len(text.split()), "earlierMessages": earlier}
    yield {"type": "tool-output-available", "toolCallId": _TOOL_CALL, "output": output}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
