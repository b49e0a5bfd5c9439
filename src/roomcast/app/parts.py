"""The background work of a process. A part that ends by itself ends the process: better no service than half of one.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from roomcast.app.errors import PartDied

logger = logging.getLogger(__name__)


class Parts:
    """Runs parts until it is left.

    Args:
        stop: Set when a part dies.
        stop_limit_s: How long cancelled parts may take to clean up.
    """

    def __init__(self, stop: asyncio.Event, stop_limit_s: float) -> None:
        self._stop = stop
        self._stop_limit_s = stop_limit_s
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._failure: PartDied | None = None

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a part in the background."""
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = name
        task.add_done_callback(self._ended)

    def check(self) -> None:
        """Fail if a part has died.

        Raises:
            PartDied: the first one.
        """
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Cancel all parts and wait for them, for a while."""
        tasks = set(self._tasks)
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._stop_limit_s)
        for task in late:
            logger.warning("the %s did not end within %.1f s", task.get_name(), self._stop_limit_s)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        name = self._tasks.pop(task, None)
        if error is not None:
            logger.error("the %s failed", task.get_name(), exc_info=error)
        if name is not None and self._failure is None:
            self._failure = PartDied(name, error)
            self._stop.set()
