"""A node for adapters under test: notes what it is told."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from roomcast.realtime import Socket
from roomcast.realtime.core.cluster import Command, Selection


class RecordingNode:
    """Behind `adapters.Node`; claims to have sockets everywhere, so that nothing is passed over.

    Attributes:
        commands: What it was told, in order.
    """

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def apply_command(self, command: Command) -> None:
        """See `adapters.Node`."""
        self.commands.append(command)

    def namespaces(self) -> Collection[str]:
        """See `adapters.Node`."""
        return ("/", "/x")

    def occupied(self, namespace: str, room: str | None) -> bool:
        """See `adapters.Node`."""
        return True

    def rooms(self, namespace: str) -> Collection[str]:
        """See `adapters.Node`."""
        return ()

    def members(self, who: Selection) -> Sequence[Socket]:
        """See `adapters.Node`."""
        return ()
