"""What an application can attach to events beside their handlers: middleware and catch-all listeners.

Layer: realtime.core. Source: socket.io 4.8 ``socket.use``, ``onAny``, ``onAnyOutgoing``.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from roomcast.realtime.fanout.message import OutgoingMessage
from roomcast.wire.socketio import PacketType

logger = logging.getLogger(__name__)


#: Called with event name and arguments; for a whole namespace, with the socket before them.
AnyListener = Callable[..., Any]


@dataclass(slots=True)
class Listeners:
    """What is attached to one socket, or to one namespace.

    Attributes:
        events: Middleware for events.
        incoming: Listeners for events from clients.
        outgoing: Listeners for events to clients.
        shared: Of a socket: the outgoing listeners of its namespace, called with the socket first.
    """

    events: list[Callable[..., Any]] = field(default_factory=list)
    incoming: list[AnyListener] = field(default_factory=list)
    outgoing: list[AnyListener] = field(default_factory=list)
    shared: list[AnyListener] = field(default_factory=list)


def checked(listener: AnyListener) -> AnyListener:
    """A listener, which must not wait.

    Raises:
        TypeError: it is a coroutine function.
    """
    if inspect.iscoroutinefunction(listener):
        raise TypeError("a catch-all listener must be a plain function: start a task in it")
    return listener


def notify(listeners: list[AnyListener], *args: Any) -> None:
    """Call listeners; the exceptions that they raise are logged."""
    for listener in listeners.copy():
        try:
            listener(*args)
        except Exception:
            logger.exception("a catch-all listener failed")


def event_of(message: OutgoingMessage) -> list[Any] | None:
    """Name and arguments of an outgoing event, as a client decodes them; None if it is another packet."""
    if message.text[:2] not in {b"42", b"45"}:
        return None
    packet = message.packet()
    return packet.data if packet.type is PacketType.EVENT else None
