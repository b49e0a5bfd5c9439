"""The port to the other servers of a cluster, one module for each engine behind it.

Layer: realtime. May import: wire. Source: socket.io-adapter's `ClusterAdapter`, as a port of its consumer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from roomcast.realtime.message import EncodedEvent


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
    """Put the selected sockets out of their namespace."""

    who: Selection


Command: TypeAlias = Broadcast | Join | Leave | Disconnect


class Node(Protocol):
    """One server of the cluster, as the adapter sees it."""

    def obey(self, command: Command) -> None:
        """Carry out, for the sockets of this server, what another one asked for. Does not wait or raise."""


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

    def publish(self, command: Command) -> None:
        """Send a command to the other nodes, soon. Does not wait; nothing happens unless started."""
