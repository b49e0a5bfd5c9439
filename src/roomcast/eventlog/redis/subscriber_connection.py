"""One subscriber connection of the log.

Channels that are subscribed or unsubscribed in one loop turn share commands. Channels are sharded if the server has
sharded pub/sub (Redis 7), otherwise classic; the log's scripts publish by the same rule.

Layer: eventlog. Source: Redis documentation, "Pub/Sub", "Sharded Pub/Sub".
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from roomcast.redis_client import (
    CHANNELS_PER_COMMAND,
    RedisAddress,
    RedisConnection,
    RedisUnavailable,
    SentCommand,
    channel_batches,
    pack_command,
)


@dataclass(slots=True, eq=False)
class Channel:
    """One wanted channel, from its first subscriber to its last.

    Attributes:
        name: The channel's name.
        connection: The connection on which the subscription was sent; None: it is not sent yet.
        confirmed: Whether the server has confirmed the subscription on this connection.
        waiters: Futures that complete when the subscription is confirmed.
    """

    name: str
    connection: SubscriberConnection | None = None
    confirmed: bool = False
    waiters: list[asyncio.Future[None]] = field(default_factory=list)


class SubscriptionHandler(Protocol):
    """Handles the messages and subscription replies of a connection. Its methods must not block or raise."""

    def handle_message(self, channel: bytes, data: bytes) -> None:
        """Handle a message."""

    def handle_confirmed(self, connection: SubscriberConnection, channels: Sequence[Channel]) -> None:
        """Handle confirmed subscriptions: messages that are published from now on will arrive."""

    def handle_refused(self, connection: SubscriberConnection, channels: Sequence[Channel], reason: str) -> None:
        """Handle refused subscriptions."""

    def handle_revoked(self, connection: SubscriberConnection, name: str) -> None:
        """Handle a subscription that the server has ended because its slot moved to another node."""


@dataclass(slots=True, eq=False)
class _SentChannels(SentCommand):
    """A subscribe or unsubscribe command and its `Channel` objects."""

    wanted: Sequence[Channel] = ()


class SubscriberConnection(RedisConnection):
    """A connection to one server, subscribed to any number of channels.

    Args:
        address: The server.
        handler: Handles messages and subscription replies.
        canary: The first channel to subscribe to; all channels are sharded if the server accepts this one as sharded.
        max_message_bytes: The connection is closed when an incomplete message exceeds this size.
        one_slot: Whether all channels of a command must share a slot, as a cluster requires for sharded channels.

    Attributes:
        sharded: Whether channels are sharded.
    """

    def __init__(
        self,
        address: RedisAddress,
        handler: SubscriptionHandler,
        canary: str,
        *,
        max_message_bytes: int,
        one_slot: bool,
    ) -> None:
        super().__init__(address, max_message_bytes=max_message_bytes)
        self.sharded = True
        self._handler = handler
        self._canary = canary
        self._one_slot = one_slot
        self._queued: list[tuple[bool, Channel]] = []

    async def greet(self) -> None:
        """See `RedisConnection`: subscribe to the canary."""
        try:
            await self.ask_subscription("SSUBSCRIBE", self._canary)
        except RedisUnavailable as error:
            if "unknown command" not in str(error):
                raise
            # The server is older than Redis 7.
            self.sharded = False
            await self.ask_subscription("SUBSCRIBE", self._canary)

    def subscribe(self, channel: Channel) -> None:
        """Subscribe at the end of this loop turn; the outcome goes to the handler."""
        self._queue(True, channel)

    def unsubscribe(self, channel: Channel) -> None:
        """Unsubscribe at the end of this loop turn."""
        self._queue(False, channel)

    async def ping(self) -> None:
        """See `RedisConnection`; queued subscriptions are sent first."""
        self._flush()
        await super().ping()

    def _queue(self, wanted: bool, channel: Channel) -> None:
        if not self._queued:
            asyncio.get_running_loop().call_soon(self._flush)
        self._queued.append((wanted, channel))

    def _flush(self) -> None:
        queued, self._queued = self._queued, []
        if not queued or not self.alive:
            return
        commands: list[bytes] = []
        sent: list[_SentChannels] = []
        size = 1 if self._one_slot and self.sharded else CHANNELS_PER_COMMAND
        for wanted, group in itertools.groupby(queued, key=lambda change: change[0]):
            verb = ("S" if self.sharded else "") + ("SUBSCRIBE" if wanted else "UNSUBSCRIBE")
            for channels in channel_batches((channel for _, channel in group), size):
                names = [channel.name.encode() for channel in channels]
                commands.append(pack_command((verb, *names)))
                sent.append(_SentChannels(verb.lower().encode(), names, wanted=channels))
        self.send(commands, sent)

    # --- hooks

    def message_received(self, message: list[bytes]) -> None:
        """See `RedisConnection`."""
        self._handler.handle_message(message[1], message[2])

    def command_done(self, sent: SentCommand, reply: Any) -> None:
        """See `RedisConnection`."""
        del reply
        if isinstance(sent, _SentChannels) and sent.subscribes:
            self._handler.handle_confirmed(self, sent.wanted)

    def command_refused(self, sent: SentCommand, reason: str) -> None:
        """See `RedisConnection`."""
        if isinstance(sent, _SentChannels):
            self._handler.handle_refused(self, sent.wanted, reason)

    def subscription_revoked(self, name: str) -> None:
        """See `RedisConnection`."""
        self._handler.handle_revoked(self, name)
