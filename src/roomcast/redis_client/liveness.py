"""Timeouts that tolerate a stalled event loop.

A process that did not run for a while (starved, stopped, swapped out) finds its timers due before it has read what
arrived meanwhile, and would take its own stall for the server's silence. A timeout is therefore waited for in slices:
a slice that lasted too long counts as one, and what has arrived is read before the next.

Layer: redis_client.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

#: Slices of one timeout: the loop reads at least so many times before it ends.
SLICES: Final = 8
# The stall may fall into the last slice. These are turns of the loop, not time, which may pass in another stall: one
# turn reads what arrived, the others deliver it to the task that waits.
_LAST_TURNS: Final = 4


async def wait_first(futures: AbstractSet[asyncio.Future[Any]], timeout_s: float) -> bool:
    """Wait for the first of some futures; none of them is cancelled.

    Returns:
        Whether one was done within ``timeout_s`` seconds in which this process could run.
    """
    for _ in range(SLICES):
        done, _ = await asyncio.wait(futures, timeout=timeout_s / SLICES, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return True
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)
    return any(future.done() for future in futures)


async def wait_for(work: Awaitable[_T], timeout_s: float) -> _T:
    """As `asyncio.wait_for`: ``work`` is cancelled at the timeout, and together with the caller.

    Raises:
        TimeoutError: ``work`` was not done within ``timeout_s`` seconds in which this process could run.
    """
    task = asyncio.ensure_future(work)
    try:
        if not await wait_first({task}, timeout_s):
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()


class Echo:
    """A random message that a process publishes to itself, to prove that it receives what it publishes.

    Attributes:
        nonce: The message.
        received: Done once it has come back.
    """

    __slots__ = ("nonce", "received")

    def __init__(self) -> None:
        self.nonce = secrets.token_hex(8).encode()
        self.received: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(self, data: bytes) -> None:
        """Take a message of the channel; an older nonce is ignored."""
        if data == self.nonce and not self.received.done():
            self.received.set_result(None)
