"""Waiting for what no event tells of: a property, another process, a server's answer."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Final

#: Far beyond what anything here takes; whoever promises less asserts it.
LIMIT_S: Final = 10.0


async def until(condition: Callable[[], Any], *, limit_s: float = LIMIT_S, step_s: float = 0.005) -> Any:
    """Ask again and again until the answer is true, and return it.

    Args:
        condition: May be a coroutine function.
        limit_s: Seconds in all.
        step_s: Seconds between two questions; more where each one costs something.

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
