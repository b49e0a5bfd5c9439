"""Your own Python code behind a chat: a typed function as a tool, and an answer that grows.

Run ``roomcast up --responder assistant:answer`` in this directory, open the printed address, and ask something. Call a
model in place of the loop: `answer` may await anything, and is closed when a member stops the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from roomcast.responders import AnswerItem, Prompt, ToolCall


def clock(offset_hours: int = 0) -> str:
    """The time of day at an offset from UTC."""
    return f"{(datetime.now(UTC).hour + offset_hours) % 24} o'clock"


async def answer(prompt: Prompt) -> AsyncIterator[AnswerItem]:
    """Answer `prompt.message`; `prompt.history` has the messages before it."""
    call = ToolCall(clock, {"offset_hours": 8})
    async for chunk in call.run():
        yield chunk
    yield f"In Taipei it is {call.output}. "
    for word in f"You said: {prompt.message.content}".split():
        await asyncio.sleep(0.02)
        yield f"{word} "
