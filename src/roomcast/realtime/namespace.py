"""Handlers: how they are found, and namespaces as classes.

Layer: realtime. Source: python-socketio 5's ``AsyncServer.on`` and ``AsyncNamespace``: the same names, the same order
of resolution.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from roomcast.realtime.server import Server

#: Events of the server itself; a catch-all handler does not get them.
RESERVED: Final = frozenset({"connect", "disconnect"})
CATCH_ALL: Final = "*"

Handler = Callable[..., Any]


class Namespace:
    """A namespace whose handlers are methods: ``on_connect``, ``on_disconnect``, ``on_<event>``.

    Args:
        namespace: Its name; ``*`` serves every namespace that has no other handler, and its methods then get the
            namespace's name first.
    """

    def __init__(self, namespace: str = "/") -> None:
        self.namespace = namespace
        self._server: Server | None = None

    @property
    def server(self) -> Server:
        """The server that it was registered with.

        Raises:
            RuntimeError: It was not registered yet.
        """
        if self._server is None:
            raise RuntimeError(f"namespace {self.namespace!r} is not registered with a server yet")
        return self._server

    def _set_server(self, server: Server) -> None:
        self._server = server

    async def trigger_event(self, event: str, *args: Any) -> Any:
        """Call the method for ``event``. Override it to dispatch by other rules."""
        method = getattr(self, "on_" + event, None)
        if method is None:
            return NOT_HANDLED
        result = _trimmed(method, event, args)
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

    async def enter_room(self, sid: str, room: str, namespace: str | None = None) -> None:
        """`Server.enter_room` in this namespace."""
        await self.server.enter_room(sid, room, namespace or self.namespace)

    async def leave_room(self, sid: str, room: str, namespace: str | None = None) -> None:
        """`Server.leave_room` in this namespace."""
        await self.server.leave_room(sid, room, namespace or self.namespace)

    async def close_room(self, room: str, namespace: str | None = None) -> None:
        """`Server.close_room` in this namespace."""
        await self.server.close_room(room, namespace or self.namespace)

    def rooms(self, sid: str, namespace: str | None = None) -> list[str]:
        """`Server.rooms` in this namespace."""
        return self.server.rooms(sid, namespace or self.namespace)

    async def get_session(self, sid: str, namespace: str | None = None) -> dict[str, Any]:
        """`Server.get_session` in this namespace."""
        return await self.server.get_session(sid, namespace or self.namespace)

    async def save_session(self, sid: str, session: dict[str, Any], namespace: str | None = None) -> None:
        """`Server.save_session` in this namespace."""
        await self.server.save_session(sid, session, namespace or self.namespace)

    def session(self, sid: str, namespace: str | None = None) -> AbstractAsyncContextManager[dict[str, Any]]:
        """`Server.session` in this namespace."""
        return self.server.session(sid, namespace or self.namespace)

    async def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """`Server.disconnect` in this namespace."""
        await self.server.disconnect(sid, namespace or self.namespace)

    def _here(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {**options, "namespace": options.get("namespace") or self.namespace}


class _NotHandled:
    """What a namespace answers for an event that it has no method for."""


NOT_HANDLED: Final = _NotHandled()


class Found(NamedTuple):
    """A handler and what stands before the event's own arguments."""

    function: Handler
    prefix: tuple[str, ...]


class Registry:
    """The handlers of a server."""

    def __init__(self) -> None:
        self._functions: dict[str, dict[str, Handler]] = {}
        self._namespaces: dict[str, Namespace] = {}

    def add(self, namespace: str, event: str, handler: Handler) -> None:
        """Let ``handler`` serve ``event``; the latest one wins, as in python-socketio."""
        self._functions.setdefault(namespace, {})[event] = handler

    def add_namespace(self, namespace: Namespace) -> None:
        """Let ``namespace`` serve its name."""
        self._namespaces[namespace.namespace] = namespace

    def knows(self, namespace: str) -> bool:
        """Whether anything serves this namespace."""
        known = (namespace, CATCH_ALL)
        return any(name in self._functions or name in self._namespaces for name in known)

    def namespaces(self) -> frozenset[str]:
        """The namespaces that something serves; ``*`` may be among them."""
        return frozenset(self._functions) | frozenset(self._namespaces)

    def find(self, event: str, namespace: str) -> Found | None:
        """The handler of ``event``: the most special one, functions before classes.

        Order: event in namespace, ``*`` in namespace, event in ``*``, ``*`` in ``*``; then the namespace's class, then
        the class for ``*``.
        """
        here = self._functions.get(namespace)
        if here is not None:
            if event in here and event != CATCH_ALL:
                return Found(here[event], ())
            if CATCH_ALL in here and event not in RESERVED:
                return Found(here[CATCH_ALL], (event,))
        anywhere = self._functions.get(CATCH_ALL)
        if anywhere is not None:
            if event in anywhere and event != CATCH_ALL:
                return Found(anywhere[event], (namespace,))
            if CATCH_ALL in anywhere and event not in RESERVED:
                return Found(anywhere[CATCH_ALL], (event, namespace))
        return self._find_in_classes(event, namespace)

    def _find_in_classes(self, event: str, namespace: str) -> Found | None:
        prefix: tuple[str, ...] = ()
        instance = self._namespaces.get(namespace)
        if instance is None:
            instance = self._namespaces.get(CATCH_ALL)
            prefix = (namespace,)
        if instance is None:
            return None
        if type(instance).trigger_event is not Namespace.trigger_event:
            trigger = instance.trigger_event
            return Found(lambda *args: trigger(event, *args), prefix)
        method = getattr(instance, "on_" + event, None)
        return None if method is None else Found(method, prefix)


def call(found: Found, event: str, *args: Any) -> Any:
    """Call a handler, synchronously; a coroutine function gives its coroutine.

    ``connect`` handlers may leave out ``auth``, ``disconnect`` handlers the reason.
    """
    arguments = (*found.prefix, *args)
    if event in RESERVED:
        return _trimmed(found.function, event, arguments)
    return found.function(*arguments)


def _trimmed(function: Handler, event: str, args: tuple[Any, ...]) -> Any:
    if event in RESERVED and not _takes(function, len(args)):
        return function(*args[:-1])
    return function(*args)


@lru_cache(maxsize=1024)
def _takes(function: Handler, count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a callable without a signature, from C
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
