"""What Node's server has beside handlers: middleware, catch-all listeners, dynamic namespaces.

Layer: realtime. Source: socket.io 4.8, "Middlewares", "Dynamic namespaces", "Catch-all listeners".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from roomcast.realtime.cluster.commands import Broadcast, Selection
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.handlers.hooks import ConnectionMiddleware, EventMiddleware
from roomcast.realtime.core.handlers.listeners import AnyListener, checked
from roomcast.realtime.core.handlers.registry import Handler, NamespaceMatch, Parent
from roomcast.realtime.fanout.message import EncodedEvent

HandlerT = TypeVar("HandlerT", bound=Handler)
ConnectionMiddlewareT = TypeVar("ConnectionMiddlewareT", bound=ConnectionMiddleware)
EventMiddlewareT = TypeVar("EventMiddlewareT", bound=EventMiddleware)
AnyListenerT = TypeVar("AnyListenerT", bound=AnyListener)

_DEFAULT = "/"


class ServerHooks:
    """The part of `Server` for them. A server that uses none of it does nothing more for an event."""

    _engine: Engine

    def use(self, middleware: ConnectionMiddlewareT, namespace: str | None = None) -> ConnectionMiddlewareT:
        """Call a function for each client that connects to a namespace, before its ``connect`` handler.

        It receives the `Socket`, whose ``auth``, ``handshake``, ``data`` and ``join`` can be used, and may be a
        coroutine function. It rejects the client if it raises `ConnectionRefusedError`, whose message and data the
        client receives, or returns False. Any other exception is logged, and the client is rejected without its
        details. Functions run in the order in which they were added; those for ``*`` first, then those of the dynamic
        namespace::

            @server.use
            async def authenticate(socket):
                socket.data["user"] = await find_user(socket.auth.get("token"))
                if socket.data["user"] is None:
                    raise ConnectionRefusedError("unauthorized", {"code": 401})

        Args:
            middleware: The function; it is returned, so that ``use`` can be a decorator.
            namespace: ``/`` if None; ``*``: all namespaces.
        """
        self._engine.hooks.use(namespace or _DEFAULT, middleware)
        return middleware

    def use_event(self, middleware: EventMiddlewareT, namespace: str | None = None) -> EventMiddlewareT:
        """Call a function for each event of a namespace's clients, before its handler.

        It receives an `IncomingEvent`, may change its ``name`` and ``args``, and may be a coroutine function; events
        of that client can then overtake each other, as in Node. It refuses the event if it raises `EventRefused`, whose
        arguments are the acknowledgement, or returns False. Any other exception is logged, and the event has no effect.

        Args:
            middleware: The function; it is returned.
            namespace: ``/`` if None; ``*``: all namespaces.
        """
        self._engine.hooks.listeners(namespace or _DEFAULT).events.append(middleware)
        return middleware

    def on_any(self, listener: AnyListenerT, namespace: str | None = None) -> AnyListenerT:
        """Call a function with socket, name and arguments of each event of a namespace's clients, handled or not.

        It is called before middleware. `Socket.on_any` does the same for one client, without the socket.

        Args:
            listener: The function; it is returned. An exception that it raises is logged.
            namespace: ``/`` if None; ``*``: all namespaces.

        Raises:
            TypeError: it is a coroutine function.
        """
        self._engine.hooks.listeners(namespace or _DEFAULT).incoming.append(checked(listener))
        return listener

    def on_any_outgoing(self, listener: AnyListenerT, namespace: str | None = None) -> AnyListenerT:
        """Call a function with socket, name and arguments of each event that is emitted to a client of a namespace.

        A broadcast calls it for each recipient on this server, with the arguments as clients decode them: meant for
        debugging, not for every event of a large room.

        Args:
            listener: The function; it is returned. An exception that it raises is logged.
            namespace: ``/`` if None; ``*``: all namespaces.

        Raises:
            TypeError: it is a coroutine function.
        """
        self._engine.add_outgoing_listener(namespace or _DEFAULT, checked(listener))
        return listener

    def dynamic_namespace(self, match: NamespaceMatch) -> DynamicNamespace:
        """Accept namespaces whose names follow a rule; they share handlers, middleware and listeners.

        Args:
            match: A compiled pattern that is searched in the name (anchor it: ``^/tenant-[0-9]+$``), or a function of
                name and ``auth``, which returns whether the namespace exists and may be a coroutine function. It is
                called for the first client of a namespace only, so clients are authenticated by `use`.
        """
        return DynamicNamespace(self._engine, self._engine.dynamic.add(match))


class DynamicNamespace:
    """Handlers, middleware and listeners for all namespaces that follow a rule: the children.

    Handlers receive the name of the child before their other arguments::

        tenants = server.dynamic_namespace(re.compile(r"^/tenant-[0-9]+$"))

        @tenants.on("say")
        async def say(namespace, sid, text):
            await server.emit("said", text, namespace=namespace)

    A namespace that is registered by its name is no child of a function; it is one of a pattern that matches, and its
    own handlers come first. A child exists from its first client to its last (``cleanup_empty_child_namespaces``).
    """

    def __init__(self, engine: Engine, parent: Parent) -> None:
        self._engine = engine
        self._parent = parent

    @property
    def children(self) -> list[str]:
        """The names of the namespaces of this server that exist now."""
        return self._engine.dynamic.children(self._parent)

    def on(self, event: str) -> Callable[[HandlerT], HandlerT]:
        """Register a handler, as a decorator: ``handler(namespace, sid, …)``; see `Server.on`."""

        def register(function: HandlerT) -> HandlerT:
            self._engine.registry.add(self._parent, event, function)
            return function

        return register

    def event(self, handler: HandlerT) -> HandlerT:
        """Register a function under its own name."""
        return self.on(handler.__name__)(handler)

    def use(self, middleware: ConnectionMiddlewareT) -> ConnectionMiddlewareT:
        """See `Server.use`."""
        self._engine.hooks.use(self._parent, middleware)
        return middleware

    def use_event(self, middleware: EventMiddlewareT) -> EventMiddlewareT:
        """See `Server.use_event`."""
        self._engine.hooks.listeners(self._parent).events.append(middleware)
        return middleware

    def on_any(self, listener: AnyListenerT) -> AnyListenerT:
        """See `Server.on_any`."""
        self._engine.hooks.listeners(self._parent).incoming.append(checked(listener))
        return listener

    def on_any_outgoing(self, listener: AnyListenerT) -> AnyListenerT:
        """See `Server.on_any_outgoing`."""
        self._engine.add_outgoing_listener(self._parent, checked(listener))
        return listener

    def emit(self, event: str, *args: Any) -> None:
        """Emit to every client in every child that exists on this server, on all servers of the cluster.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        message = EncodedEvent.from_args(event, *args)
        for name in self.children:
            self._engine.apply_everywhere(Broadcast(Selection(name, None), message))
