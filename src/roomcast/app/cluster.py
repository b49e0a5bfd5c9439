"""What a process shares with others through Redis: the log, Node's protocol, who is where, the guide's ingress.

Imported only where Redis is configured.

Layer: app.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address

from roomcast.app.addresses import LOOPBACK_HOST, address_towards, outgoing_address
from roomcast.chat.activity import AnnouncementLost
from roomcast.eventlog.redis import RedisEventLog
from roomcast.eventlog.redis.channel_listener import ChannelListener
from roomcast.presence.redis import RedisPresenceBoard
from roomcast.realtime.adapters.redis import Emitter, RedisAdapter
from roomcast.realtime.forwarding.redis_directory import RedisDirectory
from roomcast.redis_client import Commands, RedisAddress, RedisOptions, RedisTls, RedisUnavailable
from roomcast.settings import RedisSettings

logger = logging.getLogger(__name__)


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

    @asynccontextmanager
    async def neighbours(self) -> AsyncIterator[tuple[RedisDirectory, RedisPresenceBoard]]:
        """The gateways that share this Redis, and what they note of their users; at the end left. Run the first."""
        commands = Commands(self._options)
        directory = RedisDirectory(commands)
        try:
            yield directory, RedisPresenceBoard(commands, directory.node_id)
        finally:
            await directory.leave()
            await commands.close()

    @asynccontextmanager
    async def emitter(self) -> AsyncIterator[Emitter]:
        """The way to the clients of all servers, for a process that has none; at the end closed."""
        commands = Commands(self._options)
        try:
            yield Emitter(_Publisher(commands))
        finally:
            await commands.close()

    def own_host(self) -> str:
        """The address under which the others reach this machine, as far as it can be told: the one that faces Redis.

        A name that is not known yet, as while a platform starts its services, is no reason to hide on loopback: then it
        is the one that faces the outside.
        """
        for host, port in self._settings.addresses:
            address = address_towards(host, port)
            if address is None:
                continue
            if ip_address(address).is_loopback:
                logger.info(
                    "Redis is on this machine: only this machine reaches the internal address"
                    " (set ROOMCAST_INTERNAL_HOST if others are to)"
                )
            return address
        address = outgoing_address() or LOOPBACK_HOST
        logger.warning(
            "Redis's name is not known, so the address that faces it is not, either: the internal address is %s"
            " (set ROOMCAST_INTERNAL_HOST if others cannot reach that)",
            address,
        )
        return address

    def adapter(self) -> RedisAdapter:
        """The adapter that connects this server with Node's servers."""
        return RedisAdapter(self._options)

    def listen(self, channel: str, take: Callable[[bytes], None]) -> ChannelListener:
        """A listener to a channel that other programs publish to; call its `run`."""
        return ChannelListener(self._options, channel, take)


class _Publisher:
    """Publishes within the time limit of a command."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def publish(self, channel: str, message: bytes, /) -> None:
        """Publish.

        Raises:
            AnnouncementLost: Redis is out of reach.
        """
        try:
            await self._commands.publish(channel, message)
        except RedisUnavailable as error:
            raise AnnouncementLost(str(error)) from error
