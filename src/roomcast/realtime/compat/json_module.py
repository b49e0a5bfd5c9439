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

from roomcast.realtime.core.handlers.registry import NO_ACK
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
        binary: Whether there may be attachments. Otherwise ``bytes`` are left to the module, or to `json`.
    """

    def __init__(self, module: JsonModule | None, *, binary: bool = True) -> None:
        self._module: JsonModule | None = module if binary or module is not None else json
        self._binary = binary

    def event(self, event: str, args: Sequence[Any]) -> EncodedEvent:
        """An event.

        Raises:
            EncodeError: an argument cannot be encoded. The JSON module may raise other exceptions.
        """
        if self._module is None:
            return EncodedEvent.from_args(event, *args)
        plain, attachments = self._extract([event, *args])
        if attachments:
            return EncodedEvent.from_args(event, *self.plain(args))
        text = self._module.dumps(plain, separators=(",", ":"))
        return EncodedEvent.from_json(text.encode() if isinstance(text, str) else text)

    def plain(self, args: Sequence[Any]) -> Sequence[Any]:
        """The values as the JSON module writes them: what `json.loads` makes of its text, and ``bytes``."""
        if self._module is None:
            return args
        plain, attachments = self._extract(args)

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

    def _extract(self, values: Sequence[Any]) -> tuple[Sequence[Any], list[bytes]]:
        attachments: list[bytes] = []
        return (extract(values, attachments, _marked) if self._binary else values), attachments

    @property
    def custom(self) -> bool:
        """Whether there is a JSON module."""
        return self._module is not None


def extract(value: Any, attachments: list[bytes], placeholder: Callable[[int], Any]) -> Any:
    """The value with a placeholder for each ``bytes``, which is appended to the attachments."""
    if isinstance(value, bytes | bytearray):
        attachments.append(bytes(value))
        return placeholder(len(attachments) - 1)
    if isinstance(value, list | tuple):
        return [extract(item, attachments, placeholder) for item in value]
    if isinstance(value, Mapping):
        return {key: extract(item, attachments, placeholder) for key, item in value.items()}
    return value


def _marked(index: int) -> dict[str, int]:
    return {_MARK: index}
