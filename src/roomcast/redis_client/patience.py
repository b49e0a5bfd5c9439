"""Waiting for a sign of life, by a process that may have been asleep itself.

A process that did not run for a while (starved, stopped, swapped out) finds its timers due before it has read what
arrived meanwhile, and would take its own sleep for the server's. A limit is therefore waited for in beats: a beat that
lasted too long counts as one, and what has arrived is read before the next.

Layer: redis_client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

#: Beats of one limit: so many reads, at least, come before it ends.
BEATS: Final = 8
#: The sleep may fall into the last beat. Turns of the loop, not time, which may pass asleep again: one reads what came,
#: the others hand it to whoever waits for it.
_LAST_TURNS: Final = 4


async def first_done(waiting: AbstractSet[asyncio.Future[Any]], limit_s: float) -> bool:
    """Wait for the first of some futures; none of them is cancelled.

    Returns:
        Whether one was done within ``limit_s`` seconds in which this process could run.
    """
    for _ in range(BEATS):
        done, _ = await asyncio.wait(waiting, timeout=limit_s / BEATS, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return True
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)
    return any(future.done() for future in waiting)


async def within(work: Awaitable[_T], limit_s: float) -> _T:
    """The result of ``work``, which is cancelled if it takes longer, and together with the caller.

    Raises:
        TimeoutError: it was not done within ``limit_s`` seconds in which this process could run.
    """
    task = asyncio.ensure_future(work)
    try:
        if not await first_done({task}, limit_s):
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()
