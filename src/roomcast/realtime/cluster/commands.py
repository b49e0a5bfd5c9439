"""The port to the other servers of a cluster: commands for selected sockets, and the adapter that carries them.

Layer: realtime.cluster. Source: socket.io-adapter's ``ClusterAdapter``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from roomcast.realtime.fanout.message import EncodedEvent
from roomcast.realtime.requests.handshake import Handshake

#: A place in the order of all commands: milliseconds and a counter, as in the ids of a Redis stream.
Offset: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Selection:
    """Sockets of one namespace on any server.

    Attributes:
        namespace: The namespace.
        rooms: Room names and socket ids; None: all sockets.
        skip: Room names and socket ids whose members are left out.
    """

    namespace: str
    rooms: tuple[str, ...] | None
    skip: tuple[str, ...] = ()


#: A room or a socket id, or several.
Rooms: TypeAlias = Hashable | Collection[Hashable]


def room_names(rooms: Rooms, *, alone: bool) -> tuple[str, ...]:
    """A room, or several in a collection, as a tuple.

    A room is a string. On a single server it may be any hashable that is no collection, such as the id of a row. The
    servers of a cluster share names, and ``5`` must not become the room ``"5"`` on the way.

    Args:
        rooms: A room or a collection of rooms.
        alone: Whether there can be no other server.

    Raises:
        TypeError: a room is not a string, and there may be other servers.
    """
    single = isinstance(rooms, str | bytes) or not isinstance(rooms, Collection)
    names: tuple[Any, ...] = (rooms,) if single else tuple(cast("Collection[Hashable]", rooms))
    for name in () if alone else names:
        if not isinstance(name, str):
            raise TypeError(f"a room of a cluster must be a str, not {type(name).__name__}: convert ids with str()")
    return names


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Emit to the selected sockets.

    Attributes:
        to: The recipients.
        message: The event.
        volatile: The event may be dropped for a client with a write backlog.
    """

    to: Selection
    message: EncodedEvent
    volatile: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Add the selected sockets to rooms."""

    sockets: Selection
    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Remove the selected sockets from rooms."""

    sockets: Selection
    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Disconnect the selected sockets from their namespace.

    Attributes:
        sockets: The sockets.
        close: Close their connections too, and with them the clients' sockets in other namespaces.
    """

    sockets: Selection
    close: bool = False


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event for the other servers themselves, not for sockets.

    As a query it asks each of them for the value that its handler returns.

    Attributes:
        namespace: Its namespace.
        args: Event name and arguments.
    """

    namespace: str
    args: tuple[Any, ...]


#: A command for sockets.
SocketCommand: TypeAlias = Broadcast | Join | Leave | Disconnect
Command: TypeAlias = SocketCommand | ServerEvent


@dataclass(frozen=True, slots=True)
class FetchSockets:
    """Describe the selected sockets: each server answers with `SocketDescription` values."""

    sockets: Selection

    @property
    def namespace(self) -> str:
        """The namespace that it concerns."""
        return self.sockets.namespace


@dataclass(frozen=True, slots=True)
class BroadcastWithAck:
    """Emit to the selected sockets, each of which is to acknowledge.

    Each server answers with the number of sockets that it has asked, then with the arguments of each acknowledgement.

    Attributes:
        to: The recipients.
        args: Event name and arguments.
        timeout_s: How long the sender waits.
        queued: Whether it waits for a connection like a command, and does not fail without one.
    """

    to: Selection
    args: tuple[Any, ...]
    timeout_s: float
    queued: bool = False

    @property
    def namespace(self) -> str:
        """The namespace that it concerns."""
        return self.to.namespace


Query: TypeAlias = FetchSockets | BroadcastWithAck | ServerEvent


@dataclass(frozen=True, slots=True)
class SocketDescription:
    """A connected socket, as its server describes it to the others.

    Attributes:
        sid: Its id.
        handshake: The request that opened its session, with its ``auth``.
        rooms: Its rooms, without its own.
        data: The application's dictionary.
    """

    sid: str
    handshake: Handshake
    rooms: frozenset[str]
    data: dict[str, Any]


class AckListener(Protocol):
    """Receives the acknowledgements of an event that several sockets of one server were asked to acknowledge."""

    def acknowledged(self, args: Sequence[Any]) -> None:
        """One socket has acknowledged with these arguments."""

    def disconnected(self) -> None:
        """One socket is gone and will not acknowledge."""


class PendingAcks(Protocol):
    """The acknowledgements that sockets of one server have not sent yet."""

    @property
    def asked(self) -> int:
        """The number of sockets that were asked."""

    def stop(self) -> None:
        """Wait no longer. Harmless if repeated."""


class Gatherer(Protocol):
    """Receives the answers to a query of this server; `gathering.Gathering` implements it. No method raises.

    ``server`` names the answering server; None: an answer that names none. Calls after `fail`, or after the answers are
    complete, have no effect.
    """

    def expect(self, servers: Collection[str]) -> None:
        """The query has reached these servers; or some of them, if one has joined the cluster meanwhile."""

    def reached(self, count: int) -> None:
        """At most so many servers have received the query, so that others in `expect` are not waited for."""

    def update(self, servers: Collection[str]) -> None:
        """These servers are in the cluster now, a while after `expect`. One that is not is no longer waited for."""

    def answer(
        self, server: str | None, values: Sequence[Any], size_bytes: int, *, last: bool = True, asked: int = 0
    ) -> None:
        """A server has answered.

        Args:
            server: The server.
            values: A part of its answer.
            size_bytes: Size of this part.
            last: Whether the answer ends with this part.
            asked: The number of acknowledgements that will follow.
        """

    def acknowledge(self, server: str | None, args: Sequence[Any], size_bytes: int) -> None:
        """One of the acknowledgements that follow an answer; servers of Node send its first argument alone."""

    def withdraw(self, server: str | None, count: int) -> None:
        """So many acknowledgements will not follow: their clients are gone."""

    def fail(self, problem: str) -> None:
        """No answers will arrive, or no more of them."""

    def unsent(self, problem: str) -> None:
        """No server has received the query, nor will."""


