"""Namespaces as classes.

Layer: realtime. Source: python-socketio 5's ``AsyncNamespace``, for the names.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Hashable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from roomcast.realtime.core.broadcasting import Broadcasting, NamespaceHost
from roomcast.realtime.core.handlers.registry import NO_ACK, Handler, NamespaceHandlers, call_trimmed
from roomcast.realtime.server import Server


class NamespaceMethods(NamespaceHandlers):
    """The methods of a server, for one namespace.

    Attributes:
        server: The server that it is registered with.
    """

    server: Any  # `Server` or `compat.async_server.AsyncServer`

    async def enter_room(self, sid: str, room: Hashable, namespace: str | None = None) -> None:
        """`Server.enter_room` in this namespace."""
        await self.server.enter_room(sid, room, namespace or self.namespace)

    async def leave_room(self, sid: str, room: Hashable, namespace: str | None = None) -> None:
        """`Server.leave_room` in this namespace."""
        await self.server.leave_room(sid, room, namespace or self.namespace)

    async def close_room(self, room: Hashable, namespace: str | None = None) -> None:
        """`Server.close_room` in this namespace."""
        await self.server.close_room(room, namespace or self.namespace)

    def rooms(self, sid: str, namespace: str | None = None) -> list[str]:
        """`Server.rooms` in this namespace."""
        rooms: list[str] = self.server.rooms(sid, namespace or self.namespace)
        return rooms

    async def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """`Server.get_session` in this namespace."""
        session: dict[str, Any] = await self.server.get_session(sid, namespace or self.namespace)
        return session

    async def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """`Server.save_session` in this namespace."""
        await self.server.save_session(sid, session, namespace or self.namespace)

    def session(self, sid: str, namespace: str | None = None) -> AbstractAsyncContextManager[dict[str, Any]]:
        """`Server.session` in this namespace."""
        opened: AbstractAsyncContextManager[dict[str, Any]] = self.server.session(sid, namespace or self.namespace)
        return opened

    async def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """`Server.disconnect` in this namespace."""
        await self.server.disconnect(sid, namespace or self.namespace)


class Namespace(NamespaceMethods, Broadcasting):
    """A namespace whose handlers are methods: ``on_connect``, ``on_disconnect``, ``on_<event>``.

    Args:
        namespace: Its name; ``*``: every namespace without other handlers, whose name is then the first argument of
            each method.
    """

    def __init__(self, namespace: str = "/") -> None:
        self.namespace = namespace
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The server that it is registered with.

        Raises:
            RuntimeError: it is not registered.
        """
        if self._server is None:
            raise RuntimeError(f"namespace {self.namespace!r} is not registered: call server.register_namespace()")
        return self._server

    def bind_server(self, server: Server) -> None:
        """See `NamespaceHandlers`."""
        self._server = server

    def _scope(self) -> tuple[NamespaceHost, str]:
        return self.server.engine, self.namespace

    def find_handler(self, event: str) -> Handler | None:
        """See `NamespaceHandlers`. An overridden `trigger_event` handles every event."""
        if type(self).trigger_event is not Namespace.trigger_event:
            return lambda *args: self.trigger_event(event, *args)
        method: Handler | None = getattr(self, "on_" + event, None)
        return method

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Call the method for an event. Override it to dispatch by other rules."""
        method = getattr(self, "on_" + event, None)
        if method is None:
            return NO_ACK
        result = call_trimmed(method, event, args)
        return await result if inspect.isawaitable(result) else result

    async def emit(self, event: str, data: Any = None, to: str | Collection[str] | None = None, **options: Any) -> None:
        """`Server.emit` in this namespace."""
        await self.server.emit(event, data, to, **self._here(options))

    async def send(self, data: Any, to: str | Collection[str] | None = None, **options: Any) -> None:
        """`Server.send` in this namespace."""
        await self.server.send(data, to, **self._here(options))

    async def call(self, event: str, data: Any = None, to: str | None = None, **options: Any) -> Any:
        """`Server.call` in this namespace."""
        return await self.server.call(event, data, to, **self._here(options))

    def _here(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {**options, "namespace": options.get("namespace") or self.namespace}
