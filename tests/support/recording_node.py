"""A node for tests of adapters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from roomcast.realtime.core.cluster import AckListener, Command, PendingAcks, Selection, ServerEvent, SocketDescription


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

    def sids(self, selection: Selection) -> Sequence[str]:
        """See `core.cluster.Node`."""
        return ()

    def describe(self, selection: Selection) -> Sequence[SocketDescription]:
        """See `core.cluster.Node`."""
        return ()

    def receive(self, event: ServerEvent, answer: Callable[[Any], None] | None) -> None:
        """See `core.cluster.Node`."""
        self.commands.append(event)
        if answer is not None:
            answer(None)

    def ask(self, selection: Selection, args: Sequence[Any], listener: AckListener) -> PendingAcks:
        """See `core.cluster.Node`."""
        raise NotImplementedError
