"""An adapter without a network: servers of one process that share a `MemoryBus`, or a single server.

Layer: realtime.
"""

from __future__ import annotations

import asyncio

from roomcast.realtime.cluster.commands import (
    BroadcastWithAck,
    Command,
    FetchSockets,
    Gatherer,
    Node,
    PendingAcks,
    Query,
    ServerEvent,
)
from roomcast.realtime.cluster.gathering import GatheredAcks


class MemoryBus:
    """Connects the adapters that are constructed with this bus."""

    def __init__(self) -> None:
        self.adapters: list[MemoryAdapter] = []
        self.gatherers: dict[Gatherer, MemoryAdapter] = {}
        self.acks: dict[Gatherer, list[PendingAcks]] = {}

    def others(self, one: MemoryAdapter) -> list[str]:
        """Names of the other adapters."""
        return [adapter.name for adapter in self.adapters if adapter is not one]

    def changed(self) -> None:
        """An adapter has left."""
        for gatherer, asking in list(self.gatherers.items()):
            gatherer.update(self.others(asking))


class MemoryAdapter:
    """`cluster.commands.Adapter` in memory.

    Args:
        bus: The bus that the servers share; None: there are no other servers.

    Attributes:
        name: Names this server among those of the bus.
    """

    def __init__(self, bus: MemoryBus | None = None) -> None:
        self._bus = bus
        self._node: Node | None = None
        self.name = f"{id(self):x}"

    @property
    def alone(self) -> bool:
        """See `cluster.commands.Adapter`."""
        return self._bus is None

    def bind(self, node: Node) -> None:
        """See `cluster.commands.Adapter`."""
        self._node = node

    async def start(self) -> None:
        """See `cluster.commands.Adapter`."""
        if self._bus is not None and self not in self._bus.adapters:
            self._bus.adapters.append(self)

    async def stop(self) -> None:
        """See `cluster.commands.Adapter`."""
        if self._bus is not None and self in self._bus.adapters:
            self._bus.adapters.remove(self)
            self._bus.changed()

    def serve(self, namespace: str) -> None:
        """See `cluster.commands.Adapter`: the bus carries all namespaces."""

    def unserve(self, namespace: str) -> None:
        """See `cluster.commands.Adapter`: the bus carries all namespaces."""

    def publish(self, command: Command) -> None:
        """See `cluster.commands.Adapter`."""
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

    def request(self, query: Query, gatherer: Gatherer) -> None:
        """See `cluster.commands.Adapter`."""
        if self._bus is None or self not in self._bus.adapters:
            gatherer.expect(())
            return
        self._bus.gatherers[gatherer] = self
        loop = asyncio.get_running_loop()
        for other in self._bus.adapters:
            if other is not self:
                loop.call_soon(other.answer_query, query, gatherer)
        gatherer.expect(self._bus.others(self))

    def forget(self, gatherer: Gatherer) -> None:
        """See `cluster.commands.Adapter`."""
        if self._bus is not None:
            self._bus.gatherers.pop(gatherer, None)
            for acks in self._bus.acks.pop(gatherer, ()):
                acks.stop()

    def answer_query(self, query: Query, gatherer: Gatherer) -> None:
        """Answer a query from the bus."""
        if self._node is None or self._bus is None or self not in self._bus.adapters:
            return
        if gatherer not in self._bus.gatherers:
            return  # it has timed out
        match query:
            case FetchSockets(sockets):
                gatherer.answer(self.name, self._node.describe(sockets), 0)
            case ServerEvent():
                self._node.receive(query, lambda value: gatherer.answer(self.name, [value], 0))
            case BroadcastWithAck(to, args):
                acks = self._node.ask(to, args, GatheredAcks(gatherer, self.name))
                self._bus.acks.setdefault(gatherer, []).append(acks)
                gatherer.answer(self.name, (), 0, asked=acks.asked)
