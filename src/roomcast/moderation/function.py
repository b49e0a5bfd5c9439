"""A team's own Python function as the moderation hook, loaded by ``module:name``.

Layer: moderation.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from roomcast.chat.ports import Moderator
from roomcast.contract.moderation import Review, Verdict
from roomcast.loading import NotLoadable, load_attribute


class FunctionModerator:
    """Asks a function.

    Args:
        function: Returns a `Verdict`, or a dictionary with its fields; None: the text passes.
    """

    def __init__(self, function: Callable[[Review], Awaitable[Any]]) -> None:
        self._function = function

    async def review(self, review: Review) -> Verdict:
        """See the port."""
        verdict = await self._function(review)
        return Verdict(action="pass") if verdict is None else Verdict.model_validate(verdict)


def load_moderator(name: str) -> Moderator:
    """Load ``module:name``.

    Raises:
        NotLoadable: there is no such function, or it is not ``async``.
    """
    found = load_attribute(name)
    if not inspect.iscoroutinefunction(found):
        raise NotLoadable(f"{name!r} must be an `async def` function with one parameter, the text to review")
    return FunctionModerator(found)
