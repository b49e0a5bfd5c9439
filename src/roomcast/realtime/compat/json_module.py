"""The ``json=`` argument: what an application sends is written by its own JSON module.

What clients send is read by `roomcast.wire.strict_json` in any case, for its limits of depth and size.

Layer: realtime.compat.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import Any, Protocol

from roomcast.realtime.core.registry import NO_ACK
from roomcast.realtime.fanout.message import EncodedEvent

_MARK = "roomcast.attachment"


class JsonModule(Protocol):
    """What python-socketio calls of a JSON module."""

    def dumps(self, value: Any, /, *, separators: tuple[str, str]) -> str | bytes:
        """JSON text."""


class JsonWriter:
    """Writes values with a JSON module; ``bytes`` in lists and dictionaries become attachments.

    Args:
        module: The module; None: the values are written by `roomcast.wire`.
    """

    def __init__(self, module: JsonModule | None) -> None:
        self._module = module

    def event(self, event: str, args: Sequence[Any]) -> EncodedEvent:
        """An event.

        Raises:
            EncodeError: an argument cannot be encoded. The JSON module may raise other exceptions.
        """
        if self._module is None:
            return EncodedEvent.from_args(event, *args)
        plain, attachments = _extract([event, *args], [])
        if attachments:
            return EncodedEvent.from_args(event, *self.plain(args))
        text = self._module.dumps(plain, separators=(",", ":"))
        return EncodedEvent.from_json(text.encode() if isinstance(text, str) else text)

    def plain(self, args: Sequence[Any]) -> Sequence[Any]:
        """The values as the JSON module writes them: what `json.loads` makes of its text, and ``bytes``."""
        if self._module is None:
            return args
        plain, attachments = _extract(args, [])

        def restore(item: dict[str, Any]) -> Any:
            return attachments[item[_MARK]] if item.keys() == {_MARK} and isinstance(item[_MARK], int) else item

        text = self._module.dumps(plain, separators=(",", ":"))
        restored: Sequence[Any] = json.loads(text, object_hook=restore if attachments else None)
        return restored

    def answering(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        """The handler, with its result as the JSON module writes it."""

        @wraps(handler)
        def call(*args: Any) -> Any:
            result = handler(*args)
            return self._answer_later(result) if inspect.isawaitable(result) else self._answer(result)

        return call

    async def _answer_later(self, result: Awaitable[Any]) -> Any:
        return self._answer(await result)

    def _answer(self, value: Any) -> Any:
        if value is None or value is NO_ACK:
            return value
        return tuple(self.plain(value)) if isinstance(value, tuple) else self.plain((value,))[0]

    @property
    def custom(self) -> bool:
        """Whether there is a JSON module."""
        return self._module is not None


def _extract(value: Any, attachments: list[bytes]) -> tuple[Any, list[bytes]]:
    """The value with ``{"roomcast.attachment": index}`` in place of each ``bytes``, and those."""
    if isinstance(value, bytes | bytearray):
        attachments.append(bytes(value))
        return {_MARK: len(attachments) - 1}, attachments
    if isinstance(value, list | tuple):
        return [_extract(item, attachments)[0] for item in value], attachments
    if isinstance(value, Mapping):
        return {key: _extract(item, attachments)[0] for key, item in value.items()}, attachments
    return value, attachments
