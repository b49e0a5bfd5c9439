"""Timeouts that tolerate a stalled event loop.

When a process resumes after a stall (starved, stopped, swapped out), its timers are due before it has read the data
that arrived meanwhile, and it would conclude that the server did not answer. A timeout is therefore split into slices:
a slice that lasted too long counts as one slice, and the data that has arrived is read before the next slice.

Layer: redis_client.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

#: Slices of one timeout: the loop reads at least this many times before the timeout ends.
SLICES: Final = 8
# Loop turns after the last slice, since the stall may fall into that slice. They are counted in turns, because time may
# pass in another stall: one turn reads the arrived data, the others deliver it to the waiting task.
_LAST_TURNS: Final = 4


async def wait_first(futures: AbstractSet[asyncio.Future[Any]], timeout_s: float) -> bool:
    """Wait until one of several futures is done, without cancelling the others.

    Returns:
        Whether a future was done within ``timeout_s`` seconds in which this process could run.
    """
    for _ in range(SLICES):
        done, _ = await asyncio.wait(futures, timeout=timeout_s / SLICES, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return True
    for _ in range(_LAST_TURNS):
        await asyncio.sleep(0)
    return any(future.done() for future in futures)


async def wait_for(work: Awaitable[_T], timeout_s: float) -> _T:
    """Like `asyncio.wait_for`: ``work`` is cancelled at the timeout, and when the caller is cancelled.

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
        nonce: The content of the message.
        received: Future that completes when the message has come back.
    """

    __slots__ = ("nonce", "received")

    def __init__(self) -> None:
        self.nonce = secrets.token_hex(8).encode()
        self.received: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def receive(self, data: bytes) -> None:
        """Handle a message on the channel; an older nonce is ignored."""
        if data == self.nonce and not self.received.done():
            self.received.set_result(None)
