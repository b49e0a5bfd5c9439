"""Listens to one plain channel that other programs publish to: the guide's ``chat:events``.

At most once, as pub/sub is: what is published while the connection is down is lost, which is why nothing that is
promised comes this way. Every step has its limit, since a frozen server still accepts connections; a connection is
proven alive, made anew when it is deaf, and left when its server is no master any more.

Layer: eventlog.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from roomcast.chat.ports import LogUnavailable
from roomcast.eventlog.redis.engine import Engine
from roomcast.eventlog.redis.link import Channel, Link
from roomcast.redis_client import RedisAddress, RedisOptions, within

logger = logging.getLogger(__name__)

_MAX_DOUBLINGS: Final = 10
#: What Redis itself lets a subscriber's buffer grow to before it cuts the connection, by default.
_MAX_MESSAGE_BYTES: Final = 33_554_432


class PublishedChannel:
    """Hands on what is published to one channel.

    Args:
        options: How Redis is reached.
        channel: Its name.
        take: Called with each message, in order; must not block or raise.
    """

    def __init__(self, options: RedisOptions, channel: str, take: Callable[[bytes], None]) -> None:
        self._options = options
        self._channel = channel
        self._take = take
        self._tls = None if options.tls is None else options.tls.context()
        # Done when the connection is gone, with its address and the cause.
        self._gone: asyncio.Future[str] | None = None
        #: Set while the server has confirmed the subscription.
        self.subscribed = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled, through every loss of the connection."""
        failures = 0
        engine = Engine(self._options)
        try:
            while True:
                try:
                    await self._listen(engine, await self._choose(engine))
                except LogUnavailable as error:
                    if self.subscribed.is_set() or not failures:
                        logger.warning("the channel %s is not heard: %s", self._channel, error)
                    failures = 0 if self.subscribed.is_set() else min(failures + 1, _MAX_DOUBLINGS)
                except Exception:
                    # A bug here must not end the gateway, which needs this least of all that it hears.
                    logger.exception("listening to the channel %s failed", self._channel)
                    failures = min(failures + 1, _MAX_DOUBLINGS)
                finally:
                    self.subscribed.clear()
                pause_s = min(self._options.retry_min_s * 2**failures, self._options.retry_max_s)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        finally:
            await engine.close()

    async def _choose(self, engine: Engine) -> RedisAddress:
        """A server to listen to: a cluster carries a plain channel to all of its nodes.

        Raises:
            LogUnavailable: there is none.
        """
        nodes = sorted((await engine.locate()).nodes)
        if not nodes:
            raise LogUnavailable("no node of the cluster has any slots")
        # Another one after a failure, and not the same for all gateways.
        return random.choice(nodes)  # noqa: S311 - no secret

    async def _listen(self, engine: Engine, address: RedisAddress) -> None:
        """Hear one server until its connection fails or falls silent, or it is no master any more.

        Raises:
            LogUnavailable: this is so; says why.
        """
        self._gone = asyncio.get_running_loop().create_future()
        link = Link(address, self, max_message_bytes=_MAX_MESSAGE_BYTES, one_slot=False)
        try:
            try:
                await within(self._subscribe(link), self._options.connect_timeout_s)
            except (OSError, TimeoutError) as error:
                raise LogUnavailable(f"Redis at {address}: {str(error) or 'no answer'}") from error
            self.subscribed.set()
            logger.info("the channel %s is heard", self._channel)
            await self._stay(engine, link, self._gone)
        finally:
            link.close()

    async def _subscribe(self, link: Link) -> None:
        host, port = link.address
        await asyncio.get_running_loop().create_connection(lambda: link, host, port, ssl=self._tls)
        await link.login(self._options, "roomcast-channel")
        await link.hear(self._channel)

    async def _stay(self, engine: Engine, link: Link, gone: asyncio.Future[str]) -> None:
        """Return never: see `_listen`."""
        loop = asyncio.get_running_loop()
        options = self._options
        located_at = loop.time()
        while True:
            await asyncio.wait({gone}, timeout=options.probe_interval_s)
            if gone.done():
                raise LogUnavailable(f"the connection was lost: {gone.result()}")
            try:
                await within(link.ping(), options.probe_timeout_s)
            except TimeoutError:
                raise LogUnavailable(f"no sign of life within {options.probe_timeout_s} s") from None
            if loop.time() - located_at >= options.topology_interval_s:
                located_at = loop.time()
                await self._check_master(engine, link.address)

    async def _check_master(self, engine: Engine, address: RedisAddress) -> None:
        """Leave a server that was replaced; it may well go on answering."""
        try:
            placement = await engine.locate()
        except LogUnavailable as error:
            logger.info("the masters of Redis cannot be asked for, the one in use answers: %s", error)
            return
        if address not in placement.nodes:
            raise LogUnavailable(f"Redis at {address} is no master any more")

    # --- LinkOwner

    def heard(self, channel: bytes, data: bytes) -> None:
        """See LinkOwner."""
        if channel == self._channel.encode():
            self._take(data)

    def confirmed(self, link: Link, channels: Sequence[Channel]) -> None:
        """See LinkOwner: nothing is asked for this way."""

    def refused(self, link: Link, channels: Sequence[Channel], reason: str) -> None:
        """See LinkOwner: likewise."""

    def revoked(self, link: Link, name: str) -> None:
        """See LinkOwner."""
        logger.info("Redis ended the subscription of %s", name)
        link.abort("revoked")

    def lost(self, link: Link, cause: str) -> None:
        """See LinkOwner."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(f"{link.address}: {cause}")
