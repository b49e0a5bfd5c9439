"""The answers of the other servers to one query: which servers are waited for, and when the answers are complete.

A server that has left the cluster is not waited for. The adapter knows the name of every server, but answers of Node do
not contain it. So it is unknown whether a server of Node that leaves has answered; its answer may still be on its way.
Its departure counts at the next `Gathering.update`.

Layer: realtime.cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from roomcast.realtime.cluster.commands import Adapter, Gatherer, Query
from roomcast.realtime.cluster.membership import Membership
from roomcast.realtime.errors import QueryLimitExceeded

# An estimate of what a value takes in memory besides its characters.
_ITEM_BYTES: Final = 64
#: The name of this server among those that answer.
HERE: Final = ""


class Gathering:
    """`cluster.Gatherer` of one query.

    Args:
        limit_bytes: Maximum total size of the answers.

    Attributes:
        values: The parts of all answers, and all acknowledgements, in order of arrival.
        problem: Why the answers are not complete; empty if they are, and while they are waited for.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.values: list[Any] = []
        self.problem = ""
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._expected: frozenset[str] | None = None
        self._answered: set[str] = set()
        self._unnamed = 0
        # Of the last update.
        self._current: frozenset[str] | None = None
        self._lost: frozenset[str] = frozenset()
        self._settled = False
        # Acknowledgements that are still to come, by server; None: the servers that are not named.
        self._due: dict[str | None, int] = {}
        self._gone = 0
        self._done = asyncio.Event()

    # -- for the adapter: `cluster.Gatherer` --------------------------------------------------------------------------

    def expect(self, servers: Collection[str]) -> None:
        """See `cluster.Gatherer`."""
        self._expected = frozenset(servers)
        self._check()

    def update(self, servers: Collection[str]) -> None:
        """See `cluster.Gatherer`."""
        if self._expected is None:
            return
        self._current = frozenset(servers)
        lost = self._expected - self._current
        self._settled = lost == self._lost
        self._lost = lost
        self._check()

    def answer(
        self, server: str | None, values: Sequence[Any], size_bytes: int, *, last: bool = True, asked: int = 0
    ) -> None:
        """See `cluster.Gatherer`."""
        if self._done.is_set() or server in self._answered or not self._count(size_bytes):
            return
        if server is None and self._expected is not None and self._unnamed >= len(self._expected - self._answered):
            return  # more answers than servers
        self.values.extend(values)
        self._due[server] = self._due.get(server, 0) + asked
        if last and server is None:
            self._unnamed += 1
        elif last and server is not None:
            self._answered.add(server)
        self._check()

    def acknowledge(self, server: str | None, value: Any, size_bytes: int) -> None:
        """See `cluster.Gatherer`."""
        if not self._done.is_set() and self._due.get(server, 0) > 0 and self._count(size_bytes + _ITEM_BYTES):
            self._due[server] -= 1
            self.values.append(value)
            self._check()

    def withdraw(self, server: str | None, count: int) -> None:
        """See `cluster.Gatherer`."""
        gone = min(count, self._due.get(server, 0))
        if gone > 0:
            self._due[server] -= gone
            self._gone += gone
            self._check()

    def fail(self, problem: str) -> None:
        """See `cluster.Gatherer`."""
        if not self._done.is_set():
            self.problem = problem
            self._done.set()

    # -- for the operators --------------------------------------------------------------------------------------------

    @property
    def missing(self) -> int:
        """Acknowledgements that are still to come, or will not: the client, or its server, is gone."""
        return self._gone + sum(self._due.values())

    async def wait(self, timeout_s: float) -> bool:
        """Wait for the answers; False if they are not complete, for the reason in ``problem``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._done.wait()
        except TimeoutError:
            self.fail(f"not all servers answered within {timeout_s:g} s")
        return not self.problem

    def _count(self, size_bytes: int) -> bool:
        self._size_bytes += size_bytes
        if self._size_bytes > self._limit_bytes:
            self.fail(f"the answers exceed {self._limit_bytes} bytes (query_limit_bytes): select fewer sockets")
        return not self.problem

    def _check(self) -> None:
        if self._expected is None or self._done.is_set():
            return
        silent = self._expected - self._answered
        present = silent - self._lost
        # Whether the unnamed answers are those of the servers that are present, not of those that have left.
        certain = self._settled or not self._unnamed
        if self._unnamed < (len(present) if certain else len(silent)):
            return
        for server, count in self._due.items():
            if count and not (self._left(server) if server is not None else certain and not present):
                return
        self._done.set()

    def _left(self, server: str) -> bool:
        return server != HERE and self._current is not None and server not in self._current


class Queries:
    """The queries of one server that wait for answers.

    Args:
        adapter: Carries them.
        membership: Starts the adapter at the first query.
        limit: Maximum number of them.
        limit_bytes: Maximum total size of the answers to one of them.
    """

    def __init__(self, adapter: Adapter, membership: Membership, limit: int, limit_bytes: int) -> None:
        self._adapter = adapter
        self._membership = membership
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._open = 0

    @contextmanager
    def open(self) -> Iterator[Gathering]:
        """Collect the answers of a query that is not sent yet; they count until the end of the ``with`` block.

        Raises:
            QueryLimitExceeded: too many queries wait for answers.
        """
        if self._open >= self._limit:
            raise QueryLimitExceeded(self._limit)
        gathering = Gathering(self._limit_bytes)
        self._open += 1
        try:
            yield gathering
        finally:
            self._open -= 1
            self._adapter.forget(gathering)

    async def send(self, query: Query, gathering: Gathering) -> None:
        """Send a query to the other servers.

        Raises:
            EncodeError: an argument cannot be encoded.
        """
        await self._membership.join_unless_left()
        self._adapter.request(query, gathering)


class GatheredAcks:
    """`cluster.AckListener` that passes the acknowledgements of one server's sockets on.

    Args:
        gatherer: Receives them.
        server: The name of that server.
    """

    __slots__ = ("_gatherer", "_server")

    def __init__(self, gatherer: Gatherer, server: str) -> None:
        self._gatherer = gatherer
        self._server = server

    def acknowledged(self, args: Sequence[Any]) -> None:
        """See `cluster.AckListener`. As in Node, only the first argument counts."""
        value = args[0] if args else None
        self._gatherer.acknowledge(self._server, value, _size_bytes(value))

    def disconnected(self) -> None:
        """See `cluster.AckListener`."""
        self._gatherer.withdraw(self._server, 1)


def _size_bytes(value: Any) -> int:
    """An estimate of the memory of a value that was decoded from a packet."""
    if isinstance(value, str | bytes):
        return len(value) + _ITEM_BYTES
    if isinstance(value, list):
        return _ITEM_BYTES + sum(map(_size_bytes, value))
    if isinstance(value, dict):
        return _ITEM_BYTES + sum(len(key) + _size_bytes(item) for key, item in value.items())
    return _ITEM_BYTES
