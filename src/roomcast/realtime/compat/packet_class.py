"""Packet classes as ``serializer=``: subclasses of python-socketio's ``Packet``.

The packets are those of `roomcast.wire`. Of a packet class two attributes are honoured: ``uses_binary_events`` (whether
what is sent may have attachments) and ``reconstruct_binary`` (what attachments become in the data).

Layer: realtime.compat. Source: python-socketio 5.18, ``packet.Packet``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Final

from roomcast.realtime.compat.json_module import extract

_HONOURED: Final = frozenset({"uses_binary_events", "reconstruct_binary"})
_OF_EVERY_CLASS: Final = frozenset(vars(type("_", (), {}))) | {"__annotations__", "__static_attributes__"}


class PacketClass:
    """What a packet class changes.

    Args:
        serializer: The argument; a name changes nothing here.

    Attributes:
        binary: Whether what is sent may have attachments.

    Raises:
        ValueError: it is not a packet class, or overrides what is not honoured.
    """

    def __init__(self, serializer: Any) -> None:
        self.binary = True
        self._reconstruct: Callable[[Any, list[bytes]], Any] | None = None
        if not isinstance(serializer, type):
            return
        # By its name: an application may have the class of python-socketio from before `install`.
        bases = [cls for cls in serializer.__mro__ if cls.__name__ == "Packet" and cls.__module__ == "socketio.packet"]
        if not bases:
            raise ValueError(f"serializer={serializer.__name__}: it is not a subclass of socketio.packet.Packet")
        base = bases[0]
        own = serializer.__mro__[: serializer.__mro__.index(base)]
        overridden = {name for cls in own for name in vars(cls).keys() & vars(base).keys()} - _OF_EVERY_CLASS
        if overridden - _HONOURED:
            raise ValueError(
                f"serializer={serializer.__name__}: {', '.join(sorted(overridden - _HONOURED))} would not be called;"
                f" only {' and '.join(sorted(_HONOURED))} are honoured"
            )
        self.binary = bool(serializer.uses_binary_events)  # type: ignore[attr-defined]
        if "reconstruct_binary" in overridden:
            self._reconstruct = serializer.reconstruct_binary  # type: ignore[attr-defined]

    @property
    def reads(self) -> bool:
        """Whether it changes what handlers and callbacks receive."""
        return self._reconstruct is not None

    def read(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values of an event or acknowledgement, with their attachments as the class makes them."""
        if self._reconstruct is None:
            return values
        attachments: list[bytes] = []
        plain = [extract(value, attachments, _placeholder) for value in values]
        if not attachments:
            return values
        read: Sequence[Any] = self._reconstruct(plain, attachments)
        return read

    def read_ack(self, value: Any) -> Any:
        """The same for the result of `AsyncServer.call`: one value, or a tuple of several."""
        return tuple(self.read(value)) if isinstance(value, tuple) else self.read((value,))[0]

    def reading(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The handler or callback, with what it receives as the class makes it."""

        @wraps(function)
        def call(*args: Any) -> Any:
            return function(*self.read(args))

        return call


def _placeholder(index: int) -> dict[str, Any]:
    return {"_placeholder": True, "num": index}
