"""Event handlers and how they are found.

Layer: realtime.core. Source: python-socketio 5's ``AsyncServer.on``: the same order of resolution.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from roomcast.realtime.namespace import Namespace

#: Events of the server itself; a catch-all handler does not get them.
RESERVED: Final = frozenset({"connect", "disconnect"})
CATCH_ALL: Final = "*"

Handler = Callable[..., Any]


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
        if instance.overrides_trigger:
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
