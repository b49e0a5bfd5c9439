"""An event loop whose clock jumps to the next timer, so that waiting takes no time and keeps its order."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from selectors import DefaultSelector
from typing import Any, TypeVar

_T = TypeVar("_T")


class _JumpingSelector(DefaultSelector):
    """Moves the clock instead of waiting."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise RuntimeError("deadlock: nothing is ready and no timer is set")
        # Slightly more, since a sum of floats may fall short of the timer.
        self.now += timeout + 1e-9
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Runs ready callbacks, then jumps to the next timer. Not for sockets or threads."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumping.now


def run_in_virtual_time(main: Coroutine[Any, Any, _T]) -> _T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
