"""Two connections to one Redis server: one publishes, the other one subscribes.

They are opened and closed together, so that this process publishes on the server that it subscribes to: if they were
replaced separately, one of them could stay connected to the former master after a failover.

Layer: realtime. Source: Redis documentation, "Pub/Sub".
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Final, Protocol, TypeAlias, cast

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.publish_queue import PublishQueue, WaitingCommand
from roomcast.redis_client import (
    Echo,
    RedisAddress,
    RedisConnection,
    RedisOptions,
    RedisUnavailable,
    SentCommand,
    channel_batches,
    pack_command,
    slot_of,
    wait_first,
    wait_for,
)

_CLIENT_NAME: Final = "roomcast-adapter"
_CLOSE_TIMEOUT_S: Final = 1.0
# Above this size, messages wait in the `PublishQueue`, which limits their size and counts the messages that it drops.
_WRITE_BUFFER_BYTES: Final = 262_144
# Allowance for the parts of a message other than its data: array headers, kind, pattern and channel.
_FRAMING_BYTES: Final = 65_536
# Errors of a server of a Redis Cluster that does not own the slot, or not yet, or not any more.
_MISPLACED: Final = ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN")
# Errors that may not recur on a new connection: this server is not, or not yet, a usable master.
_TRANSIENT_ERRORS: Final = ("READONLY", "LOADING", "NOAUTH", "MASTERDOWN", "UNBLOCKED")


#: The commands that subscribe, each with its channels or patterns.
Subscriptions: TypeAlias = Mapping[str, Collection[str]]


class Channels(Protocol):
    """The channels of one namespace."""

    def subscriptions(self) -> Subscriptions:
        """The subscriptions that are wanted now."""


class Link(Protocol):
    """What an adapter publishes and subscribes with: a `ConnectionPair`, or in a Redis Cluster a `SlotLink`."""

    @property
    def address(self) -> RedisAddress:
        """A server."""

    def owner(self, name: str) -> RedisAddress | None:
        """The server that has a key; None: none is known."""

    @property
    def alive(self) -> bool:
        """See `ConnectionPair`."""

    @property
    def settled(self) -> bool:
        """See `ConnectionPair`."""

    @property
    def proven_at(self) -> float:
        """See `ConnectionPair`."""

    def flush(self, queue: PublishQueue) -> None:
        """See `ConnectionPair`."""

    def subscribe(self, subscriptions: Subscriptions) -> None:
        """See `ConnectionPair`."""

    def unsubscribe(self, subscriptions: Subscriptions) -> None:
        """See `ConnectionPair`."""

    async def wait_lost(self, timeout_s: float) -> str | None:
        """See `ConnectionPair`."""

    async def probe(self, verb: str, channel: str, timeout_s: float) -> None:
        """See `ConnectionPair`."""

    def receive_probe(self, data: bytes) -> None:
        """See `ConnectionPair`."""

    def abort(self, cause: str) -> None:
        """See `ConnectionPair`."""

    async def close(self) -> None:
        """See `ConnectionPair`."""


@dataclass(slots=True, eq=False)
class Publication(SentCommand):
    """A command that is sent again if Redis refuses it since another server owns its slot.

    Attributes:
        waiting: The command.
    """

    waiting: WaitingCommand = (0.0, b"", None)


class SlotKeeper(Protocol):
    """Follows the slots of a Redis Cluster. Its methods must not block or raise."""

    def misplaced(self, pair: ConnectionPair, sent: SentCommand) -> None:
        """Handle a command that was refused since another server owns its slot, or none."""

    def revoked(self, pair: ConnectionPair, name: str) -> None:
        """Handle a subscription that the server has ended since the slot belongs to another one now."""


class _Connection(RedisConnection):
    """Counts refused commands, and reports those of another server's slots."""

    def __init__(
        self,
        address: RedisAddress,
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
        on_misplaced: Callable[[SentCommand], None] | None,
    ) -> None:
        super().__init__(address, max_message_bytes=options.max_message_bytes + _FRAMING_BYTES)
        self._counters = counters
        self._on_misplaced = on_misplaced
        self._write: SentCommand | None = None

    def command_refused(self, sent: SentCommand, reason: str) -> None:
        """See `RedisConnection`."""
        if self._on_misplaced is not None and reason.startswith(_MISPLACED):
            self._on_misplaced(sent)
            return
        if sent is not self._write:
            self._counters.drop("refused", reason)
        if reason.startswith(_TRANSIENT_ERRORS):
            self.abort("refused")


