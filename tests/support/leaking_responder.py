"""A responder of a real process that puts its prompt into errors, as a team's code may do."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator

from roomcast.chat.ports import Prompt


class TeamError(Exception):
    """An error of a team's code."""


async def _fail(text: str) -> None:
    raise TeamError(text)


class _Raises:
    def __init__(self, text: str) -> None:
        self.text = text

    def __del__(self) -> None:
        raise TeamError(self.text)


async def leak(prompt: Prompt) -> AsyncIterator[str]:
    """Raise the question's text: in a forgotten task, in a thread, in a destructor, and here with a cause and notes."""
    text = prompt.message.content
    task = asyncio.create_task(_fail(text))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    del task
    thread = threading.Thread(target=int, args=(text,))
    thread.start()
    thread.join()
    _Raises(text)
    gc.collect()
    yield "some words"
    try:
        {}[text]
    except KeyError as error:
        failure = TeamError(text, [text])
        failure.add_note(text)
        raise ExceptionGroup(text, [failure, ValueError(text)]) from error
