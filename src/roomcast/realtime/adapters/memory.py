"""An adapter without a network: servers of one process that share a `MemoryBus`, or a single server.

Layer: realtime.
"""

from __future__ import annotations

import asyncio

from roomcast.realtime.core.cluster import Command, Node


class MemoryBus:
    """Connects the adapters that are constructed with this bus."""

    def __init__(self) -> None:
        self.adapters: list[MemoryAdapter] = []


class MemoryAdapter:
    """`core.cluster.Adapter` in memory.

    Args:
        bus: The bus that the servers share; None: there are no other servers.
    """

    def __init__(self, bus: MemoryBus | None = None) -> None:
        self._bus = bus
        self._node: Node | None = None

    @property
    def alone(self) -> bool:
        """See `core.cluster.Adapter`."""
        return self._bus is None

    def bind(self, node: Node) -> None:
        """See `core.cluster.Adapter`."""
        self._node = node

    async def start(self) -> None:
        """See `core.cluster.Adapter`."""
        if self._bus is not None and self not in self._bus.adapters:
            self._bus.adapters.append(self)

    async def stop(self) -> None:
        """See `core.cluster.Adapter`."""
        if self._bus is not None and self in self._bus.adapters:
            self._bus.adapters.remove(self)

    def serve(self, namespace: str) -> None:
        """See `core.cluster.Adapter`: the bus carries all namespaces."""

    def unserve(self, namespace: str) -> None:
        """See `core.cluster.Adapter`: the bus carries all namespaces."""

    def publish(self, command: Command) -> None:
        """See `core.cluster.Adapter`."""
        if self._bus is None or self not in self._bus.adapters:
            return
        loop = asyncio.get_running_loop()
        for other in self._bus.adapters:
            if other is not self:
                # Apply the command in the next loop turn: a publisher must not run the other servers' handlers.
                loop.call_soon(other.apply_command, command)

    def apply_command(self, command: Command) -> None:
        """Apply a command from the bus."""
        if self._node is not None and self._bus is not None and self in self._bus.adapters:
            self._node.apply_command(command)
