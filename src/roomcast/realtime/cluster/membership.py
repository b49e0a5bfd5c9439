"""When a server is in its cluster: from its first use until it stops, or until its event loop ends.

A mounted ASGI application gets no lifespan, so the start and the end of the process are not announced to it.

Layer: realtime.cluster. Source: ASGI 3, "Lifespan"; Starlette's ``Mount``, which passes requests and websockets only.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from roomcast.realtime.cluster.commands import Adapter, Command

logger = logging.getLogger(__name__)


class Membership:
    """Starts and stops an adapter.

    Args:
        adapter: The adapter; an adapter that is `alone` is never started.

    Attributes:
        joined: Whether the adapter has started.
    """

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._accepts = self.joined = adapter.alone
        self._task: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None
        self._held: list[tuple[Callable[[Command], None], Command]] = []
        # After the end, a late emit, as of a disconnect handler, does not start the adapter again in the same loop.
        self._left: asyncio.AbstractEventLoop | None = None

    async def join(self) -> None:
        """Start the adapter unless it has started, and wait until it has.

        Raises:
            Exception: of `Adapter.start`. The next call tries again.
        """
        if not self.joined:
            started = self._begin() if self._started is None else self._started
            await asyncio.shield(started)

    async def join_unless_left(self) -> None:
        """`join`, but not after the end in the same loop, as of a query of a disconnect handler."""
        if not self.joined and asyncio.get_running_loop() is not self._left:
            await self.join()

    async def leave(self) -> None:
        """Stop the adapter. Harmless if it has not started."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    def publish(self, command: Command) -> None:
        """Send a command to the other servers; the first one starts the adapter."""
        self.publish_by(self._adapter.publish, command)

    def publish_by(self, send: Callable[[Command], None], command: Command) -> None:
        """Send a command by another method of the adapter."""
        if self._accepts:
            send(command)
            return
        if self._task is None:
            if asyncio.get_running_loop() is self._left:
                return
            self._begin()
        self._held.append((send, command))

    def _begin(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        self._task = loop.create_task(self._run(self._started), name="cluster-membership")
        self._task.add_done_callback(self._end)
        # Runs after the first step of the task, from which on the adapter has a queue of its own.
        loop.call_soon(self._release, self._task)
        return self._started

    def _release(self, task: asyncio.Task[None]) -> None:
        if task is self._task and not task.done():
            self._accepts = True
            held, self._held = self._held, []
            for send, command in held:
                send(command)

    async def _run(self, started: asyncio.Future[None]) -> None:
        """Start the adapter, and stop it when this task is cancelled: by `leave`, or at the end of ``asyncio.run``."""
        try:
            await self._adapter.start()
            self.joined = True
            started.set_result(None)
            await asyncio.get_running_loop().create_future()
        finally:
            await self._adapter.stop()

    def _end(self, task: asyncio.Task[None]) -> None:
        started, self._started = self._started, None
        joined, self.joined = self.joined, False
        self._task = None
        self._accepts = False
        self._held.clear()
        if joined or task.cancelled():
            self._left = task.get_loop()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("the adapter failed to %s", "stop" if joined else "start", exc_info=error)
        if started is None or started.done():
            return
        if error is None:
            started.cancel()
        else:
            started.set_exception(error)
            started.exception()  # logged above, if no request waits for it
