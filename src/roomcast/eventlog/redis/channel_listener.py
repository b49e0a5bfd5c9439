"""Subscribes to one classic channel that other programs publish to: the guide's ``chat:events``.

Delivery is at most once, as always with Redis pub/sub: a message that is published while the connection is down is
lost. Every step has a time limit, since a frozen server still accepts connections. The listener replaces a connection
when the server does not answer a ping or is no longer a master.

Layer: eventlog. Source: docs/design.md, "The guide's ingress".
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final

from roomcast.backoff import Backoff
from roomcast.redis_client import (
    Commands,
    Outcome,
    RedisAddress,
    RedisConnection,
    RedisOptions,
    RedisUnavailable,
    wait_for,
)

logger = logging.getLogger(__name__)

# Redis's default output buffer limit for subscribers; above it, the server closes the connection.
_MAX_MESSAGE_BYTES: Final = 33_554_432


class _ChannelConnection(RedisConnection):
    """A connection with one subscription."""

    def __init__(self, address: RedisAddress, channel: str, take: Callable[[bytes], None]) -> None:
        super().__init__(address, max_message_bytes=_MAX_MESSAGE_BYTES)
        self._channel = channel
        self._take_message = take

    async def greet(self) -> None:
        """See `RedisConnection`."""
        await self.ask_subscription("SUBSCRIBE", self._channel)

    def message_received(self, message: list[bytes]) -> None:
        """See `RedisConnection`."""
        self._take_message(message[2])


class ChannelListener:
    """Delivers the messages of one channel.

    Args:
        options: How to connect to Redis.
        commands: Looks up the masters.
        channel: The channel's name.
        take: Called with each message, in order; must not block or raise.

    Attributes:
        subscribed: Set from the confirmation of the subscription until the connection is lost.
    """

    def __init__(self, options: RedisOptions, commands: Commands, channel: str, take: Callable[[bytes], None]) -> None:
        self._options = options
        self._commands = commands
        self._channel = channel
        self._take = take
        self._connection: _ChannelConnection | None = None
        self.subscribed = asyncio.Event()

    def reconnect(self) -> None:
        """Replace the connection: another subscription was lost, and this one may be connected to a former master."""
        if self._connection is not None:
            self._connection.abort("moved")

    async def run(self) -> None:
        """Listen until cancelled; reconnect after every loss of the connection."""
        backoff = Backoff(self._options.retry_min_s, self._options.retry_max_s)
        outcome = Outcome(f"channel {self._channel}", "connecting again, messages in between are lost")
        while True:
            try:
                await self._listen(await self._choose_server(), outcome)
            except RedisUnavailable as error:
                if self.subscribed.is_set():
                    backoff.reset()
                outcome.fail(error)
            except Exception:
                # A bug here must not end the gateway.
                logger.exception("channel listener failed", extra={"channel": self._channel})
            finally:
                self.subscribed.clear()
            await asyncio.sleep(backoff.next_s())

    async def _choose_server(self) -> RedisAddress:
        """Choose any master: a cluster forwards the messages of classic channels to all of its nodes.

        Raises:
            RedisUnavailable: the masters are unknown.
        """
        masters = sorted((await self._commands.topology()).masters)
        if not masters:
            raise RedisUnavailable("no node of the cluster owns any slots")
        # A random choice tries other masters after a failure, and distributes the gateways over the masters.
        return random.choice(masters)  # noqa: S311 - not a secret

    async def _listen(self, address: RedisAddress, outcome: Outcome) -> None:
        """Listen to one server until it fails, does not answer, or is no longer a master.

        Raises:
            RedisUnavailable: always, with the reason.
        """
        connection = self._connection = _ChannelConnection(address, self._channel, self._take)
        try:
            await connection.open(self._options, "roomcast-channel")
            self.subscribed.set()
            logger.info("subscribed to channel", extra={"channel": self._channel})
            outcome.succeed()
            await self._watch(connection)
        finally:
            connection.abort()

    async def _watch(self, connection: _ChannelConnection) -> None:
        loop = asyncio.get_running_loop()
        options, address = self._options, connection.address
        checked_at = loop.time()
        while True:
            await asyncio.wait({connection.lost}, timeout=options.probe_interval_s)
            if connection.lost.done():
                raise RedisUnavailable(f"the connection to {address} was lost: {connection.lost.result()}")
            try:
                await wait_for(connection.ping(), options.probe_timeout_s)
            except TimeoutError:
                raise RedisUnavailable(f"{address} did not answer a ping in {options.probe_timeout_s} s") from None
            if loop.time() - checked_at >= options.topology_interval_s:
                checked_at = loop.time()
                if not await self._commands.is_master(address):
                    raise RedisUnavailable(f"{address} is no longer a master")
