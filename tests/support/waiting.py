"""Polling for conditions without an event: a property, another process, a server's answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

#: Far longer than any condition here takes. A test of a shorter limit asserts it.
LIMIT_S: Final = 10.0


async def until(condition: Callable[[], Any], *, limit_s: float = LIMIT_S, step_s: float = 0.005) -> Any:
    """Poll until the condition is true, and return its value.

    Args:
        condition: A function, or a coroutine function.
        limit_s: Time limit.
        step_s: Pause between two calls.

    Raises:
        TimeoutError: it was not true within ``limit_s``.
    """
    async with asyncio.timeout(limit_s):
        while True:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(step_s)
