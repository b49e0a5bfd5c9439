"""The cluster inside one process: servers that share a `MemoryBus`; a server alone by default.

Layer: realtime.
"""

from __future__ import annotations

import asyncio

from roomcast.realtime.core.cluster import Command, Node


class MemoryBus:
    """Connects the adapters that are given it."""

    def __init__(self) -> None:
        self.adapters: list[MemoryAdapter] = []


class MemoryAdapter:
    """Behind `adapters.Adapter`.

    Args:
        bus: Shared with the other nodes; None: there are none.
    """

    def __init__(self, bus: MemoryBus | None = None) -> None:
        self._bus = bus
        self._node: Node | None = None

    @property
    def alone(self) -> bool:
        """See `adapters.Adapter`."""
        return self._bus is None

    def bind(self, node: Node) -> None:
        """See `adapters.Adapter`."""
        self._node = node

    async def start(self) -> None:
        """See `adapters.Adapter`."""
        if self._bus is not None and self not in self._bus.adapters:
            self._bus.adapters.append(self)

    async def stop(self) -> None:
        """See `adapters.Adapter`."""
        if self._bus is not None and self in self._bus.adapters:
            self._bus.adapters.remove(self)

    def serve(self, namespace: str) -> None:
        """See `adapters.Adapter`: the bus carries everything."""

    def unserve(self, namespace: str) -> None:
        """See `adapters.Adapter`: the bus carries everything."""

    def publish(self, command: Command) -> None:
        """See `adapters.Adapter`."""
        if self._bus is None or self not in self._bus.adapters:
            return
        loop = asyncio.get_running_loop()
        for other in self._bus.adapters:
            if other is not self:
                # Not at once: the publisher may be in the middle of a tick that the others must not be drawn into.
                loop.call_soon(other.apply_command, command)

    def apply_command(self, command: Command) -> None:
        """Take a command from the bus."""
        if self._node is not None and self._bus is not None and self in self._bus.adapters:
            self._node.apply_command(command)
