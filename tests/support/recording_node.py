"""A node for tests of adapters."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from roomcast.realtime import Socket
from roomcast.realtime.core.cluster import Command, Selection


class RecordingNode:
    """A `core.cluster.Node` that records commands; it claims sockets in every room, so that none is skipped.

    Attributes:
        commands: The applied commands, in order.
    """

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def apply_command(self, command: Command) -> None:
        """See `core.cluster.Node`."""
        self.commands.append(command)

    def namespaces(self) -> Collection[str]:
        """See `core.cluster.Node`."""
        return ("/", "/x")

    def occupied(self, namespace: str, room: str | None) -> bool:
        """See `core.cluster.Node`."""
        return True

    def rooms(self, namespace: str) -> Collection[str]:
        """See `core.cluster.Node`."""
        return ()

    def members(self, who: Selection) -> Sequence[Socket]:
        """See `core.cluster.Node`."""
        return ()
