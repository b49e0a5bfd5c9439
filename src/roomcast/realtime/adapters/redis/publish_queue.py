"""Messages that wait to be published.

Layer: realtime.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final, TypeAlias

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions

_WRITE_BYTES: Final = 65_536

#: Since when a command waits, the command, encoded as RESP, and the future of its reply, if that is of interest.
WaitingCommand: TypeAlias = tuple[float, bytes, asyncio.Future[Any] | None]


class PublishQueue:
    """A queue that is limited in bytes and in time, and drops the oldest message first.

    Args:
        options: The limits.
        counters: Counts dropped messages.

    Attributes:
        size_bytes: Total size of the waiting commands.
    """

    def __init__(self, options: RedisAdapterOptions, counters: RedisAdapterCounters) -> None:
        self._options = options
        self._counters = counters
        self._waiting: deque[WaitingCommand] = deque()
        self._for_room: list[asyncio.Future[None]] = []
        self.size_bytes = 0

    def put(self, command: bytes, now: float, reply: asyncio.Future[Any] | None = None) -> None:
        """Add a PUBLISH command.

        Args:
            command: The command, encoded as RESP.
            now: Monotonic seconds.
            reply: Receives the reply; stays pending if the command is dropped.
        """
        self._waiting.append((now, command, reply))
        self.size_bytes += len(command)
        while self.size_bytes > self._options.queue_limit_bytes and len(self._waiting) > 1:
            self._pop()
            self._counters.drop("queue-full")

    def take(self, now: float) -> list[WaitingCommand]:
        """Remove and return the commands for the next write; the list is empty if no command waits."""
        taken: list[WaitingCommand] = []
        size = 0
        while self._waiting and size < _WRITE_BYTES:
            waiting = self._pop()
            if now - waiting[0] > self._options.queue_limit_s:
                self._counters.drop("stale")
                continue
            taken.append(waiting)
            size += len(waiting[1])
        if self._for_room:
            self._wake()
        return taken

    async def room(self) -> None:
        """Wait until at most half of ``queue_limit_bytes`` is in use."""
        while self.size_bytes > self._options.queue_limit_bytes // 2:
            taken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._for_room.append(taken)
            await taken

    def _wake(self) -> None:
        waiting, self._for_room = self._for_room, []
        for taken in waiting:
            if not taken.done():
                taken.set_result(None)

    def clear(self) -> None:
        """Drop all messages without counting them."""
        self._waiting.clear()
        self.size_bytes = 0
        self._wake()

    def _pop(self) -> WaitingCommand:
        waiting = self._waiting.popleft()
        self.size_bytes -= len(waiting[1])
        return waiting
