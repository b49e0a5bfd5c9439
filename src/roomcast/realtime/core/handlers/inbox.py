"""Events received from one connection whose handlers have not started: order and limits of dispatch.

Guaranteed for each connection:

- Handlers start in order of arrival. A plain function runs to its end before the next handler starts; a coroutine
  function runs to its first await. (Python 3.11 has no eager tasks: there it starts one loop iteration later, and the
  next handlers wait for that.)
- At most ``handler_concurrency`` coroutine handlers run at once; further events wait. At ``inbox_limit`` events or
  ``max_payload_bytes`` that wait, the transport stops reading.
- Acknowledgements are not events: their callbacks and futures wait for no handler.
- While the server waits for the client, reading goes on: handlers may wait for the acknowledgements that are still
  unread, and a pong may be. Then `EXPECTING_LIMIT` times ``max_payload_bytes`` may wait. If handlers do not end, the
  ping timeout closes a client that sends more before its pong.
- An event counts with its text and attachments, or with a part of the memory of its values (`weight`) if that is more.

Layer: realtime.core.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from roomcast.realtime.options import ServerOptions

#: Starts one handler: runs a function, or returns the coroutine that is still to run.
Job = Callable[[], Coroutine[Any, Any, None] | None]

#: How many times ``max_payload_bytes`` may wait while the server waits for the client.
EXPECTING_LIMIT: Final = 4
# The memory of a small event that waits, beyond its packet.
_EVENT_BYTES: Final = 512
# About the memory of JSON values beyond their text: once it is parsed, 1 MB of ``{"":0},`` takes 27 MB.
_VALUE_BYTES: Final = 32
_ARRAY_BYTES: Final = 48
_OBJECT_BYTES: Final = 160
# How many times the text of an event its values may take before they count: common objects take 4 to 10 times.
_COMMON_SHARE: Final = 4

# A constant, since Python 3.11 formats a name for each task that has none.
_TASK_NAME: Final = "roomcast-handler"


def weight(data: str | bytes) -> int:
    """How much a packet counts while its event waits, in bytes."""
    if not isinstance(data, str):
        return len(data)
    values_bytes = (
        data.count(",") * _VALUE_BYTES + data.count("[") * _ARRAY_BYTES + data.count("{") * _OBJECT_BYTES + len(data)
    )
    return max(len(data), values_bytes // _COMMON_SHARE)


class InboxOwner(Protocol):
    """What an inbox needs from its connection."""

    @property
    def options(self) -> ServerOptions:
        """Options of the server."""

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The running handlers of the server."""

    @property
    def expects_input(self) -> bool:
        """Whether the server waits for an acknowledgement or a pong of the client."""

    def pause_reading(self) -> None:
        """Stop reading from the client."""

    def resume_reading(self) -> None:
        """Continue reading."""


class Inbox:
    """The waiting jobs of one connection."""

    __slots__ = ("_calling", "_jobs", "_owner", "_paused", "_running", "_size_bytes", "_starting")

    def __init__(self, owner: InboxOwner) -> None:
        self._owner = owner
        self._jobs: deque[tuple[Job, int]] | None = None
        self._size_bytes = 0
        self._running = 0
        self._calling = False
        self._starting = False
        self._paused = False

    @property
    def full(self) -> bool:
        """Whether the inbox has paused reading."""
        return self._paused

    def put(self, job: Job, data: str | bytes = "", attached_bytes: int = 0) -> None:
        """Start the job now, or after the jobs before it.

        Args:
            job: The job.
            data: The packet that it handles; of several, the last one.
            attached_bytes: Size of those before the last one.
        """
        jobs = self._jobs  # a local name, since mypy takes the attribute for None after the call, too
        if jobs is None and self._may_start():
            self._start(job)
            if self._jobs is not None:  # the handler added one: a disconnect runs its own ``disconnect`` handler
                self._drain()
            return
        if self._jobs is None:
            self._jobs = deque()
        size_bytes = weight(data) + attached_bytes
        self._jobs.append((job, size_bytes))
        self._size_bytes += size_bytes
        options = self._owner.options
        if self._paused or (len(self._jobs) < options.inbox_limit and self._size_bytes < options.max_payload_bytes):
            return
        if not self._must_read():
            self._paused = True
            self._owner.pause_reading()

    def read_on(self) -> None:
        """Continue reading if the server waits for the client, unless too much waits."""
        if self._paused and self._must_read():
            self._paused = False
            self._owner.resume_reading()

    def _must_read(self) -> bool:
        waiting_bytes = self._size_bytes + len(self._jobs or ()) * _EVENT_BYTES
        limit_bytes = EXPECTING_LIMIT * self._owner.options.max_payload_bytes
        return self._owner.expects_input and waiting_bytes < limit_bytes

    def run_at_once(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run what no handler delays: one of them may wait for it."""
        task = asyncio.get_running_loop().create_task(coroutine, name=_TASK_NAME)
        self._owner.tasks.add(task)
        task.add_done_callback(self._owner.tasks.discard)

    def _may_start(self) -> bool:
        if self._calling or self._starting:
            return False
        return not self._running or self._running < self._owner.options.handler_concurrency

    def _start(self, job: Job) -> None:
        self._calling = True
        try:
            coroutine = job()
            if coroutine is None:
                return
            self._run(coroutine)
        finally:
            self._calling = False

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        loop = asyncio.get_running_loop()
        if sys.version_info >= (3, 12):
            task = asyncio.Task(coroutine, loop=loop, name=_TASK_NAME, eager_start=True)
            if not task.done():
                self._owner.tasks.add(task)
                self._running += 1
                task.add_done_callback(self._ended)
        else:
            task = asyncio.Task(coroutine, loop=loop, name=_TASK_NAME)
            self._owner.tasks.add(task)
            self._running += 1
            self._starting = True
            loop.call_soon(self._started, task)  # runs after the task's first step

    def _started(self, task: asyncio.Task[None]) -> None:
        """Only before Python 3.12."""
        self._starting = False
        if task.done():  # the most common case: it needs no callback
            self._ended(task)
        else:
            task.add_done_callback(self._ended)
            self._drain()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._owner.tasks.discard(task)
        self._running -= 1
        self._drain()

    def _drain(self) -> None:
        while self._jobs and self._may_start():
            job, size_bytes = self._jobs.popleft()
            self._size_bytes -= size_bytes
            self._start(job)
        if self._jobs:
            self.read_on()
        else:
            self._jobs = None
            if self._paused:
                self._paused = False
                self._owner.resume_reading()
