"""Wakes workers in other processes, so that a queued turn does not wait for their next query of the queue.

Layer: worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from roomcast.chat.ports import EventLog, LogEntry, LogUnavailable

logger = logging.getLogger(__name__)

#: The channel of the queue, beside the channels of the chats. No chat has this id.
QUEUE: Final = "*turns"
_SIGNAL: Final = b"W"
_RETRY_S: Final = 5.0


class WorkerCall:
    """Wakes the workers of all processes. A lost signal delays a turn until the next query of the queue."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._wanted = asyncio.Event()

    def wake(self) -> None:
        """Wake the workers soon. Returns at once and never fails."""
        self._wanted.set()

    async def run(self) -> None:
        """Send the signals until cancelled. Calls while one is being sent share the next one."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._log.signal(QUEUE, _SIGNAL)
            except LogUnavailable as error:
                logger.debug("cannot wake workers: %s", error)


async def answer_calls(log: EventLog, wake: Callable[[], None]) -> None:
    """Call ``wake`` at each signal, until cancelled."""
    while True:
        try:
            subscription = await log.subscribe(QUEUE, _ignore_entries, lambda _payload: wake())
        except LogUnavailable as error:
            logger.debug("cannot subscribe to the channel of the queue: %s", error)
            await asyncio.sleep(_RETRY_S)
            continue
        try:
            await asyncio.Future()
        finally:
            await subscription.close()


def _ignore_entries(_epoch: str, _entries: Sequence[LogEntry]) -> None:
    pass
