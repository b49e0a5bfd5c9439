"""The port to the other servers of a cluster, one module for each engine behind it.

Layer: realtime. May import: wire. Source: socket.io-adapter's `ClusterAdapter`, as a port of its consumer.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

from roomcast.realtime.fanout.message import EncodedEvent

if TYPE_CHECKING:
    from roomcast.realtime.core.socket import Socket


@dataclass(frozen=True, slots=True)
class Selection:
    """Sockets of one namespace, wherever they are connected.

    Attributes:
        namespace: Where.
        rooms: Room names and socket ids; None: all.
        skip: Room names and socket ids whose members are left out.
    """

    namespace: str
    rooms: tuple[str, ...] | None
    skip: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Emit to the selected sockets.

    Attributes:
        to: Who gets it.
        message: What they get.
        volatile: Who is behind may miss it.
    """

    to: Selection
    message: EncodedEvent
    volatile: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Put the selected sockets into rooms."""

    who: Selection
    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Take the selected sockets out of rooms."""

    who: Selection
    rooms: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Put the selected sockets out of their namespace.

    Attributes:
        who: Which sockets.
        close: Whether their connections end with it, and so their sockets in other namespaces.
    """

    who: Selection
    close: bool = False


Command: TypeAlias = Broadcast | Join | Leave | Disconnect


class Node(Protocol):
    """One server of the cluster, as the adapter sees it."""

    def obey(self, command: Command) -> None:
        """Carry out, for the sockets of this server, what another one asked for. Does not wait or raise."""

    def namespaces(self) -> Collection[str]:
        """The namespaces that this server serves by name, and those that have a socket."""

    def occupied(self, namespace: str, room: str | None) -> bool:
        """Whether a broadcast to this room or socket id (None: to all) could reach a socket of this server."""

    def rooms(self, namespace: str) -> Collection[str]:
        """Names of the rooms that have members on this server, the ids of its sockets among them."""

    def members(self, who: Selection) -> Sequence[Socket]:
        """The connected sockets of this server that are selected, each once."""


class Adapter(Protocol):
    """Carries commands to the other servers.

    Guaranteed: a command reaches every other started node at most once, never the node that published it, and the
    commands of one node arrive in the order in which they were published. Not guaranteed: that it arrives. What must
    not be lost has its own log.
    """

    @property
    def alone(self) -> bool:
        """Whether there can be no other node, so that a socket that is not here is nowhere."""

    def bind(self, node: Node) -> None:
        """Serve ``node``; called once, before anything else."""

    async def start(self) -> None:
        """Begin to take part. Starting twice is harmless."""

    async def stop(self) -> None:
        """Take part no longer: nothing is obeyed after this returns. Stopping twice is harmless."""

    def serve(self, namespace: str) -> None:
        """Hear of this namespace from now on: it has a socket. Harmless if it is heard of already."""

    def unserve(self, namespace: str) -> None:
        """Hear of this namespace no more: its last socket has left. Those that are served by name stay."""

    def publish(self, command: Command) -> None:
        """Send a command to the other nodes, soon. Does not wait; nothing happens unless started."""
