"""The port to the other servers of a cluster: commands for selected sockets, and the adapter that carries them.

Layer: realtime.core. Source: socket.io-adapter's ``ClusterAdapter``.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from roomcast.realtime.core.handshake import Handshake
from roomcast.realtime.fanout.message import EncodedEvent


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


Command: TypeAlias = Broadcast | Join | Leave | Disconnect


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

    def ask(self, selection: Selection, args: Sequence[Any], listener: AckListener) -> PendingAcks:
        """Emit an event to the selected sockets of this server, each of which is to acknowledge it.

        Args:
            selection: The recipients.
            args: Event name and arguments.
            listener: Is called in later loop turns.

        Raises:
            EncodeError: an argument cannot be encoded.
        """


class Adapter(Protocol):
    """Carries commands to the other servers.

    Guaranteed: a command reaches every other started node at most once, never the node that published it, and the
    commands of one node arrive in the order in which they were published. Not guaranteed: that it arrives.
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
