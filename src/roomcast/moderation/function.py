"""A team's own Python function as the moderation hook, loaded by ``module:name``.

It runs on an event loop of its own, in a thread, so that a function that blocks delays no other work of the process:
its review fails at the deadline, as that of an absent hook.

Layer: moderation.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from roomcast.contract.moderation import Review, Verdict
from roomcast.loading import NotLoadable, load_attribute


class FunctionModerator:
    """Asks a function.

    Args:
        function: Returns a `Verdict`, or a dictionary with its fields; None: the text passes.
    """

    def __init__(self, function: Callable[[Review], Awaitable[Any]]) -> None:
        self._function = function
        self._loop: asyncio.AbstractEventLoop | None = None

    async def review(self, review: Review) -> Verdict:
        """See the port. Cancelling it cancels the function, unless that blocks."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # A function that blocks for ever does not keep the process from ending.
            threading.Thread(target=_serve, args=(self._loop,), name="moderation", daemon=True).start()
        asked = asyncio.run_coroutine_threadsafe(self._ask(review), self._loop)
        verdict = await asyncio.wrap_future(asked)
        return Verdict(action="pass") if verdict is None else Verdict.model_validate(verdict)

    async def _ask(self, review: Review) -> Any:
        return await self._function(review)

    async def close(self) -> None:
        """End the thread, once the function does not block."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def load_moderator(name: str) -> FunctionModerator:
    """Load ``module:name``.

    Raises:
        NotLoadable: there is no such function, or it is not ``async``.
    """
    found = load_attribute(name)
    if not inspect.iscoroutinefunction(found):
        raise NotLoadable(f"{name!r} must be an `async def` function with one parameter, the text to review")
    return FunctionModerator(found)
