"""Namespaces as classes, with python-socketio's signatures.

Layer: realtime.compat. Source: python-socketio 5.18, ``AsyncNamespace``.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

from roomcast.realtime.compat.managers import Room
from roomcast.realtime.core.handlers.registry import RESERVED, Handler, call_trimmed
from roomcast.realtime.namespace import NamespaceMethods


class AsyncNamespace(NamespaceMethods):
    """A namespace whose handlers are methods: ``on_connect``, ``on_disconnect``, ``on_<event>``.

    Args:
        namespace: Its name, ``/`` if None; ``*``: every namespace without other handlers, whose name is then the first
            argument of each method.

    Attributes:
        server: The server that it is registered with; None before.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self.namespace = namespace or "/"
        self._handlers: dict[str, Handler] = {}
        self.server: Any = None  # AsyncServer after the registration, which handlers need not check

    def is_asyncio_based(self) -> bool:
        """True."""
        return True

    def bind_server(self, server: Any) -> None:
        """See `NamespaceHandlers`."""
        self.server = server

    def find_handler(self, event: str) -> Handler | None:
        """See `NamespaceHandlers`. An event without a method is acknowledged, unlike one without any handler."""
        if type(self).trigger_event is not AsyncNamespace.trigger_event:
            handler: Handler | None = lambda *args: self.trigger_event(event, *args)  # noqa: E731 - as an expression
        else:
            handler = getattr(self, f"on_{event}", None if event in RESERVED else _do_nothing)
        return None if handler is None else self._wrapped(event, handler)

    def _wrapped(self, event: str, handler: Handler) -> Handler:
        if event not in RESERVED:  # clients choose these names, so that nothing is kept for them
            answering: Handler = self.server.wrapped(event, handler)
            return answering
        # Kept, since `call_trimmed` remembers the signature of each function.
        wrapped = self._handlers.get(event)
        if wrapped is None:
            wrapped = self._handlers[event] = self.server.wrapped(event, handler)
        return wrapped

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Call the method for an event. Override it to dispatch by other rules."""
        method = getattr(self, f"on_{event}", None)
        if method is None:
            return None
        result = call_trimmed(method, event, args)
        return await result if inspect.isawaitable(result) else result

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Room | None = None,
        room: Room | None = None,
        skip_sid: str | Collection[str] | None = None,
        namespace: str | None = None,
        callback: Any = None,
        ignore_queue: bool = False,
    ) -> None:
        """`AsyncServer.emit` in this namespace."""
        await self.server.emit(event, data, to, room, skip_sid, namespace or self.namespace, callback, ignore_queue)

    async def send(
        self,
        data: Any,
        to: Room | None = None,
        room: Room | None = None,
        skip_sid: str | Collection[str] | None = None,
        namespace: str | None = None,
        callback: Any = None,
        ignore_queue: bool = False,
    ) -> None:
        """`AsyncServer.send` in this namespace."""
        await self.server.send(data, to, room, skip_sid, namespace or self.namespace, callback, ignore_queue)

    async def call(
        self,
        event: str,
        data: Any = None,
        to: str | None = None,
        sid: str | None = None,
        namespace: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - python-socketio's signature
        ignore_queue: bool = False,
    ) -> Any:
        """`AsyncServer.call` in this namespace; ``timeout`` None: no limit."""
        return await self.server.call(event, data, to, sid, namespace or self.namespace, timeout, ignore_queue)


def _do_nothing(*_args: Any) -> None:
    """The handler of an event without a method."""