class Node(Protocol):
    """One server of the cluster, as its adapter sees it."""

    def apply_command(self, command: Command) -> None:
        """Apply a command to the sockets of this server. Does not wait or raise."""

    def namespaces(self) -> Collection[str]:
        """The namespaces with handlers or options on this server, and those that have a socket."""

    def occupied(self, namespace: str, room: str | None) -> bool:
        """Whether a broadcast to this room or socket id (None: to all) can reach a socket of this server."""

    def rooms(self, namespace: str) -> Collection[str]:
        """Names of the rooms that have members on this server, including the ids of its sockets."""

    def sids(self, selection: Selection) -> Sequence[str]:
        """Ids of the selected connected sockets of this server, each once."""

    def describe(self, selection: Selection) -> Sequence[SocketDescription]:
        """The selected connected sockets of this server, each once."""

    def receive(self, event: ServerEvent, answer: Callable[[Any], None] | None) -> None:
        """Call the handler of an event of another server. Does not wait or raise.

        Args:
            event: The event.
            answer: Called with what the handler returns, now or later, at most once; None: no answer is wanted.
        """

    def ask(self, selection: Selection, args: Sequence[Any], listener: AckListener) -> PendingAcks:
        """Emit an event to the selected sockets of this server, each of which is to acknowledge it.

        Args:
            selection: The recipients.
            args: Event name and arguments.
            listener: Is called in later loop turns.

        Raises:
            EncodeError: an argument cannot be encoded.
        """


@runtime_checkable
class RoomWatcher(Protocol):
    """An adapter that needs to know the rooms of this server."""

    def watch_room(self, namespace: str, room: str, occupied: bool) -> None:
        """A room has its first member on this server, or has lost its last one. Does not wait or raise."""


class OrderedNode(Protocol):
    """A server that applies the commands of all servers in one order, as its adapter sees it.

    No method waits or raises.
    """

    def begin(self, offset: Offset, last: Offset, *, gap: bool) -> None:
        """Every command after an offset will be reported; some before it may have been missed.

        Args:
            offset: The offset.
            last: Offset of the last command that is reported to `remember`.
            gap: Commands after the last one that was reported may have been missed.
        """

    def remember(self, command: Command, offset: Offset, age_s: float) -> None:
        """A command that was published before this server was in the cluster: it is not applied."""

    def apply_in_order(self, command: Command, offset: Offset, *, own: bool) -> None:
        """Apply a command at its place in the order.

        Args:
            command: The command.
            offset: Its place.
            own: This server has published it.
        """

    def release_session(self, namespace: str, pid: str) -> bool:
        """The client of a session has returned to another server: end its connection here; False: it has none."""


@runtime_checkable
class OrderedAdapter(Protocol):
    """An adapter that can give the commands of all servers one order, and keep the sessions of lost sockets."""

    def order(self, node: OrderedNode, history_s: float) -> None:
        """Report commands to this node, in their order, instead of `Node.apply_command`. Called once, before `start`.

        Args:
            node: The server.
            history_s: Age of the commands that are reported to it as `OrderedNode.remember` at the start.
        """

    def publish_in_order(self, command: Command) -> None:
        """Send a command to all nodes, this one included, without waiting. Does nothing unless started."""

    def save_session(self, pid: str, session: dict[str, Any], ttl_s: float) -> None:
        """Keep a session for so long, without waiting.

        Raises:
            EncodeError: a value in it cannot be encoded.
        """

    async def take_session(self, namespace: str, pid: str) -> dict[str, Any] | None:
        """Remove a session and return it; None: there is none, or it cannot be read. One caller gets it.

        A server that still has the connection of the session ends it first.
        """


class Adapter(Protocol):
    """Carries commands to the other servers.

    Guaranteed: a command reaches every other started node at most once, never the node that published it, and the
    commands of one node arrive in the order in which they were published; over a Redis Cluster with sharded channels,
    those on one channel do. Not guaranteed: that it arrives.
    """

    @property
    def alone(self) -> bool:
        """Whether there can be no other node, so that an unknown socket id exists nowhere."""

    def bind(self, node: Node) -> None:
        """Set the node that receives commands; called once, before any other method."""

    async def start(self) -> None:
        """Join the cluster. Harmless if already started.

        Before it first waits, it enables `publish`: what is published from then on waits in a queue of the adapter.
        """

    async def stop(self) -> None:
        """Leave the cluster: no command is applied after this returns. Harmless if already stopped."""

    def serve(self, namespace: str) -> None:
        """Receive the commands of this namespace, since it has a socket. Harmless if repeated."""

    def unserve(self, namespace: str) -> None:
        """Stop receiving the commands of this namespace: its last socket is gone. Namespaces with handlers stay."""

    def publish(self, command: Command) -> None:
        """Send a command to the other nodes, without waiting. Does nothing unless started."""

    def request(self, query: Query, gatherer: Gatherer) -> None:
        """Send a query to the other nodes, after the commands that were published before; without waiting.

        The answers go to ``gatherer`` until `forget`. An adapter that is not started has no other nodes.

        Raises:
            EncodeError: an argument of the query cannot be encoded.
        """

    def forget(self, gatherer: Gatherer) -> None:
        """Drop the answers to a query from now on. Harmless if repeated."""
