"""A team's own Python function as a responder, loaded by ``module:name``.

Layer: responders.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from roomcast.chat.ports import AnswerItem, Prompt, Responder, ResponderFailure
from roomcast.loading import NotLoadable, load_attribute
from roomcast.responders.threads import in_thread


class NotAResponder(Exception):
    """The name does not lead to a responder; the text says why and what is expected."""


class FunctionResponder:
    """Answers with a function that takes the `Prompt`.

    Args:
        name: The name by which chats refer to the responder.
        function: An async generator of text and chunks, or an async function that returns the text; or a plain
            generator or function, which runs in a thread.
    """

    def __init__(self, name: str, function: Callable[[Prompt], Any]) -> None:
        self._name = name
        self._function = function

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    async def respond(self, prompt: Prompt) -> AsyncIterator[AnswerItem]:
        """See the port."""
        if inspect.isasyncgenfunction(self._function):
            items = self._function(prompt)
            try:
                async for item in items:
                    yield item
            finally:
                await items.aclose()
            return
        if inspect.isgeneratorfunction(self._function):
            steps = self._function(prompt)
            # Python closes the generator with its last reference, after a step that is still running in its thread.
            while (step := await in_thread(next, steps, None)) is not None:
                yield step
            return
        if inspect.iscoroutinefunction(self._function):
            answer = await self._function(prompt)
        else:
            answer = await in_thread(self._function, prompt)
        if not isinstance(answer, str):
            raise ResponderFailure(f"{self._name} returned {type(answer).__name__}: return the text, a str")
        yield answer


def load_responder(name: str) -> Responder:
    """Load ``module:name``: a function, or an object with ``respond``. The module may be in the current directory.

    Raises:
        NotAResponder: there is no such module or attribute, or it is not a responder.
    """
    try:
        found = load_attribute(name)
    except NotLoadable as error:
        raise NotAResponder(str(error)) from error
    if hasattr(found, "respond") and not inspect.isclass(found):
        return cast("Responder", found)
    if not inspect.isroutine(found) or not _takes_one_argument(found):
        raise NotAResponder(f"{name!r} must be a function with one parameter, the prompt, or an object with `respond`")
    return FunctionResponder(name, found)


def _takes_one_argument(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):  # ValueError: a function of C without a signature
        return False
    return True
