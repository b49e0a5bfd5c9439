"""Operators: which sockets of the cluster an emit, a join or a disconnect concerns, and how it is sent.

Layer: realtime.cluster. Source: socket.io 4.8's ``BroadcastOperator``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from roomcast.realtime.cluster.commands import (
    Broadcast,
    BroadcastWithAck,
    Command,
    Disconnect,
    FetchSockets,
    Join,
    Leave,
    Node,
    Rooms,
    Selection,
    SocketDescription,
    room_names,
)
from roomcast.realtime.cluster.gathering import HERE, GatheredAcks, Queries
from roomcast.realtime.cluster.membership import Membership
from roomcast.realtime.errors import BroadcastAckTimeout, ClusterTimeout, SocketGone
from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.wire.errors import EncodeError
from roomcast.wire.socketio import RESERVED_EVENTS

#: How long the answers of clients and of other servers are waited for without `BroadcastOperator.timeout`; as in Node.
DEFAULT_TIMEOUT_S: Final = 5.0


class OperatorHost(Node, Protocol):
    """What operators need from their server; `engine.Engine` implements it.

    Attributes:
        membership: Sends commands to the other servers.
        queries: Queries to the other servers.
    """

    membership: Membership
    queries: Queries

    def apply_everywhere(self, command: Command) -> None:
        """Apply a command on this server and the others."""

    @property
    def alone(self) -> bool:
        """Whether there can be no other server."""

    @property
    def emits_wait(self) -> bool:
        """Whether an awaited emit has to call `make_room` first."""

    async def make_room(self, selection: Selection) -> None:
        """Wait while a selected client that reads has half of ``outbox_limit_bytes`` left to read.

        Gives the event loop a turn first if `flush_limit_bytes` were emitted in this one.
        """


@dataclass(frozen=True, slots=True)
class BroadcastOperator:
    """Selected sockets of one namespace, on every server of the cluster, and what can be done with them.

    `to`, `in_`, `except_`, `local`, `volatile` and `timeout` return a new operator and change nothing, so that an
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
    _timeout_s: float = DEFAULT_TIMEOUT_S

    # -- which sockets, and how ---------------------------------------------------------------------------------------

    def to(self, rooms: Rooms) -> BroadcastOperator:
        """Also the members of a room, or of several; a socket id is the room of that socket.

        Without `to`, the operator concerns the whole namespace; after ``to([])`` no socket.
        """
        return replace(self, _rooms=(*(self._rooms or ()), *self._names(rooms)))

    def in_(self, rooms: Rooms) -> BroadcastOperator:
        """The same as `to`; Node's ``in``."""
        return self.to(rooms)

    def except_(self, rooms: Rooms) -> BroadcastOperator:
        """Without the members of a room, or of several; a socket id is the room of that socket."""
        return replace(self, _skip=(*self._skip, *self._names(rooms)))

    @property
    def local(self) -> BroadcastOperator:
        """Only sockets of this server."""
        return replace(self, _local=True)

    @property
    def volatile(self) -> BroadcastOperator:
        """An emit may be dropped for a client with a write backlog."""
        return replace(self, _volatile=True)

    def timeout(self, seconds: float) -> BroadcastOperator:
        """Wait at most so long for answers; 5 s without it."""
        return replace(self, _timeout_s=seconds)

    # -- what to do with them -----------------------------------------------------------------------------------------

    async def emit(self, event: str, *args: Any) -> None:
        """Emit an event. Waits first while a recipient on this server reads and has much left to read.

        Args:
            event: Its name.
            *args: Its arguments; ``bytes`` anywhere in them are sent as binary attachments.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        _check_name(event)
        message = EncodedEvent.from_args(event, *args)
        if self._host.emits_wait and not self._volatile:
            await self._host.make_room(self._selection)
        self._apply(Broadcast(self._selection, message, self._volatile))

    async def emit_with_ack(self, event: str, *args: Any) -> list[Any]:
        """Emit an event, and wait until every recipient has acknowledged it.

        Args:
            event: Its name.
            *args: Its arguments; ``bytes`` anywhere in them are sent as binary attachments.

        Returns:
            The first argument of each acknowledgement, None if it has none, in order of arrival.

        Raises:
            BroadcastAckTimeout: clients did not acknowledge in time, or disconnected before, or a server did not
                answer; its ``received`` has the acknowledgements that arrived.
            EncodeError: an argument cannot be encoded.
            QueryLimitExceeded: ``max_queries`` wait for answers.
        """
        return _firsts(await self.gather_acks(event, *args))

    async def gather_acks(self, event: str, *args: Any) -> list[Sequence[Any]]:
        """`emit_with_ack` that returns all arguments of each acknowledgement; of clients of Node servers the first."""
        _check_name(event)
        selection = self._selection
        with self._host.queries.open() as gathering:
            acks = self._host.ask(selection, (event, *args), GatheredAcks(gathering, HERE))
            try:
                gathering.answer(HERE, (), 0, asked=acks.asked)
                if self._local:
                    gathering.expect(())
                else:
                    query = BroadcastWithAck(selection, (event, *args), self._timeout_s)
                    await self._host.queries.send(query, gathering)
                complete = await gathering.wait(self._timeout_s)
            finally:
                acks.stop()
        if not complete or gathering.missing:
            problem = gathering.problem or "clients disconnected before they acknowledged"
            raise BroadcastAckTimeout(event, problem, _firsts(gathering.values), gathering.missing)
        return gathering.values

    async def fetch_sockets(self) -> list[RemoteSocket]:
        """Describe the sockets.

        Servers that leave the cluster meanwhile, and so their sockets, are left out. The answers of all servers are
        held in memory, about 1 kB for each socket: select those that are needed.

        Raises:
            ClusterTimeout: another server did not answer; its ``received`` has the sockets of those that did.
            QueryLimitExceeded: ``max_queries`` wait for answers.
        """
        selection = self._selection
        if self._local:
            return self._remote_sockets(self._host.describe(selection))
        with self._host.queries.open() as gathering:
            here = self._host.describe(selection)
            await self._host.queries.send(FetchSockets(selection), gathering)
            complete = await gathering.wait(self._timeout_s)
        found = self._remote_sockets({socket.sid: socket for socket in [*here, *gathering.values]}.values())
        if not complete:
            raise ClusterTimeout(gathering.problem, found)
        return found

    def _remote_sockets(self, described: Iterable[SocketDescription]) -> list[RemoteSocket]:
        everyone = replace(self, _rooms=None, _skip=())
        return [RemoteSocket(everyone.to(socket.sid), self._namespace, socket) for socket in described]

    async def sockets_join(self, rooms: Rooms) -> None:
        """Add the sockets to a room, or to several.

        A socket that is in ``max_rooms_per_socket`` rooms joins no more; its server logs that.
        """
        self._apply(Join(self._selection, self._names(rooms)))

    async def sockets_leave(self, rooms: Rooms) -> None:
        """Remove the sockets from a room, or from several."""
        self._apply(Leave(self._selection, self._names(rooms)))

    async def disconnect_sockets(self, *, close: bool = False) -> None:
        """Disconnect the sockets from the namespace, after everything that was emitted to them.

        Args:
            close: Close their connections too, and with them the clients' sockets in other namespaces.
        """
        self._apply(Disconnect(self._selection, close))

    def _names(self, rooms: Rooms) -> tuple[str, ...]:
        return room_names(rooms, alone=self._host.alone)

    @property
    def _selection(self) -> Selection:
        return Selection(self._namespace, self._rooms, self._skip)

    def _apply(self, command: Command) -> None:
        if self._local:
            self._host.apply_command(command)
        else:
            self._host.apply_everywhere(command)


class RemoteSocket:
    """A socket of any server of the cluster, as it was when `BroadcastOperator.fetch_sockets` described it.

    What is done to it happens where it is connected; nothing if it has disconnected.

    Attributes:
        sid: Its id.
        handshake: The request that opened its session, with its ``auth``. A socket of a Node server reports its
            transport only in the query.
        rooms: Its rooms, without its own.
        data: A copy of the application's dictionary; of a socket of another server, what can be encoded as JSON.
    """

    __slots__ = ("_namespace", "_operator", "data", "handshake", "rooms", "sid")

    def __init__(self, operator: BroadcastOperator, namespace: str, described: SocketDescription) -> None:
        self._operator = operator
        self._namespace = namespace
        self.sid = described.sid
        self.handshake = described.handshake
        self.rooms = described.rooms
        self.data = dict(described.data)

    def __repr__(self) -> str:
        """Only the id: handshake and data may be confidential."""
        return f"RemoteSocket({self.sid!r})"

    def timeout(self, seconds: float) -> BroadcastOperator:
        """The operator of this socket that waits at most so long for answers."""
        return self._operator.timeout(seconds)

    async def emit(self, event: str, *args: Any) -> None:
        """See `BroadcastOperator.emit`."""
        await self._operator.emit(event, *args)

    async def emit_with_ack(self, event: str, *args: Any) -> Any:
        """Emit an event, and wait for the acknowledgement.

        Returns:
            Its first argument; None if it has none.

        Raises:
            BroadcastAckTimeout: see `BroadcastOperator.emit_with_ack`.
            SocketGone: the socket has disconnected before.
        """
        values = await self._operator.emit_with_ack(event, *args)
        if not values:
            raise SocketGone(self.sid, self._namespace)
        return values[0]

    async def join(self, rooms: Rooms) -> None:
        """Add it to a room, or to several."""
        await self._operator.sockets_join(rooms)

    async def leave(self, rooms: Rooms) -> None:
        """Remove it from a room, or from several."""
        await self._operator.sockets_leave(rooms)

    async def disconnect(self, *, close: bool = False) -> None:
        """See `BroadcastOperator.disconnect_sockets`."""
        await self._operator.disconnect_sockets(close=close)


def _firsts(acknowledgements: Iterable[Sequence[Any]]) -> list[Any]:
    return [args[0] if args else None for args in acknowledgements]


def _check_name(event: str) -> None:
    if event in RESERVED_EVENTS:
        raise EncodeError(f"{event!r} is a reserved event name")
