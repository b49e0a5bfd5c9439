"""Event handlers and how they are found.

Layer: realtime.core. Source: python-socketio 5's ``AsyncServer.on``: the same order of resolution.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from functools import lru_cache
from re import Pattern
from typing import Any, Final, NamedTuple

#: Events of the server itself; catch-all handlers do not receive them.
RESERVED: Final = frozenset({"connect", "disconnect"})
CATCH_ALL: Final = "*"

Handler = Callable[..., Any]
#: Which names a dynamic namespace serves: a pattern that is found in the name, or a function of name and auth.
NamespaceMatch = Pattern[str] | Callable[[str, Any], bool | Awaitable[bool]]


class NoAck:
    """The type of `NO_ACK`."""

    def __repr__(self) -> str:
        """Its name."""
        return "NO_ACK"


#: Returned by a handler: the event is not acknowledged, or was or will be by `Socket.take_ack`.
NO_ACK: Final = NoAck()


class NamespaceHandlers(ABC):
    """The handlers of one namespace, as one object; `Namespace` implements it.

    Attributes:
        namespace: The namespace that it serves; ``*``: every namespace without other handlers.
    """

    namespace: str

    @abstractmethod
    def bind_server(self, server: Any) -> None:
        """Set the server whose namespace it serves."""

    @abstractmethod
    def find_handler(self, event: str) -> Handler | None:
        """The handler of an event; None if there is none."""


class Found(NamedTuple):
    """A handler, and the arguments that precede those of the event."""

    function: Handler
    prefix: tuple[str, ...]


class Parent:
    """A dynamic namespace: the handlers that all of its children share. Compared by identity.

    Attributes:
        match: Which names are its children.
        functions: Handlers by event.
    """

    __slots__ = ("functions", "match")

    def __init__(self, match: NamespaceMatch) -> None:
        self.match = match
        self.functions: dict[str, Found] = {}


class Registry:
    """The handlers of one server.

    Attributes:
        children: The namespaces that belong to a dynamic one (`dynamic.DynamicNamespaces`).
        hooked: Whether middleware or listeners may want events without a handler (`hooks.HookedDispatcher`).
    """

    def __init__(self) -> None:
        self.hooked = False
        self.children: dict[str, Parent] = {}
        self._functions: dict[str, dict[str, Found]] = {}
        self._namespaces: dict[str, NamespaceHandlers] = {}

    def add(self, namespace: str | Parent, event: str, handler: Handler) -> None:
        """Register a handler; the latest one wins, as in python-socketio."""
        here = namespace.functions if isinstance(namespace, Parent) else self._functions.setdefault(namespace, {})
        here[event] = Found(handler, ())

    def add_namespace(self, namespace: NamespaceHandlers) -> None:
        """Register the handlers of a namespace."""
        self._namespaces[namespace.namespace] = namespace

    def names(self, namespace: str) -> bool:
        """Whether handlers were registered under this name; it may be ``*``."""
        return namespace in self._functions or namespace in self._namespaces

    def namespaces(self) -> frozenset[str]:
        """The namespaces with handlers; ``*`` may be among them."""
        return frozenset(self._functions) | frozenset(self._namespaces)

    def find(self, event: str, namespace: str) -> Found | None:
        """The most specific handler of an event, functions before classes.

        Order: event in namespace, ``*`` in namespace, the same in its dynamic namespace and in ``*``; then the
        namespace's class, then the class for ``*``.
        """
        here = self._functions.get(namespace)
        if here is not None:
            found = here.get(event)
            if found is not None and event != CATCH_ALL:
                return found
            if CATCH_ALL in here and event not in RESERVED:
                return Found(here[CATCH_ALL].function, (event,))
        parent = self.children.get(namespace)
        if parent is not None:
            found = _find_shared(parent.functions, event, namespace)
            if found is not None:
                return found
        anywhere = self._functions.get(CATCH_ALL)
        if anywhere is not None:
            found = _find_shared(anywhere, event, namespace)
            if found is not None:
                return found
        return self._find_in_classes(event, namespace)

    def _find_in_classes(self, event: str, namespace: str) -> Found | None:
        prefix: tuple[str, ...] = ()
        handlers = self._namespaces.get(namespace)
        if handlers is None:
            handlers = self._namespaces.get(CATCH_ALL)
            prefix = (namespace,)
        function = None if handlers is None else handlers.find_handler(event)
        return None if function is None else Found(function, prefix)


def _find_shared(functions: dict[str, Found], event: str, namespace: str) -> Found | None:
    """A handler among those of several namespaces; it receives the name of the namespace."""
    if event in functions and event != CATCH_ALL:
        return Found(functions[event].function, (namespace,))
    if CATCH_ALL in functions and event not in RESERVED:
        return Found(functions[CATCH_ALL].function, (event, namespace))
    return None


def call(found: Found, event: str, *args: Any) -> Any:
    """Call a handler; for a coroutine function the result is its coroutine.

    ``connect`` handlers may leave out ``auth``, ``disconnect`` handlers the reason.
    """
    arguments = (*found.prefix, *args)
    if event in RESERVED:
        return call_trimmed(found.function, event, arguments)
    return found.function(*arguments)


def call_trimmed(function: Handler, event: str, args: tuple[Any, ...]) -> Any:
    """Call a function; a ``connect`` or ``disconnect`` handler may take one argument less."""
    if event in RESERVED and not _takes(function, len(args)):
        return function(*args[:-1])
    return function(*args)


@lru_cache(maxsize=1024)
def _takes(function: Handler, count: int) -> bool:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a C function without a signature
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True
