"""Two connections to one Redis server: one publishes, the other one subscribes.

They are opened and closed together, so that this process publishes on the server that it subscribes to: if they were
replaced separately, one of them could stay connected to the former master after a failover.

Layer: realtime. Source: Redis documentation, "Pub/Sub".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias, cast

from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.publish_queue import PublishQueue, WaitingCommand
from roomcast.redis_client import (
    Echo,
    RedisAddress,
    RedisConnection,
    RedisOptions,
    SentCommand,
    channel_batches,
    pack_command,
    wait_first,
)

_CLIENT_NAME: Final = "roomcast-adapter"
_CLOSE_TIMEOUT_S: Final = 1.0
# Above this size, messages wait in the `PublishQueue`, which limits their size and counts the messages that it drops.
_WRITE_BUFFER_BYTES: Final = 262_144
# Allowance for the parts of a message other than its data: array headers, kind, pattern and channel.
_FRAMING_BYTES: Final = 65_536
# Errors that may not recur on a new connection: this server is not, or not yet, a usable master.
_TRANSIENT_ERRORS: Final = ("READONLY", "LOADING", "NOAUTH", "MASTERDOWN", "UNBLOCKED")


#: The commands that subscribe, each with its channels or patterns.
Subscriptions: TypeAlias = Mapping[str, Collection[str]]


class Channels(Protocol):
    """The channels of one namespace."""

    def subscriptions(self) -> Subscriptions:
        """The subscriptions that are wanted now."""


class _Connection(RedisConnection):
    """Counts refused commands."""

    def __init__(self, address: RedisAddress, options: RedisAdapterOptions, counters: RedisAdapterCounters) -> None:
        super().__init__(address, max_message_bytes=options.max_message_bytes + _FRAMING_BYTES)
        self._counters = counters
        self._write: SentCommand | None = None

    def command_refused(self, sent: SentCommand, reason: str) -> None:
        """See `RedisConnection`."""
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
    ) -> None:
        super().__init__(address, options, counters)
        self.paused = False
        self._on_writable = on_writable
        self._on_reply = on_reply

    async def greet(self) -> None:
        """See `RedisConnection`: check that the server accepts commands."""
        await self.ping()

    def publish(self, commands: Sequence[WaitingCommand]) -> None:
        """Send commands without waiting for their replies."""
        if self.alive:
            self.send([command for command, _ in commands], [SentCommand(reply=reply) for _, reply in commands])

    def check_master(self, key: str) -> None:
        """Send a write that changes nothing: a replica refuses it, which ends the connection.

        A replica publishes as well, but to its own subscribers only. Without permission to write, this is not noticed.
        """
        if self.alive:
            self._write = SentCommand()
            self.send([pack_command(("DEL", key))], [self._write])

    def command_done(self, sent: SentCommand, reply: Any) -> None:
        """See `RedisConnection`."""
        del sent
        self._on_reply(reply)

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
    ) -> None:
        super().__init__(address, options, counters)
        self._on_message = on_message
        self._first = first

    async def greet(self) -> None:
        """See `RedisConnection`: return when every subscription is confirmed."""
        for verb, names in _commands(self._first):
            await self.ask_subscription(verb, *names)

    def change(self, subscriptions: Subscriptions, prefix: str = "") -> None:
        """Subscribe, or with the prefix ``UN`` unsubscribe, without waiting for the confirmation."""
        if self.alive:
            for verb, names in _commands(subscriptions, prefix):
                encoded = [name.encode(errors="surrogatepass") for name in names]
                self.send([pack_command((verb, *encoded))], [SentCommand(verb.lower().encode(), encoded)])

    @property
    def settled(self) -> bool:
        """See `ConnectionPair`."""
        return not self._sent

    def message_received(self, message: list[bytes]) -> None:
        """See `RedisConnection`."""
        self._on_message(message)


def _commands(subscriptions: Subscriptions, prefix: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    for verb, names in subscriptions.items():
        for batch in channel_batches(names):
            yield verb.replace("SUBSCRIBE", f"{prefix}SUBSCRIBE"), batch


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
    ) -> None:
        self.address = address
        self.proven_at = 0.0
        self._counters = counters
        self._publisher = _Publisher(address, options, counters, on_writable, on_reply)
        self._subscriber = _Subscriber(address, options, counters, on_message, first)
        self._echo: Echo | None = None

    @property
    def alive(self) -> bool:
        """Whether both connections are open."""
        return self._publisher.alive and self._subscriber.alive

    @property
    def settled(self) -> bool:
        """Whether every subscription is confirmed."""
        return self._subscriber.settled

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
        self._publisher.publish([(pack_command((verb, channel, echo.nonce)), None)])
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
