"""A node for tests of adapters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from roomcast.realtime.cluster.commands import (
    AckListener,
    Command,
    PendingAcks,
    Selection,
    ServerEvent,
    SocketDescription,
)


class RecordingNode:
    """A `cluster.commands.Node` that records commands; it claims sockets in every room, so that none is skipped.

    Attributes:
        commands: The applied commands, in order.
    """

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def apply_command(self, command: Command) -> None:
        """See `cluster.commands.Node`."""
        self.commands.append(command)

    def namespaces(self) -> Collection[str]:
        """See `cluster.commands.Node`."""
        return ("/", "/x")

    def occupied(self, namespace: str, room: str | None) -> bool:
        """See `cluster.commands.Node`."""
        return True

    def rooms(self, namespace: str) -> Collection[str]:
        """See `cluster.commands.Node`."""
        return ()

    def sids(self, selection: Selection) -> Sequence[str]:
        """See `cluster.commands.Node`."""
        return ()

    def describe(self, selection: Selection) -> Sequence[SocketDescription]:
        """See `cluster.commands.Node`."""
        return ()

    def receive(self, event: ServerEvent, answer: Callable[[Any], None] | None) -> None:
        """See `cluster.commands.Node`."""
        self.commands.append(event)
        if answer is not None:
            answer(None)

    def ask(self, selection: Selection, args: Sequence[Any], listener: AckListener) -> PendingAcks:
        """See `cluster.commands.Node`."""
        raise NotImplementedError
