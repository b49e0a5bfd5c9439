"""What a process shares with others through Redis: the log, Node's adapter protocol, the guide's ingress.

Imported only where Redis is configured.

Layer: app.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from roomcast.eventlog.redis import RedisAddress, RedisEventLog, RedisOptions, RedisTls
from roomcast.eventlog.redis.published import PublishedChannel
from roomcast.gateway.ingress import CHANNEL, Ingress
from roomcast.gateway.ports import Rooms
from roomcast.realtime.adapters.redis import RedisAdapter, RedisAdapterOptions
from roomcast.settings import RedisSettings


class Cluster:
    """One process's way to the others.

    Args:
        settings: Where Redis is.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._options = RedisOptions(
            addresses=tuple(RedisAddress(host, port) for host, port in settings.addresses),
            sentinel_master=settings.sentinel_master,
            cluster=settings.cluster,
            username=settings.username,
            password=settings.password,
            db=settings.db,
            tls=RedisTls() if settings.tls else None,
        )

    @asynccontextmanager
    async def log(self) -> AsyncIterator[RedisEventLog]:
        """The log, connecting in the background; at the end closed."""
        async with RedisEventLog(self._options) as log:
            yield log

    def adapter(self) -> RedisAdapter:
        """The way to Node's servers, and theirs to ours."""
        settings = self._settings
        return RedisAdapter(
            RedisAdapterOptions(
                addresses=settings.addresses,
                sentinel_master=settings.sentinel_master,
                username=settings.username,
                password=settings.password,
                tls=ssl.create_default_context() if settings.tls else None,
            )
        )

    def ingress(self, rooms: Rooms) -> PublishedChannel:
        """The guide's ``chat:events``, emitted to these rooms."""
        return PublishedChannel(self._options, CHANNEL, Ingress(rooms).take)
