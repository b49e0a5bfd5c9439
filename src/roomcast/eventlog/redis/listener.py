"""Keeps every wanted channel subscribed on the master that owns it, through restarts, failovers and slot moves.

One task connects to the masters and assigns channels to the connections; another task probes each connection. A probe
has two steps: PING shows that the server answers; a canary, which is a message that this process publishes through
`Commands` and must receive, shows that commands and subscriptions reach the same master. A connection that fails one of
the steps is replaced.

Layer: eventlog. Source: docs/design.md, "The log".
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from roomcast.backoff import Backoff, jittered
from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.keys import canary_channel
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.eventlog.redis.scripts import CANARY
from roomcast.eventlog.redis.subscriber_connection import Channel, SubscriberConnection
from roomcast.redis_client import (
    Commands,
    Echo,
    Outcome,
    RedisAddress,
    RedisOptions,
    RedisUnavailable,
    Topology,
    wait_for,
)

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Subscriber:
    """The subscriptions to one master.

    Attributes:
        connection: The connection to the master.
        canary: Channel of its canaries.
        proven_at: Loop time of the latest successful probe.
        echo: The latest canary; None before the first probe.
    """

    connection: SubscriberConnection
    canary: str
    proven_at: float
    echo: Echo | None = None


class Listener:
    """All subscriptions of one process.

    Args:
        commands: Publishes canaries and looks up the masters.
        options: How to connect to Redis.
        log_options: Prefix of the canary channels, and size limit of messages.
        counters: Counts connections and losses, and holds the lag.
        deliver: Called with ``(channel, data)`` for each message, in order; must not block or raise.
        on_reconnect: Called when every channel is subscribed again after a connection was lost or the masters changed;
            messages that were published in between were missed.

    Attributes:
        live_feed: Whether every master is connected and canaries arrive.
    """

    def __init__(
        self,
        commands: Commands,
        options: RedisOptions,
        log_options: RedisLogOptions,
        counters: RedisLogCounters,
        *,
        deliver: Callable[[bytes, bytes], None],
        on_reconnect: Callable[[], None],
    ) -> None:
        self._commands = commands
        self.live_feed = Outcome("live feed", "connecting again, events that are missed are read from the log")
        self._subscriptions = Outcome("subscription", "its chats receive nothing")
        self._options = options
        self._log_options = log_options
        self._counters = counters
        self._deliver = deliver
        self._on_reconnect = on_reconnect
        self._channels: dict[str, Channel] = {}
        self._refused: set[str] = set()
        self._subscribers: dict[RedisAddress, _Subscriber] = {}
        self._canaries: dict[bytes, _Subscriber] = {}
        self._topology: Topology | None = None
        self._topology_due_at = 0.0
        # Whether the next complete set of subscriptions counts as a reconnect; the first set does not.
        self._reconnecting = False
        self._incomplete = False
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._tag = secrets.token_hex(8)

    # --- life

    def start(self) -> None:
        """Begin to connect, in the background."""
        self._tasks = [
            asyncio.create_task(self._connect_forever(), name="redis-listener"),
            asyncio.create_task(self._probe_forever(), name="redis-canary"),
        ]

    async def stop(self) -> None:
        """Close every connection; pending `subscribe` calls fail."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for address in list(self._subscribers):
            self._remove(address).connection.abort()
        for name in list(self._channels):
            self.unsubscribe(name)

    @property
    def healthy(self) -> bool:
        """Whether the connection to every master passed a probe recently, and no channel is refused."""
        if self._topology is None or self._refused:
            return False
        oldest_allowed = asyncio.get_running_loop().time() - (
            self._options.probe_interval_s + self._options.probe_timeout_s
        )
        return all(
            (subscriber := self._subscribers.get(address)) is not None
            and subscriber.connection.alive
            and subscriber.proven_at >= oldest_allowed
            for address in self._topology.masters
        )

    @property
    def canaries(self) -> list[str]:
        """A canary channel for each known master, connected or not, which owns the channel's slot."""
        return [] if self._topology is None else list(map(self._canary_for, self._topology.masters))

    # --- channels

    async def subscribe(self, name: str) -> None:
        """Return once the channel is confirmed. It stays subscribed through reconnects until `unsubscribe`.

        Raises:
            RedisUnavailable: the channel was not confirmed within ``command_timeout_s``, or was unsubscribed meanwhile.
        """
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = Channel(name)
            self._assign(channel)
        if channel.confirmed:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        channel.waiters.append(waiter)
        try:
            async with asyncio.timeout(self._options.command_timeout_s):
                await waiter
        except TimeoutError:
            raise RedisUnavailable("Redis did not confirm a subscription in time") from None
        finally:
            if waiter in channel.waiters:
                channel.waiters.remove(waiter)

    def unsubscribe(self, name: str) -> None:
        """Unsubscribe from a channel; pending `subscribe` calls for it fail."""
        channel = self._channels.pop(name)
        self._refused.discard(name)
        if channel.connection is not None and channel.connection.alive:
            channel.connection.unsubscribe(channel)
        channel.connection = None
        for waiter in channel.waiters:
            if not waiter.done():
                waiter.set_exception(RedisUnavailable("the subscription was cancelled"))

    def _assign(self, channel: Channel) -> None:
        """Subscribe to a channel on its owner if the owner is connected; otherwise `_connect` subscribes later."""
        address = self._owner(channel.name)
        subscriber = None if address is None else self._subscribers.get(address)
        if channel.connection is not None:
            if subscriber is not None and channel.connection is subscriber.connection:
                return
            if channel.connection.alive:
                channel.connection.unsubscribe(channel)
        channel.connection = None
        channel.confirmed = False
        if subscriber is not None and subscriber.connection.alive:
            channel.connection = subscriber.connection
            subscriber.connection.subscribe(channel)

    def _owner(self, name: str) -> RedisAddress | None:
        return None if self._topology is None else self._topology.owner(name)

    # --- connections

    async def _connect_forever(self) -> None:
        backoff = Backoff(self._options.retry_min_s, self._options.retry_max_s)
        while True:
            self._changed.clear()
            try:
                await self._connect()
                if not await self._wait_for_change():
                    backoff.reset()
                    continue
            except RedisUnavailable as error:
                self.live_feed.fail(error)
            except Exception:
                # A bug here must not leave the process without subscriptions.
                logger.exception("connecting subscribers failed")
            # Pause after a change, too: a connection that is lost repeatedly must not be reopened in a tight loop.
            await asyncio.sleep(backoff.next_s())

    async def _wait_for_change(self) -> bool:
        try:
            async with asyncio.timeout(self._options.probe_interval_s):
                return await self._changed.wait()
        except TimeoutError:
            return False

    async def _connect(self) -> None:
        """Connect to every master and assign every channel.

        Raises:
            RedisUnavailable: a master is unreachable; the connections to the others are in use.
        """
        moved = await self._update_topology()
        assert self._topology is not None  # noqa: S101 - _update_topology sets it or raises
        for address in self._subscribers.keys() - self._topology.masters:
            self._remove(address).connection.abort()
        missing = self._topology.masters - self._subscribers.keys()
        opened = await asyncio.gather(*map(self._open, missing), return_exceptions=True)
        failures = [outcome for outcome in opened if outcome is not None]
        for channel in self._channels.values():
            self._assign(channel)
        self._incomplete = self._incomplete or moved or len(failures) < len(opened)
        if self._incomplete:
            await asyncio.gather(*map(self._await_confirmations, list(self._subscribers.values())))
            self._incomplete = False
            if self._reconnecting:
                self._notify_reconnect()
            self._reconnecting = True
        if failures:
            # The masters may have changed.
            self._topology_due_at = 0.0
            raise failures[0]

    async def _await_confirmations(self, subscriber: _Subscriber) -> None:
        """Return when the server has answered every subscription that was sent so far."""
        connection = subscriber.connection
        try:
            await wait_for(connection.ping(), self._options.probe_timeout_s)
        except TimeoutError:
            connection.abort("deaf")
            raise RedisUnavailable(f"Redis at {connection.address} did not confirm subscriptions in time") from None

    def _notify_reconnect(self) -> None:
        try:
            self._on_reconnect()
        except Exception:
            logger.exception("reconnect callback failed")

    async def _update_topology(self) -> bool:
        """Look up the masters if a look-up is due; return whether they changed."""
        now = asyncio.get_running_loop().time()
        known = self._topology
        if known is not None and now < self._topology_due_at:
            return False
        try:
            self._topology = await self._commands.topology()
        except RedisUnavailable:
            if known is None or self._topology_due_at == 0.0:
                raise
            # Keep the known masters: the sentinels may be down while the master is up.
        self._topology_due_at = now + self._options.topology_interval_s
        return known is not None and known != self._topology

    async def _open(self, address: RedisAddress) -> None:
        canary = self._canary_for(address)
        connection = SubscriberConnection(
            address,
            self,
            canary,
            max_message_bytes=self._log_options.max_message_bytes,
            one_slot=self._options.cluster,
        )
        await connection.open(self._options, "roomcast-feed")
        self._counters.connects += 1
        if not connection.alive:
            raise RedisUnavailable(f"Redis at {address} closed a subscriber connection immediately")
        subscriber = _Subscriber(connection, canary, proven_at=asyncio.get_running_loop().time())
        self._subscribers[address] = subscriber
        self._canaries[canary.encode()] = subscriber
        connection.lost.add_done_callback(lambda lost: self._handle_loss(subscriber, lost.result()))

    def _canary_for(self, address: RedisAddress) -> str:
        """Return a canary channel of this process that ``address`` owns."""
        for number in itertools.count():
            name = canary_channel(self._log_options.prefix, f"{self._tag}-{number}")
            if self._owner(name) in (address, None):
                return name
        raise AssertionError("unreachable")

    def _remove(self, address: RedisAddress) -> _Subscriber:
        subscriber = self._subscribers.pop(address)
        del self._canaries[subscriber.canary.encode()]
        for channel in self._channels.values():
            if channel.connection is subscriber.connection:
                channel.connection = None
                channel.confirmed = False
        return subscriber

    def _handle_loss(self, subscriber: _Subscriber, cause: str) -> None:
        address = subscriber.connection.address
        if self._subscribers.get(address) is not subscriber:
            return  # removed on purpose
        if cause != "deaf":  # `_probe` has recorded that
            self.live_feed.fail(RedisUnavailable(f"the connection to {address} was lost: {cause}"))
        self._counters.losses[cause] += 1
        # Even before the first complete set of subscriptions, a confirmed channel may have missed messages.
        self._reconnecting = True
        self._remove(address)
        self._reconnect()

    def _reconnect(self) -> None:
        """Make `_connect_forever` look up the masters and connect now."""
        self._topology_due_at = 0.0
        self._changed.set()

    # --- probes

    async def _probe_forever(self) -> None:
        while True:
            await asyncio.sleep(jittered(self._options.probe_interval_s))
            try:
                await asyncio.gather(*map(self._probe, list(self._subscribers.values())))
            except Exception:
                logger.exception("probing subscribers failed")

    async def _probe(self, subscriber: _Subscriber) -> None:
        loop = asyncio.get_running_loop()
        echo = subscriber.echo = Echo()
        began = loop.time()
        try:
            await wait_for(subscriber.connection.ping(), self._options.probe_timeout_s)
            subscriber.proven_at = published = loop.time()
            try:
                # The canary may wait for other commands of this process. `Commands` limits that wait, which says
                # nothing about the subscriptions.
                await self._commands.run(CANARY, [subscriber.canary], [echo.nonce])
            except RedisUnavailable as error:
                # This says nothing about the subscriptions, and this connection has answered the PING.
                self.live_feed.fail(error)
                return
            await wait_for(echo.received, self._options.probe_timeout_s)
            subscriber.proven_at = loop.time()
            self._counters.lag_s = subscriber.proven_at - published
            self.live_feed.succeed()
        except RedisUnavailable:
            return  # the connection was lost: `_handle_loss` replaces it
        except TimeoutError:
            address, waited_s = subscriber.connection.address, round(loop.time() - began, 3)
            self.live_feed.fail(RedisUnavailable(f"the canary was not received in {waited_s} s ({address})", "DEAF"))
            self._topology_due_at = 0.0
            subscriber.connection.abort("deaf")
            await self._commands.replace_connections()

    # --- SubscriptionHandler

    def handle_message(self, channel: bytes, data: bytes) -> None:
        """See `SubscriptionHandler`."""
        subscriber = self._canaries.get(channel)
        if subscriber is None:
            self._deliver(channel, data)
        elif subscriber.echo is not None:
            subscriber.echo.receive(data)

    def handle_confirmed(self, connection: SubscriberConnection, channels: Sequence[Channel]) -> None:
        """See `SubscriptionHandler`."""
        for channel in channels:
            if channel.connection is connection:
                channel.confirmed = True
                self._refused.discard(channel.name)
                for waiter in channel.waiters:
                    if not waiter.done():
                        waiter.set_result(None)
        if not self._refused:
            self._subscriptions.succeed()

    def handle_refused(self, connection: SubscriberConnection, channels: Sequence[Channel], reason: str) -> None:
        """See `SubscriptionHandler`."""
        self._subscriptions.fail(RedisUnavailable.of_reply(reason))
        for channel in channels:
            if channel.connection is connection:
                channel.connection = None
                self._refused.add(channel.name)
        self._reconnect()

    def handle_revoked(self, connection: SubscriberConnection, name: str) -> None:
        """See `SubscriptionHandler`."""
        channel = self._channels.get(name)
        if channel is not None and channel.connection is connection:
            channel.connection = None
            channel.confirmed = False
            self._incomplete = True
            self._reconnect()
        elif name.encode() in self._canaries:
            # The canary's slot moved: a new connection gets another canary channel.
            connection.abort()
