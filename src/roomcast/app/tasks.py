"""The background tasks of a process. A task that ends without being stopped ends the process: no part may be missing.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from roomcast.app.errors import TaskFailed

logger = logging.getLogger(__name__)


class BackgroundTasks:
    """Runs named tasks until they are stopped.

    Args:
        failed: Set when a task ends without being stopped.
        stop_limit_s: Seconds that cancelled tasks may take to clean up.
    """

    def __init__(self, failed: asyncio.Event, stop_limit_s: float) -> None:
        self._failed = failed
        self._stop_limit_s = stop_limit_s
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._failure: TaskFailed | None = None

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a task in the background. ``name`` appears in logs and in `TaskFailed`."""
        task = asyncio.create_task(work, name=name)
        self._tasks[task] = name
        task.add_done_callback(self._on_done)

    def check(self) -> None:
        """Fail if a task ended without being stopped.

        Raises:
            TaskFailed: names the first such task.
        """
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Cancel all tasks, and wait up to ``stop_limit_s`` for their end. May be called more than once."""
        tasks = set(self._tasks)
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=self._stop_limit_s)
        for task in late:
            facts = {"task": task.get_name(), "limit_s": self._stop_limit_s}
            logger.warning("a background task did not stop in time", extra=facts)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        name = self._tasks.pop(task, None)
        if error is not None:
            logger.error("a background task failed", exc_info=error, extra={"task": task.get_name()})
        if name is not None and self._failure is None:
            self._failure = TaskFailed(name, error)
            self._failed.set()
