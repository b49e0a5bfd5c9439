"""A namespace of the cluster, for the objects that stand for it: a server, a `Namespace`, the result of `Server.of`.

Layer: realtime.core. Source: socket.io 4.8's ``Namespace``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from roomcast.realtime.cluster.commands import Rooms
from roomcast.realtime.cluster.operators import DEFAULT_TIMEOUT_S, BroadcastOperator, OperatorHost, RemoteSocket
from roomcast.realtime.core.server_events import ServerEventHandler, server_event
from roomcast.realtime.errors import ClusterTimeout

HandlerT = TypeVar("HandlerT", bound=ServerEventHandler)


class NamespaceHost(OperatorHost, Protocol):
    """What a namespace needs from its server; `engine.Engine` implements it."""

    def on_server_event(self, namespace: str, event: str, handler: ServerEventHandler) -> None:
        """Register a handler for an event of other servers, and serve its namespace."""


class Broadcasting(ABC):
    """The operators of a namespace, and events between the servers that serve it."""

    @abstractmethod
    def _scope(self) -> tuple[NamespaceHost, str]:
        """The server, and the name of the namespace."""

    @property
    def everyone(self) -> BroadcastOperator:
        """All sockets of the namespace, on every server of the cluster."""
        return BroadcastOperator(*self._scope())

    # -- sockets ------------------------------------------------------------------------------------------------------

    def to(self, rooms: Rooms) -> BroadcastOperator:
        """See `BroadcastOperator.to`."""
        return self.everyone.to(rooms)

    def in_(self, rooms: Rooms) -> BroadcastOperator:
        """See `BroadcastOperator.to`."""
        return self.everyone.to(rooms)

    def except_(self, rooms: Rooms) -> BroadcastOperator:
        """See `BroadcastOperator.except_`."""
        return self.everyone.except_(rooms)

    @property
    def local(self) -> BroadcastOperator:
        """See `BroadcastOperator.local`."""
        return self.everyone.local

    @property
    def volatile(self) -> BroadcastOperator:
        """See `BroadcastOperator.volatile`."""
        return self.everyone.volatile

    def timeout(self, seconds: float) -> BroadcastOperator:
        """See `BroadcastOperator.timeout`."""
        return self.everyone.timeout(seconds)

    async def emit_with_ack(self, event: str, *args: Any) -> list[Any]:
        """`BroadcastOperator.emit_with_ack` to all sockets of the namespace."""
        return await self.everyone.emit_with_ack(event, *args)

    async def fetch_sockets(self) -> list[RemoteSocket]:
        """`BroadcastOperator.fetch_sockets` for all sockets of the namespace."""
        return await self.everyone.fetch_sockets()

    async def sockets_join(self, rooms: Rooms) -> None:
        """`BroadcastOperator.sockets_join` for all sockets of the namespace."""
        await self.everyone.sockets_join(rooms)

    async def sockets_leave(self, rooms: Rooms) -> None:
        """`BroadcastOperator.sockets_leave` for all sockets of the namespace."""
        await self.everyone.sockets_leave(rooms)

    async def disconnect_sockets(self, *, close: bool = False) -> None:
        """`BroadcastOperator.disconnect_sockets` for all sockets of the namespace."""
        await self.everyone.disconnect_sockets(close=close)

    # -- servers ------------------------------------------------------------------------------------------------------

    @overload
    def on_server_side_emit(self, event: str, handler: None = None) -> Callable[[HandlerT], HandlerT]: ...

    @overload
    def on_server_side_emit(self, event: str, handler: HandlerT) -> HandlerT: ...

    def on_server_side_emit(
        self, event: str, handler: HandlerT | None = None
    ) -> HandlerT | Callable[[HandlerT], HandlerT]:
        """Register a handler for an event that other servers emit, directly or as a decorator.

        The handler, a function or a coroutine function, gets the arguments; what it returns is the answer. If it
        raises, the exception is logged and the answer is None.

        Args:
            event: The event's name.
            handler: The handler; None: return a decorator.
        """
        host, namespace = self._scope()

        def register(function: HandlerT) -> HandlerT:
            host.on_server_event(namespace, event, function)
            return function

        return register if handler is None else register(handler)

    async def server_side_emit(self, event: str, *args: Any) -> None:
        """Emit an event to the other servers of the cluster, not to clients, and not to this server.

        Args:
            event: Its name.
            *args: Its arguments, as JSON can hold them.

        Raises:
            EncodeError: the name is reserved, or an argument is not JSON.
        """
        host, namespace = self._scope()
        host.membership.publish(server_event(namespace, event, args))

    async def server_side_emit_with_ack(
        self, event: str, *args: Any, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> list[Any]:
        """Emit an event to the other servers, and wait for their answers.

        Args:
            event: Its name.
            *args: Its arguments, as JSON can hold them.
            timeout_s: How long to wait.

        Returns:
            The answer of each server, in order of arrival; None from a server without a handler. A server of Node
            without a listener for the event does not answer.

        Raises:
            ClusterTimeout: a server did not answer; its ``received`` has the answers of the others.
            EncodeError: the name is reserved, or an argument is not JSON.
            QueryLimitExceeded: ``max_queries`` wait for answers.
        """
        host, namespace = self._scope()
        query = server_event(namespace, event, args)
        with host.queries.open() as gathering:
            await host.queries.send(query, gathering)
            if not await gathering.wait(timeout_s):
                raise ClusterTimeout(gathering.problem, gathering.values)
            return gathering.values


class NamespaceOperator(Broadcasting):
    """A namespace, as `Server.of` returns it."""

    def __init__(self, host: NamespaceHost, namespace: str) -> None:
        self._host = host
        self._namespace = namespace

    def __repr__(self) -> str:
        """The name."""
        return f"NamespaceOperator({self._namespace!r})"

    def _scope(self) -> tuple[NamespaceHost, str]:
        return self._host, self._namespace

    async def emit(self, event: str, *args: Any) -> None:
        """`BroadcastOperator.emit` to all sockets of the namespace."""
        await self.everyone.emit(event, *args)
