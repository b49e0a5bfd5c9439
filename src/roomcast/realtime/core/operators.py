"""Operators: which sockets of the cluster an emit, a join or a disconnect concerns, and how it is sent.

Layer: realtime.core. Source: socket.io 4.8's ``BroadcastOperator``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Protocol

from roomcast.realtime.core.cluster import Broadcast, Command, Disconnect, Join, Leave, Node, Selection
from roomcast.realtime.core.membership import Membership
from roomcast.realtime.fanout.message import EncodedEvent

Rooms = str | Collection[str]


class OperatorHost(Node, Protocol):
    """What operators need from their server; `engine.Engine` implements it.

    Attributes:
        membership: Sends commands to the other servers.
    """

    membership: Membership

    @property
    def has_backlogs(self) -> bool:
        """Whether a client has much left to read."""

    async def make_room(self, selection: Selection) -> None:
        """Wait while a selected client that reads has half of ``outbox_limit_bytes`` left to read."""


@dataclass(frozen=True, slots=True)
class BroadcastOperator:
    """Selected sockets of one namespace, on every server of the cluster, and what can be done with them.

    `to`, `in_`, `except_`, `local` and `volatile` return a new operator and change nothing, so that an
    operator can be kept and used again::

        await server.to("lobby").except_("muted").emit("said", {"text": "hello"})
        staff = server.of("/admin").to(["editors", "owners"])
        await staff.sockets_join("staff")
        await staff.volatile.emit("typing")

    A socket in several of the rooms is concerned once. A server applies what it does to its own sockets in the same
    loop turn; the other servers follow, in order, at most once.
    """

    _host: OperatorHost
    _namespace: str
    _rooms: tuple[str, ...] | None = None
    _skip: tuple[str, ...] = ()
    _local: bool = False
    _volatile: bool = False

    # -- which sockets, and how ---------------------------------------------------------------------------------------

    def to(self, rooms: Rooms) -> BroadcastOperator:
        """Also the members of a room, or of several; a socket id is the room of that socket.

        Without `to`, the operator concerns the whole namespace; after ``to([])`` no socket.
        """
        return replace(self, _rooms=(*(self._rooms or ()), *_names(rooms)))

    def in_(self, rooms: Rooms) -> BroadcastOperator:
        """The same as `to`; Node's ``in``."""
        return self.to(rooms)

    def except_(self, rooms: Rooms) -> BroadcastOperator:
        """Without the members of a room, or of several; a socket id is the room of that socket."""
        return replace(self, _skip=(*self._skip, *_names(rooms)))

    @property
    def local(self) -> BroadcastOperator:
        """Only sockets of this server."""
        return replace(self, _local=True)

    @property
    def volatile(self) -> BroadcastOperator:
        """An emit may be dropped for a client with a write backlog."""
        return replace(self, _volatile=True)

    # -- what to do with them -----------------------------------------------------------------------------------------

    async def emit(self, event: str, *args: Any) -> None:
        """Emit an event. Waits first while a recipient on this server reads and has much left to read.

        Args:
            event: Its name.
            *args: Its arguments; ``bytes`` anywhere in them are sent as binary attachments.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        message = EncodedEvent.from_args(event, *args)
        if self._host.has_backlogs and not self._volatile:
            await self._host.make_room(self._selection)
        self._apply(Broadcast(self._selection, message, self._volatile))

    async def sockets_join(self, rooms: Rooms) -> None:
        """Add the sockets to a room, or to several.

        A socket that is in ``max_rooms_per_socket`` rooms joins no more; its server logs that.
        """
        self._apply(Join(self._selection, _names(rooms)))

    async def sockets_leave(self, rooms: Rooms) -> None:
        """Remove the sockets from a room, or from several."""
        self._apply(Leave(self._selection, _names(rooms)))

    async def disconnect_sockets(self, *, close: bool = False) -> None:
        """Disconnect the sockets from the namespace, after everything that was emitted to them.

        Args:
            close: Close their connections too, and with them the clients' sockets in other namespaces.
        """
        self._apply(Disconnect(self._selection, close))

    @property
    def _selection(self) -> Selection:
        return Selection(self._namespace, self._rooms, self._skip)

    def _apply(self, command: Command) -> None:
        self._host.apply_command(command)
        if not self._local:
            self._host.membership.publish(command)


class Broadcasting(ABC):
    """The operators of a namespace, as methods of the object that stands for it: a server, a `Namespace`."""

    @property
    @abstractmethod
    def everyone(self) -> BroadcastOperator:
        """All sockets of the namespace, on every server of the cluster."""

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

    async def sockets_join(self, rooms: Rooms) -> None:
        """`BroadcastOperator.sockets_join` for all sockets of the namespace."""
        await self.everyone.sockets_join(rooms)

    async def sockets_leave(self, rooms: Rooms) -> None:
        """`BroadcastOperator.sockets_leave` for all sockets of the namespace."""
        await self.everyone.sockets_leave(rooms)

    async def disconnect_sockets(self, *, close: bool = False) -> None:
        """`BroadcastOperator.disconnect_sockets` for all sockets of the namespace."""
        await self.everyone.disconnect_sockets(close=close)


def _names(rooms: Rooms) -> tuple[str, ...]:
    names = (rooms,) if isinstance(rooms, str) else tuple(rooms)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a room name must be a str, not {type(name).__name__}: convert ids with str()")
    return names
