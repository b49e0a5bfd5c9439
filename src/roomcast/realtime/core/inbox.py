"""What a client sent and handlers have not started on yet: order and bounds of dispatch.

Guaranteed, for everything that comes over one connection:

- Handlers start in order of arrival. A plain function runs to its end before the next handler starts; a coroutine
  function runs to its first await (on Python 3.11, without eager tasks, one loop iteration later: the handlers behind
  it wait for that).
- At most ``handler_concurrency`` coroutine handlers run at once. Then what comes is kept, and once that is
  ``inbox_limit`` events, or as many bytes as one message may have, the transport is not read any further.

Layer: realtime.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomcast.realtime.core.connection import Connection

#: Starts one handler: runs it if it is a function, else gives the coroutine that is still to run.
Job = Callable[[], Coroutine[Any, Any, None] | None]


class Inbox:
    """The jobs of one connection."""

    __slots__ = ("_calling", "_connection", "_jobs", "_paused", "_running", "_size_bytes", "_starting")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._jobs: deque[tuple[Job, int]] | None = None
        self._size_bytes = 0
        self._running = 0
        self._calling = False
        self._starting = False
        self._paused = False

    @property
    def full(self) -> bool:
        """Whether nothing more should be read before `Inbox` says so."""
        return self._paused

    def put(self, job: Job, size_bytes: int) -> None:
        """Start the job now, or after those before it."""
        options = self._connection.options
        if self._jobs is None and self._may_start(options.handler_concurrency):
            self._start(job)
            if self._jobs is not None:  # a handler that leaves, say, has its own ``disconnect`` behind it
                self._drain()
            return
        if self._jobs is None:
            self._jobs = deque()
        self._jobs.append((job, size_bytes))
        self._size_bytes += size_bytes
        if not self._paused and (
            len(self._jobs) >= options.inbox_limit or self._size_bytes >= options.max_payload_bytes
        ):
            self._paused = True
            self._connection.pause_reading()

    def _may_start(self, limit: int) -> bool:
        return not self._calling and not self._starting and self._running < limit

    def _start(self, job: Job) -> None:
        self._calling = True
        try:
            coroutine = job()
            if coroutine is None:
                return
            task = self._run(coroutine)
        finally:
            self._calling = False
        if not task.done():
            self._running += 1
            self._connection.tasks.add(task)
            task.add_done_callback(self._ended)

    if sys.version_info >= (3, 12):

        def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            return asyncio.Task(coroutine, loop=asyncio.get_running_loop(), eager_start=True)

    else:

        def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
            loop = asyncio.get_running_loop()
            task = loop.create_task(coroutine)
            self._starting = True
            loop.call_soon(self._started)  # behind the task's first step
            return task

        def _started(self) -> None:
            self._starting = False
            self._drain()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._connection.tasks.discard(task)
        self._running -= 1
        self._drain()

    def _drain(self) -> None:
        limit = self._connection.options.handler_concurrency
        while self._jobs and self._may_start(limit):
            job, size_bytes = self._jobs.popleft()
            self._size_bytes -= size_bytes
            self._start(job)
        if not self._jobs:
            self._jobs = None
            if self._paused:
                self._paused = False
                self._connection.resume_reading()