class _Publisher(_Connection):
    """Publishes, and reports when its write buffer has drained."""

    def __init__(
        self,
        address: RedisAddress,
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
        on_writable: Callable[[], None],
        on_reply: Callable[[Any], None],
        on_misplaced: Callable[[SentCommand], None] | None,
    ) -> None:
        super().__init__(address, options, counters, on_misplaced)
        self.paused = False
        self._on_writable = on_writable
        self._on_reply = on_reply

    async def greet(self) -> None:
        """See `RedisConnection`: check that the server accepts commands."""
        await self.ping()

    def publish(self, commands: Sequence[WaitingCommand]) -> None:
        """Send commands without waiting for their replies."""
        if self.alive:
            if self._on_misplaced is None:
                sent = [SentCommand(reply=reply) for _, _, reply in commands]
            else:
                sent = [Publication(waiting=waiting) for waiting in commands]
            self.send([command for _, command, _ in commands], sent)

    def check_master(self, key: str) -> None:
        """Send a write that changes nothing: a replica refuses it, which ends the connection.

        A replica publishes as well, but to its own subscribers only. Without permission to write, this is not noticed.
        """
        if self.alive:
            self._write = SentCommand()
            self.send([pack_command(("DEL", key))], [self._write])

    def command_done(self, sent: SentCommand, reply: Any) -> None:
        """See `RedisConnection`."""
        waiting = sent.waiting[2] if isinstance(sent, Publication) else None
        if waiting is None:
            self._on_reply(reply)
        elif not waiting.done():
            waiting.set_result(reply)

    def command_refused(self, sent: SentCommand, reason: str) -> None:
        """See `RedisConnection`."""
        super().command_refused(sent, reason)
        waiting = sent.waiting[2] if isinstance(sent, Publication) else None
        if waiting is not None and not waiting.done() and not reason.startswith(_MISPLACED):
            waiting.set_exception(RedisUnavailable.of_reply(reason))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio. Whether the server has carried out what it has not answered is unknown."""
        unanswered = [sent.waiting[2] for sent in self._sent if isinstance(sent, Publication)]
        super().connection_lost(exc)
        for waiting in unanswered:
            if waiting is not None and not waiting.done():
                waiting.set_exception(RedisUnavailable("the connection to Redis was lost"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        super().connection_made(transport)
        cast("asyncio.Transport", transport).set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def pause_writing(self) -> None:
        """See asyncio."""
        self.paused = True

    def resume_writing(self) -> None:
        """See asyncio."""
        self.paused = False
        self._on_writable()


class _Subscriber(_Connection):
    """Subscribes to channels."""

    def __init__(
        self,
        address: RedisAddress,
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
        on_message: Callable[[list[bytes]], None],
        first: Subscriptions,
        on_misplaced: Callable[[SentCommand], None] | None,
        on_revoked: Callable[[str], None] | None,
    ) -> None:
        super().__init__(address, options, counters, on_misplaced)
        self._on_message = on_message
        self._first = first
        self._on_revoked = on_revoked

    async def greet(self) -> None:
        """See `RedisConnection`: return when every subscription is confirmed."""
        for verb, names in self._commands(self._first):
            await self.ask_subscription(verb, *names)

    def change(self, subscriptions: Subscriptions, prefix: str = "") -> None:
        """Subscribe, or with the prefix ``UN`` unsubscribe, without waiting for the confirmation."""
        if self.alive:
            commands, sent = [], []
            for verb, names in self._commands(subscriptions, prefix):
                encoded = [name.encode(errors="surrogatepass") for name in names]
                commands.append(pack_command((verb, *encoded)))
                sent.append(SentCommand(verb.lower().encode(), encoded))
            self.send(commands, sent)

    @property
    def settled(self) -> bool:
        """See `ConnectionPair`."""
        return not self._sent

    def _commands(self, subscriptions: Subscriptions, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
        for verb, names in subscriptions.items():
            # In a Redis Cluster the channels of one command must share a slot.
            groups = [names] if self._on_revoked is None else _by_slot(names)
            for batch in chain.from_iterable(map(channel_batches, groups)):
                yield verb.replace("SUBSCRIBE", f"{prefix}SUBSCRIBE"), batch

    def message_received(self, message: list[bytes]) -> None:
        """See `RedisConnection`."""
        self._on_message(message)

    def subscription_revoked(self, name: str) -> None:
        """See `RedisConnection`."""
        if self._on_revoked is None:
            super().subscription_revoked(name)
        else:
            self._on_revoked(name)


def _by_slot(names: Collection[str]) -> Collection[Collection[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[slot_of(name)].append(name)
    return groups.values()


class ConnectionPair:
    """A publishing and a subscribing connection to one server.

    Args:
        address: The server.
        options: Size limit of messages.
        counters: Counts connections and published or dropped messages, and holds the lag.
        first: What `open` subscribes to.
        on_message: Called with each message; see `RedisConnection.message_received`.
        on_writable: Called when the write buffer has drained.
        on_reply: Called with the reply to each command that was published without a future.
        slots: Follows the slots of a Redis Cluster; None: the server owns every channel and key.

    Attributes:
        proven_at: Loop time of the latest successful probe.
    """

    def __init__(
        self,
        address: RedisAddress,
        options: RedisAdapterOptions,
        counters: RedisAdapterCounters,
        first: Subscriptions,
        on_message: Callable[[list[bytes]], None],
        on_writable: Callable[[], None],
        on_reply: Callable[[Any], None],
        slots: SlotKeeper | None = None,
    ) -> None:
        self.address = address
        self.proven_at = 0.0
        self._counters = counters
        misplaced = revoked = None
        if slots is not None:
            misplaced, revoked = partial(slots.misplaced, self), partial(slots.revoked, self)
        self._publisher = _Publisher(address, options, counters, on_writable, on_reply, misplaced)
        self._subscriber = _Subscriber(address, options, counters, on_message, first, misplaced, revoked)
        self._echo: Echo | None = None

    @property
    def alive(self) -> bool:
        """Whether both connections are open."""
        return self._publisher.alive and self._subscriber.alive

    @property
    def settled(self) -> bool:
        """Whether every subscription is confirmed."""
        return self._subscriber.settled

    def owner(self, name: str) -> RedisAddress | None:
        """See `Link`."""
        del name
        return self.address

    async def open(self, redis: RedisOptions) -> None:
        """Open both connections; every subscription is confirmed when this returns.

        Raises:
            RedisUnavailable: see `RedisConnection.open`; both connections are closed.
        """
        try:
            await self._publisher.open(redis, _CLIENT_NAME)
            await self._subscriber.open(redis, _CLIENT_NAME)
        except BaseException:
            self.abort("closed")
            raise
        self.proven_at = asyncio.get_running_loop().time()
        self._counters.connects += 1

    def flush(self, queue: PublishQueue) -> None:
        """Publish the waiting messages until the write buffer is full."""
        now = asyncio.get_running_loop().time()
        while self.alive and not self._publisher.paused and (commands := queue.take(now)):
            self._publisher.publish(commands)
            self._counters.published += len(commands)

    def subscribe(self, subscriptions: Subscriptions) -> None:
        """Subscribe to more, without waiting for the confirmation."""
        self._subscriber.change(subscriptions)

    def unsubscribe(self, subscriptions: Subscriptions) -> None:
        """End subscriptions; those that do not exist have no effect."""
        self._subscriber.change(subscriptions, "UN")

    def watch(self, on_lost: Callable[[str], None]) -> None:
        """Call this with the cause when either connection has ended."""
        for connection in (self._publisher, self._subscriber):
            connection.lost.add_done_callback(lambda lost: on_lost(lost.result()))

    async def owns(self, key: str, timeout_s: float) -> bool:
        """Whether the server is the master that owns a key's slot; True if it does not say, or is not connected."""
        try:
            await wait_for(self._publisher.ask("DEL", key), timeout_s)
        except TimeoutError:
            self.abort("deaf")
        except RedisUnavailable as error:
            return error.code != "MOVED"
        return True

    async def drain(self, timeout_s: float) -> None:
        """Return when the server has answered every command that was sent so far, or a connection has ended.

        A server that does not answer within the timeout is disconnected with the cause ``deaf``.
        """
        try:
            await wait_for(asyncio.gather(self._publisher.ping(), self._subscriber.ping()), timeout_s)
        except TimeoutError:
            self.abort("deaf")
        except RedisUnavailable:
            pass

    async def wait_lost(self, timeout_s: float) -> str | None:
        """Return the cause if one of the connections ends within the timeout, else None."""
        ends = {self._publisher.lost, self._subscriber.lost}
        done, _ = await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        return next((end.result() for end in done if end.result() != "closed"), "closed") if done else None

    async def probe(self, verb: str, channel: str, timeout_s: float) -> None:
        """Publish a message and wait until it arrives; if that fails, both connections end with the cause ``deaf``.

        Args:
            verb: The command that publishes.
            channel: A channel that only this process subscribes to.
            timeout_s: Time limit of the probe.
        """
        loop = asyncio.get_running_loop()
        echo = self._echo = Echo()
        began = loop.time()
        self._publisher.check_master(channel)
        self._publisher.publish([(began, pack_command((verb, channel, echo.nonce)), None)])
        ends: set[asyncio.Future[None] | asyncio.Future[str]] = {
            echo.received,
            self._publisher.lost,
            self._subscriber.lost,
        }
        await wait_first(ends, timeout_s)
        if echo.received.done():
            self.proven_at = loop.time()
            self._counters.lag_s = self.proven_at - began
        else:
            self.abort("deaf")

    def receive_probe(self, data: bytes) -> None:
        """Handle a message on the channel of the probes."""
        if self._echo is not None:
            self._echo.receive(data)

    def abort(self, cause: str) -> None:
        """End both connections at once; later calls do not change the cause."""
        self._publisher.abort(cause)
        self._subscriber.abort(cause)

    async def close(self) -> None:
        """End both connections after the written messages have been sent."""
        self._subscriber.abort()
        self._publisher.close()
        await asyncio.wait({self._publisher.lost, self._subscriber.lost}, timeout=_CLOSE_TIMEOUT_S)
        self._publisher.abort()
