"""Middleware and catch-all listeners: a dispatcher that calls them around the handlers.

A server has this dispatcher from the first registration on; until then events take the path of `dispatch.Dispatcher`.

Layer: realtime.core. Source: socket.io 4.8 ``Namespace.use``, ``Socket.use``, ``Socket.onAny``: the same order.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from roomcast.realtime.core.handlers.dispatch import REJECTED, Dispatcher, Unfinished
from roomcast.realtime.core.handlers.listeners import AnyListener, Listeners, notify
from roomcast.realtime.core.handlers.registry import CATCH_ALL, Parent, Registry
from roomcast.realtime.core.observer import Observer
from roomcast.realtime.core.socket import Phase, Socket
from roomcast.realtime.errors import EventRefused


@dataclass(slots=True)
class IncomingEvent:
    """An event on its way to its handler. Middleware may change its name and arguments.

    Attributes:
        socket: The client.
        name: The event's name.
        args: Its arguments.
        wants_ack: Whether the client expects an acknowledgement.
    """

    socket: Socket
    name: str
    args: list[Any]
    wants_ack: bool


ConnectionMiddleware = Callable[[Socket], Any]
EventMiddleware = Callable[[IncomingEvent], Any]


class Hooks:
    """What is registered for whole namespaces: by name, for a dynamic namespace, or for ``*``."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._connections: dict[str | Parent, list[ConnectionMiddleware]] = {}
        self._listeners: dict[str | Parent, Listeners] = {}

    def use(self, namespace: str | Parent, middleware: ConnectionMiddleware) -> None:
        """Add middleware for connections."""
        self._connections.setdefault(namespace, []).append(middleware)

    def listeners(self, namespace: str | Parent) -> Listeners:
        """The middleware and listeners for events, to add to."""
        return self._listeners.setdefault(namespace, Listeners())

    def _keys(self, namespace: str) -> Iterator[str | Parent]:
        yield CATCH_ALL
        parent = self._registry.children.get(namespace)
        if parent is not None:
            yield parent
        yield namespace

    def connections(self, namespace: str) -> list[ConnectionMiddleware]:
        """The middleware for connections to this namespace."""
        return [middleware for key in self._keys(namespace) for middleware in self._connections.get(key, ())]

    def _all(self, namespace: str) -> Iterator[Listeners]:
        for key in self._keys(namespace):
            found = self._listeners.get(key)
            if found is not None:
                yield found

    def events(self, namespace: str) -> list[EventMiddleware]:
        """The middleware for events of this namespace."""
        return [middleware for found in self._all(namespace) for middleware in found.events]

    def incoming(self, namespace: str) -> list[AnyListener]:
        """The listeners for events from clients of this namespace."""
        return [listener for found in self._all(namespace) for listener in found.incoming]

    def covers(self, key: str | Parent, namespace: str) -> bool:
        """Whether something that is registered under ``key`` applies to this namespace."""
        return key in self._keys(namespace)

    def outgoing(self, namespace: str) -> list[AnyListener]:
        """The listeners for events to clients of this namespace."""
        return [listener for found in self._all(namespace) for listener in found.outgoing]


class HookedDispatcher(Dispatcher):
    """Calls middleware and listeners, then the handlers."""

    def __init__(self, registry: Registry, observer: Observer, hooks: Hooks) -> None:
        super().__init__(registry, observer)
        self._hooks = hooks

    # -- connections --------------------------------------------------------------------------------------------------

    def connect(self, socket: Socket) -> Unfinished:
        """See `Dispatcher`."""
        return copy_context().run(self._connect, socket)

    def _connect(self, socket: Socket) -> Unfinished:
        self.listen(socket)
        steps = iter(self._hooks.connections(socket.namespace))
        try:
            for middleware in steps:
                result = middleware(socket)
                if inspect.isawaitable(result):
                    return self._continue_connect(socket, result, steps)
                if result is False or socket.kicked:
                    socket.connection.reject(socket, REJECTED)
                    return None
        except Exception as error:  # noqa: BLE001 - middleware may raise anything; _refusal logs it
            socket.connection.reject(socket, *self._refusal(socket, error))
            return None
        return super().connect(socket)

    async def _continue_connect(
        self, socket: Socket, result: Awaitable[Any], steps: Iterator[ConnectionMiddleware]
    ) -> None:
        try:
            accepted = await _run(socket, result, steps)
        except asyncio.CancelledError:
            socket.connection.reject(socket, "Server shutting down")
            raise
        except Exception as error:  # noqa: BLE001 - see connect
            socket.connection.reject(socket, *self._refusal(socket, error))
            return
        if not accepted:
            socket.connection.reject(socket, REJECTED)
            return
        rest = super().connect(socket)
        if rest is not None:
            await rest

    def listen(self, socket: Socket) -> None:
        """Call the listeners of the namespace for what is emitted to this socket."""
        outgoing = self._hooks.outgoing(socket.namespace)
        if outgoing:
            socket.listen_for_namespace(outgoing)

    # -- events -------------------------------------------------------------------------------------------------------

    def event(self, socket: Socket, event: str, args: list[Any], ack_id: int | None) -> Unfinished:
        """See `Dispatcher`."""
        return copy_context().run(self._event, socket, event, args, ack_id)

    def _event(self, socket: Socket, event: str, args: list[Any], ack_id: int | None) -> Unfinished:
        own = socket.listeners
        incoming = self._hooks.incoming(socket.namespace)
        if incoming:
            notify(incoming, socket, event, *args)
        middleware = self._hooks.events(socket.namespace)
        if own is not None:
            if own.incoming:
                notify(own.incoming, event, *args)
            middleware += own.events
        if not middleware:
            return super().event(socket, event, args, ack_id)
        passing = IncomingEvent(socket, event, args, ack_id is not None)
        steps = iter(middleware)
        try:
            for step in steps:
                result = step(passing)
                if inspect.isawaitable(result):
                    return self._continue_event(passing, result, steps, ack_id)
                if result is False or socket.kicked:
                    return None
        except Exception as error:  # noqa: BLE001 - middleware may raise anything
            self._stop(socket, event, error, ack_id)
            return None
        return super().event(socket, passing.name, passing.args, ack_id)

    async def _continue_event(
        self, passing: IncomingEvent, result: Awaitable[Any], steps: Iterator[EventMiddleware], ack_id: int | None
    ) -> None:
        socket = passing.socket
        try:
            passed = await _run(passing, result, steps)
        except Exception as error:  # noqa: BLE001 - see event
            self._stop(socket, passing.name, error, ack_id)
            return
        if not passed or socket.phase is Phase.GONE:  # its ``disconnect`` handler has begun
            return
        rest = super().event(socket, passing.name, passing.args, ack_id)
        if rest is not None:
            await rest

    def _stop(self, socket: Socket, event: str, error: Exception, ack_id: int | None) -> None:
        if not isinstance(error, EventRefused):
            self._report_failure(socket, event, error)
        elif error.answer is not None and ack_id is not None:
            self._acknowledge(socket, event, ack_id, error.answer)


async def _run(subject: Any, result: Awaitable[Any], steps: Iterator[Callable[[Any], Any]]) -> bool:
    """Wait for one step and run those that follow; False as soon as one returns False."""
    if await result is False:
        return False
    for step in steps:
        outcome = step(subject)
        if inspect.isawaitable(outcome):
            outcome = await outcome
        if outcome is False:
            return False
    return True
