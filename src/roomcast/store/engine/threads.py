"""Threads that run calls which block, and pass each outcome to the event loop.

`ThreadPoolExecutor` with `run_in_executor` does the same in twice the time: it creates two futures, a lock and a
condition for each call.

Layer: store.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

_T = TypeVar("_T")

_Item = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class Threads:
    """A number of threads with one queue.

    The threads are daemons: a process that fails before `shutdown` still ends.

    Args:
        size: Number of threads; each is started by one of the first calls.
        name: Their names begin with it.
    """

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._name = name
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def run(self, call: Callable[[], _T]) -> asyncio.Future[_T]:
        """Queue a call. It runs even if the future is cancelled. Calls begin in their order.

        Raises:
            RuntimeError: after `shutdown`.
        """
        if self._closed:
            raise RuntimeError("the threads are shut down")
        outcome: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        if len(self._threads) < self._size:
            name = f"{self._name}_{len(self._threads)}"
            self._threads.append(threading.Thread(target=self._serve, name=name, daemon=True))
            self._threads[-1].start()
        self._queue.put((call, outcome))
        return outcome

    def shutdown(self) -> None:
        """Run the queued calls and end the threads. Blocks until then. Idempotent."""
        self._closed = True
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (item := self._queue.get()) is not None:
            call, outcome = item
            result, failure = None, None
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                failure = error
            with suppress(RuntimeError):  # the loop is closed
                outcome.get_loop().call_soon_threadsafe(_resolve, outcome, result, failure)
            # Else they would live until the next call.
            del item, call, outcome, result, failure


def _resolve(outcome: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
    if outcome.done():  # its caller was cancelled
        return
    if failure is None:
        outcome.set_result(result)
    else:
        outcome.set_exception(failure)
