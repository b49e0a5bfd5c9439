"""Listens to one plain channel that other programs publish to: the guide's ``chat:events``.

At most once, as pub/sub is: what is published while the connection is down is lost, which is why nothing that is
promised comes this way. The connection is proven alive, made anew when it is deaf, and follows a master that moves.

Layer: eventlog.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from roomcast.chat.ports import LogUnavailable
from roomcast.eventlog.redis.engine import Engine
from roomcast.redis_client import BEATS, RedisAddress, RedisOptions

logger = logging.getLogger(__name__)

_MAX_DOUBLINGS: Final = 10


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
        #: Set while the server has confirmed the subscription.
        self.subscribed = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled, through every loss of the connection."""
        failures = 0
        engine = Engine(self._options)
        try:
            while True:
                try:
                    placement = await engine.locate()
                    await self._listen(min(placement.nodes))
                except (LogUnavailable, RedisError, OSError, TimeoutError) as error:
                    if self.subscribed.is_set() or not failures:
                        logger.warning("the channel %s is not heard: %s", self._channel, error)
                    failures = 0 if self.subscribed.is_set() else min(failures + 1, _MAX_DOUBLINGS)
                finally:
                    self.subscribed.clear()
                pause_s = min(self._options.retry_min_s * 2**failures, self._options.retry_max_s)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
        finally:
            await engine.close()

    async def _listen(self, address: RedisAddress) -> None:
        """Hear one server until its connection fails or falls silent."""
        options = self._options
        tls: dict[str, Any] = {}
        if options.tls is not None:
            tls = {
                "ssl": True,
                "ssl_ca_certs": options.tls.ca_file,
                "ssl_certfile": options.tls.cert_file,
                "ssl_keyfile": options.tls.key_file,
                "ssl_check_hostname": options.tls.check_hostname,
            }
        client = Redis(
            host=address.host,
            port=address.port,
            username=options.username,
            password=options.password,
            protocol=2,
            # An idle channel is not a broken one: liveness is proven by the ping below.
            socket_timeout=None,
            socket_connect_timeout=options.connect_timeout_s,
            **tls,
        )
        pubsub = client.pubsub()
        try:
            await pubsub.subscribe(self._channel)
            # Beats left in which the answer to a ping may come; None: none is due.
            beats: int | None = None
            while True:
                wait_s = options.probe_interval_s if beats is None else options.probe_timeout_s / BEATS
                message = await pubsub.get_message(timeout=wait_s)
                if message is None:
                    if beats is None:
                        await pubsub.ping()
                        beats = BEATS
                        continue
                    beats -= 1
                    if beats == 0:
                        raise TimeoutError(f"no sign of life within {options.probe_timeout_s} s")
                    continue
                beats = None
                if message["type"] == "subscribe":
                    self.subscribed.set()
                    logger.info("the channel %s is heard", self._channel)
                elif message["type"] == "message":
                    self._take(message["data"])
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
            await client.aclose()
