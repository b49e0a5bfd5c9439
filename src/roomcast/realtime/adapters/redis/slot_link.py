"""Connections to every master of a Redis Cluster: each channel and each key is used on the master that owns its slot.

A command that a server refuses since its slot has moved was not executed, and is sent to the new owner. The commands of
one channel keep their order: while some of them may still be refused, later ones wait.

Layer: realtime. Source: Redis Cluster specification, "Redirection and resharding"; Redis documentation, "Sharded
Pub/Sub".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Final

from roomcast.backoff import Backoff
from roomcast.realtime.adapters.redis.connection_pair import ConnectionPair, Publication, Subscriptions
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.publish_queue import PublishQueue, WaitingCommand
from roomcast.redis_client import (
    Commands,
    Outcome,
    RedisAddress,
    RedisOptions,
    RedisUnavailable,
    SentCommand,
    Topology,
)

logger = logging.getLogger(__name__)

_LINE: Final = b"\r\n"


def key_of(command: bytes) -> bytes:
    """The first argument of an encoded command, which decides about its slot; empty if it has none."""
    # ``*<arguments>``, then for each argument ``$<size>`` and the argument.
    size_end = command.find(_LINE, command.find(b"$"))
    verb_end = size_end + 2 + int(command[command.find(b"$") + 1 : size_end])
    length_end = command.find(_LINE, verb_end + 2)
    if length_end < 0:
        return b""
    start = length_end + 2
    return command[start : start + int(command[verb_end + 3 : length_end])]


class SlotLink:
    """A `connection_pair.Link` that follows slots, and replaces lost connections by itself.

    Args:
        commands: Looks up the masters.
        redis: How to connect.
        options: Limits, and the prefix of channels.
        counters: Counts connections, losses and messages.
        uid: Of this server, for the channels of its probes.
        verb: The command that subscribes: ``SSUBSCRIBE``, or ``SUBSCRIBE``.
        outcome: Where failures are reported.
        wanted: The first subscriptions.
        on_message: See `ConnectionPair`.
        on_writable: See `ConnectionPair`.
        on_reply: See `ConnectionPair`.
    """

    def __init__(
        self,
        commands: Commands,
        redis: RedisOptions,
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
        uid: str,
        verb: str,
        outcome: Outcome,
        wanted: Subscriptions,
        on_message: Callable[[list[bytes]], None],
        on_writable: Callable[[], None],
        on_reply: Callable[[Any], None],
    ) -> None:
        self._commands = commands
        self._redis = redis
        self._options = options
        self._counters = counters
        self._probe_prefix = f"{options.key}-probe#{uid}#"
        self._verb = verb
        self._outcome = outcome
        # Each wanted channel with its command, and the connections on which it was subscribed.
        self._wanted = {name: verb for verb, names in wanted.items() for name in names}
        self._placed: dict[str, ConnectionPair] = {}
        self._on_message = on_message
        self._on_writable = on_writable
        self._on_reply = on_reply
        self._topology: Topology | None = None
        self._pairs: dict[RedisAddress, ConnectionPair] = {}
        self._canary_numbers = itertools.count()
        #: The channel of the probes of each connection.
        self._canaries: dict[ConnectionPair, str] = {}
        self._by_canary: dict[bytes, ConnectionPair] = {}
        self._queues: defaultdict[RedisAddress | None, PublishQueue] = defaultdict(
            lambda: PublishQueue(options, counters)
        )
        # What each server has refused since the slot has moved. Until it is sent elsewhere, the server gets no more.
        self._refused: defaultdict[ConnectionPair, list[WaitingCommand]] = defaultdict(list)
        self._switching = False
        self._changed = asyncio.Event()
        self._complete = False
        self._task: asyncio.Task[None] | None = None

    # -- connection_pair.Link ---------------------------------------------------------------------------------------

    @property
    def address(self) -> RedisAddress:
        """The first master, for logs."""
        return min(self._pairs, default=self._redis.addresses[0])

    @property
    def alive(self) -> bool:
        """Whether every master is connected, and every channel is subscribed on its owner."""
        return self._complete

    @property
    def settled(self) -> bool:
        """Whether every subscription is confirmed."""
        return self._complete and all(pair.settled for pair in self._pairs.values())

    @property
    def proven_at(self) -> float:
        """Loop time of the oldest of the latest successful probes of each connection."""
        return min((pair.proven_at for pair in self._pairs.values()), default=float("-inf"))

    def owner(self, name: str | bytes) -> RedisAddress | None:
        """The master that owns a key or channel; None: no master owns its slot."""
        return None if self._topology is None else self._topology.owner(name)

    async def open(self) -> None:
        """Connect and subscribe, as far as the masters are reachable.

        Raises:
            RedisUnavailable: none is.
        """
        try:
            error = await self._attempt()
        except BaseException:
            self.abort("closed")
            raise
        if error is not None and not self._pairs:
            raise error
        self._task = asyncio.create_task(self._maintain(), name="redis-slots")

    def flush(self, queue: PublishQueue) -> None:
        """Send the waiting commands to the owners of their slots, as far as these can take them."""
        now = asyncio.get_running_loop().time()
        while taken := queue.take(now):
            self._route(taken)
        if self._switching:
            return
        for address, waiting in self._queues.items():
            pair = None if address is None else self._pairs.get(address)
            if pair is not None and pair not in self._refused:
                pair.flush(waiting)

    def _route(self, commands: list[WaitingCommand]) -> None:
        for since, command, reply in commands:
            self._queues[self.owner(key_of(command))].put(command, since, reply)

    def subscribe(self, subscriptions: Subscriptions) -> None:
        """See `ConnectionPair`. A channel without a reachable owner is subscribed later."""
        for verb, names in subscriptions.items():
            self._wanted.update(dict.fromkeys(names, verb))
            self._place(names)

    def unsubscribe(self, subscriptions: Subscriptions) -> None:
        """See `ConnectionPair`."""
        for verb, names in subscriptions.items():
            by_pair = defaultdict(list)
            for name in names:
                self._wanted.pop(name, None)
                placed = self._placed.pop(name, None)
                # While slots move, it may be subscribed on a former owner, too.
                for pair in (placed,) if self._complete else self._pairs.values():
                    if pair is not None:
                        by_pair[pair].append(name)
            for pair, gone in by_pair.items():
                pair.unsubscribe({verb: gone})

    async def wait_lost(self, timeout_s: float) -> None:
        """Wait. Lost connections are replaced, so that the link as a whole is not lost."""
        await asyncio.sleep(timeout_s)

    async def probe(self, verb: str, channel: str, timeout_s: float) -> None:
        """Probe each connection, on a channel of its master's slots instead of ``channel``."""
        del channel
        await asyncio.gather(*(pair.probe(verb, name, timeout_s) for pair, name in list(self._canaries.items())))

    def receive_probe(self, data: bytes) -> None:
        """Ignore a probe on the channel of the adapter."""

    def abort(self, cause: str) -> None:
        """End every connection at once."""
        if self._task is not None:
            self._task.cancel()
        self._complete = False
        for pair in list(self._pairs.values()):
            self._forget(pair)
            pair.abort(cause)

    async def close(self) -> None:
        """End every connection after the written messages have been sent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._complete = False
        pairs = list(self._pairs.values())
        for pair in pairs:
            self._forget(pair)
        await asyncio.gather(*(pair.close() for pair in pairs))

    # -- connection_pair.SlotKeeper ---------------------------------------------------------------------------------

    def misplaced(self, pair: ConnectionPair, sent: SentCommand) -> None:
        """See `SlotKeeper`."""
        if isinstance(sent, Publication):
            self._refused[pair].append(sent.waiting)
        elif sent.subscribes:
            for channel in sent.channels:
                self._displace(pair, channel.decode(errors="surrogatepass"))
        elif sent.verb:
            return  # an unsubscription: the server has ended the subscription already
        self._change()

    def revoked(self, pair: ConnectionPair, name: str) -> None:
        """See `SlotKeeper`."""
        self._counters.revoked += 1
        self._displace(pair, name)
        self._change()

    def _displace(self, pair: ConnectionPair, name: str) -> None:
        if self._placed.get(name) is pair:
            del self._placed[name]
        if self._canaries.get(pair) == name:
            self._forget_canary(pair)

    # -- repair -----------------------------------------------------------------------------------------------------

    def _change(self) -> None:
        self._complete = False
        self._changed.set()

    async def _maintain(self) -> None:
        backoff = Backoff(self._redis.retry_min_s, self._redis.retry_max_s)
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._redis.topology_interval_s):
                    await self._changed.wait()
            await self._attempt()
            self._on_writable()
            if not self._changed.is_set():
                backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _attempt(self) -> RedisUnavailable | None:
        self._changed.clear()
        try:
            await self._repair()
        except RedisUnavailable as error:
            self._changed.set()
            if not self._complete:
                self._outcome.fail(error)
            return error
        except Exception:
            # A bug here must not leave the server without subscriptions.
            logger.exception("following the slots of the cluster failed")
            self._changed.set()
        else:
            self._complete = not self._changed.is_set()
        return None

    async def _repair(self) -> None:
        """Look up the masters, connect to each, and move commands and subscriptions to the owners of their slots.

        Raises:
            RedisUnavailable: the look-up failed, or a master is unreachable; the others are in use.
        """
        topology = await self._commands.topology()
        for address in self._pairs.keys() - topology.masters:
            self._lose(self._pairs[address], "moved")
        missing = topology.masters - self._pairs.keys()
        opened = await asyncio.gather(*(self._open(address, topology) for address in missing), return_exceptions=True)
        failures = [outcome for outcome in opened if outcome is not None]
        for pair in self._pairs.values():
            self._place_canary(pair, topology)
        checks = [pair.owns(name, self._redis.probe_timeout_s) for pair, name in self._canaries.items()]
        if not all(await asyncio.gather(*checks)):
            # A replica accepts sharded channels as well. What is sent to it, and to the new master, could arrive twice.
            self._change()
            raise RedisUnavailable("the cluster has not yet agreed about its masters")
        if self._refused or topology != self._topology:
            await self._switch(topology)
        self._place(self._wanted)
        await self._drain()
        if failures:
            raise failures[0]
        if len(self._placed) < len(self._wanted):
            raise RedisUnavailable("a channel belongs to a slot without a master")

    async def _open(self, address: RedisAddress, topology: Topology) -> None:
        canary = self._canary_for(address, topology)
        hooks = (self._take, self._on_writable, self._on_reply, self)
        pair = ConnectionPair(address, self._options, self._counters, {self._verb: [canary]}, *hooks)
        await pair.open(self._redis)
        self._pairs[address] = pair
        self._set_canary(pair, canary)
        pair.watch(partial(self._lose, pair))

    async def _switch(self, topology: Topology) -> None:
        """Use these owners from now on. What was sent before has been answered then."""
        self._switching = True
        try:
            await self._drain()
        finally:
            self._switching = False
        self._topology = topology
        # No other code runs until every waiting command is in the queue of its present owner.
        waiting = list(itertools.chain.from_iterable(self._refused.values()))
        for queue in self._queues.values():
            waiting += _all_of(queue)
        self._refused.clear()
        self._queues.clear()
        self._route(waiting)

    async def _drain(self) -> None:
        await asyncio.gather(*(pair.drain(self._redis.probe_timeout_s) for pair in self._pairs.values()))

    def _place_canary(self, pair: ConnectionPair, topology: Topology) -> None:
        former = self._canaries.get(pair)
        if former is not None and topology.owner(former) == pair.address:
            return
        self._forget_canary(pair)
        name = self._canary_for(pair.address, topology)
        self._set_canary(pair, name)
        pair.subscribe({self._verb: [name]})
        if former is not None and self._verb == "SUBSCRIBE":
            pair.unsubscribe({self._verb: [former]})

    def _canary_for(self, address: RedisAddress, topology: Topology) -> str:
        # No name is used again, since the slot of a present one may have moved to this master.
        names = (f"{self._probe_prefix}{number}" for number in self._canary_numbers)
        return next(name for name in names if topology.owner(name) == address)

    def _set_canary(self, pair: ConnectionPair, name: str) -> None:
        self._canaries[pair] = name
        self._by_canary[name.encode()] = pair

    def _forget_canary(self, pair: ConnectionPair) -> None:
        name = self._canaries.pop(pair, None)
        if name is not None:
            del self._by_canary[name.encode()]

    def _place(self, names: Iterable[str]) -> None:
        """Subscribe to those channels that are not subscribed on their present owner.

        A former owner ends the subscription by itself, when it knows that it is not the owner any more. Classic
        channels stay where they are: each node receives their messages.
        """
        new: defaultdict[ConnectionPair, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in names:
            address, placed = self.owner(name), self._placed.get(name)
            pair = None if address is None else self._pairs.get(address)
            if pair is not None and placed is not pair and (placed is None or self._verb == "SSUBSCRIBE"):
                self._placed[name] = pair
                new[pair][self._wanted[name]].append(name)
        for pair, subscriptions in new.items():
            pair.subscribe(subscriptions)

    def _lose(self, pair: ConnectionPair, cause: str) -> None:
        if self._pairs.get(pair.address) is not pair:
            return
        self._forget(pair)
        pair.abort(cause)
        self._counters.losses[cause] += 1
        self._outcome.fail(RedisUnavailable(f"the connection to {pair.address} was lost: {cause}"))
        self._change()

    def _forget(self, pair: ConnectionPair) -> None:
        del self._pairs[pair.address]
        self._forget_canary(pair)
        self._placed = {name: placed for name, placed in self._placed.items() if placed is not pair}

    def _take(self, message: list[bytes]) -> None:
        pair = self._by_canary.get(message[1])
        if pair is None:
            self._on_message(message)
        else:
            pair.receive_probe(message[2])


def _all_of(queue: PublishQueue) -> Iterator[WaitingCommand]:
    while taken := queue.take(asyncio.get_running_loop().time()):
        yield from taken
