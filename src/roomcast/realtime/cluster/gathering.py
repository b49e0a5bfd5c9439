"""The answers of the other servers to one query: which servers are waited for, and when the answers are complete.

A server that has left the cluster is not waited for. The adapter knows the name of every server, but answers of Node do
not contain it. So it is unknown whether a server of Node that leaves has answered; its answer may still be on its way.
Its departure counts at the next `Gathering.update`.

Layer: realtime.cluster.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from roomcast.realtime.cluster.commands import Adapter, Broadcast, BroadcastWithAck, Command, Gatherer, Query
from roomcast.realtime.cluster.membership import Membership
from roomcast.realtime.errors import QueryLimitExceeded
from roomcast.wire.errors import EncodeError

logger = logging.getLogger(__name__)

# An estimate of what a value takes in memory besides its characters.
_ITEM_BYTES: Final = 64
#: The name of this server among those that answer.
HERE: Final = ""
#: How long acknowledgements of other servers are passed on to a callback.
CALLBACK_LIMIT_S: Final = 60.0


class Gathering:
    """`cluster.Gatherer` of one query.

    Args:
        limit_bytes: Maximum total size of the answers.

    Attributes:
        values: The parts of all answers, and the arguments of all acknowledgements, in order of arrival.
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
        self._reached = sys.maxsize
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

    def reached(self, count: int) -> None:
        """See `cluster.Gatherer`."""
        self._reached = count
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

    def acknowledge(self, server: str | None, args: Sequence[Any], size_bytes: int) -> None:
        """See `cluster.Gatherer`."""
        # In a Redis Cluster Node's answers take several paths, and an acknowledgement may overtake their number.
        due = self._due.get(server, 0)
        early = server is not None and server not in self._answered and server in (self._expected or (server,))
        if not self._done.is_set() and (due > 0 or early) and self._count(size_bytes + _ITEM_BYTES):
            self._due[server] = due - 1
            self._receive(args)
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
            self._end()

    def unsent(self, problem: str) -> None:
        """See `cluster.Gatherer`."""
        self.fail(problem)

    # -- for the operators --------------------------------------------------------------------------------------------

    @property
    def missing(self) -> int:
        """Acknowledgements that are still to come, or will not: the client, or its server, is gone."""
        return self._gone + sum(max(due, 0) for due in self._due.values())

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
        answers = self._unnamed + len(self._answered - {HERE})
        if self._unnamed < (len(present) if certain else len(silent)) and answers < self._reached:
            return
        for server, count in self._due.items():
            if count > 0 and not (self._left(server) if server is not None else certain and not present):
                return
        self._end()

    def _receive(self, args: Sequence[Any]) -> None:
        self.values.append(args)

    def _end(self) -> None:
        self._done.set()

    def _left(self, server: str) -> bool:
        return server != HERE and self._current is not None and server not in self._current


class CalledGathering(Gathering):
    """Passes each acknowledgement on when it arrives, and keeps none.

    A failure after the query was sent does not end it: the acknowledgements may still arrive.

    Args:
        receive: Called with the arguments of each acknowledgement.
        ended: Called once, when no more acknowledgements are waited for.
        limit_s: How long they are waited for.

    Attributes:
        on_unsent: Called with the cause if the query is not sent.
    """

    def __init__(self, receive: Callable[..., None], ended: Callable[[CalledGathering], None], limit_s: float) -> None:
        super().__init__(0)
        self.on_unsent: Callable[[str], None] = lambda _problem: None
        self._pass_on = receive
        self._ended = ended
        self._timer = asyncio.get_running_loop().call_later(limit_s, self.end)

    def update(self, servers: Collection[str]) -> None:
        """See `cluster.Gatherer`. If the servers could not be listed when the query was sent, these count."""
        if self._expected is None:
            self.expect(servers)
        super().update(servers)

    def fail(self, problem: str) -> None:
        """See `cluster.Gatherer`."""
        self.problem = problem

    def unsent(self, problem: str) -> None:
        """See `cluster.Gatherer`."""
        self.end()
        self.on_unsent(problem)

    def end(self) -> None:
        """Wait no longer. Harmless if repeated."""
        if not self._done.is_set():
            self._end()

    def _count(self, size_bytes: int) -> bool:
        del size_bytes  # nothing is kept
        return True

    def _receive(self, args: Sequence[Any]) -> None:
        self._pass_on(*args)

    def _end(self) -> None:
        super()._end()
        self._timer.cancel()
        self._ended(self)


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
        self._called: set[CalledGathering] = set()
        self._unasked = 0

    @property
    def called_back(self) -> int:
        """Number of events whose acknowledgements a callback waits for."""
        return len(self._called)

    def call_back(self, command: Broadcast, args: tuple[Any, ...], receive: Callable[..., None]) -> None:
        """Emit an event on the other servers, in the order of `Membership.publish`, and pass on its acknowledgements.

        They may fill half of the limit, so that other queries remain possible. Beyond that, and if the adapter cannot
        ask, the event is sent as it is, and no acknowledgement arrives.

        Args:
            command: The event.
            args: Its name and arguments.
            receive: Called with the arguments of each acknowledgement that arrives within `CALLBACK_LIMIT_S`.
        """
        if 2 * self.called_back >= self._limit:
            self._send_plain(command, f"{self.called_back} events wait for acknowledgements (half of max_queries)")
            return
        gathering = CalledGathering(receive, self._forget, CALLBACK_LIMIT_S)
        self._called.add(gathering)
        query = BroadcastWithAck(command.to, args, CALLBACK_LIMIT_S, queued=True)

        def send(event: Command) -> None:
            gathering.on_unsent = partial(self._send_plain, event)
            try:
                self._adapter.request(query, gathering)
            except EncodeError as error:
                gathering.unsent(str(error))

        self._membership.publish_by(send, command)

    def _send_plain(self, command: Command, problem: str) -> None:
        self._unasked += 1
        if self._unasked & (self._unasked - 1) == 0:  # the 1st, 2nd, 4th, …: a flood cannot fill the logs
            logger.warning("%d callbacks are not called for clients of other servers: %s", self._unasked, problem)
        self._membership.publish(command)

    def _forget(self, gathering: CalledGathering) -> None:
        self._called.discard(gathering)
        self._adapter.forget(gathering)

    def stop(self) -> None:
        """Call no function of `call_back` any more."""
        for gathering in list(self._called):
            gathering.end()

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
        """See `cluster.AckListener`."""
        self._gatherer.acknowledge(self._server, args, sum(map(_size_bytes, args)))

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
