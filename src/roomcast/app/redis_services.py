"""The services that processes share through Redis. This module is imported only if Redis is configured.

Layer: app.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Self

from roomcast.chat.delivery.activity import AnnouncementLost
from roomcast.chat.policies.rates import LimitName, Rate
from roomcast.eventlog.redis import RedisEventLog, RedisTurnStreams
from roomcast.eventlog.redis.channel_listener import ChannelListener
from roomcast.histogram import Histogram
from roomcast.limits.redis import RedisRateLimiter
from roomcast.presence.redis import RedisPresenceBoard
from roomcast.realtime.adapters.redis import Emitter, RedisAdapter
from roomcast.realtime.forwarding.redis_directory import RedisDirectory
from roomcast.redis_client import Commands, RedisOptions, RedisUnavailable

#: What `Commands` are used for: scripts, and publishing on classic channels.
_USES: Final = (
    *(f"eventlog-{name}" for name in ("append", "seed", "head", "read", "discard", "signal", "canary", "check")),
    *(f"eventlog-{name}" for name in ("append-frame", "seed-stream", "read-stream", "expire-stream")),
    *(f"presence-{name}" for name in ("add", "remove", "read")),
    *("realtime-directory", "limits-spend", "publish"),
)


class RedisServices:
    """Builds the services of one process that use Redis. Use it as an async context manager.

    The services share their connections for commands: a service that only publishes cannot detect that its connections
    lead to a former master, and another service has them replaced.

    Args:
        options: Addresses of Redis, credentials, limits.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._commands = Commands(options)
        #: Durations of the commands by use.
        self.durations: Mapping[str, Histogram] = self._commands.durations
        for use in _USES:
            self._commands.durations[use] = Histogram()

    async def __aenter__(self) -> Self:
        """Connect with the first command."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._commands.close()

    @asynccontextmanager
    async def event_log(self) -> AsyncIterator[RedisEventLog]:
        """The event log. It connects in the background."""
        async with RedisEventLog(self._options, commands=self._commands) as log:
            yield log

    def rate_limiter(self, rates: Mapping[LimitName, Rate]) -> RedisRateLimiter:
        """The rate limits. The caller starts ``run``."""
        return RedisRateLimiter(rates, self._commands)

    def turn_streams(self) -> RedisTurnStreams:
        """The streams of turns, published on the channels of the event log."""
        return RedisTurnStreams(self._commands)

    @asynccontextmanager
    async def node_services(self) -> AsyncIterator[tuple[RedisDirectory, RedisPresenceBoard]]:
        """The directory of nodes, and the presence board of this node.

        The caller starts ``run`` of the directory. On exit this node leaves the directory.
        """
        directory = RedisDirectory(self._commands)
        try:
            yield directory, RedisPresenceBoard(self._commands, directory.node_id)
        finally:
            await directory.leave()

    def directory(self) -> RedisDirectory:
        """The directory of nodes, for a process that is none."""
        return RedisDirectory(self._commands)

    def emitter(self) -> Emitter:
        """An emitter to the clients of all gateways, for a process without clients."""
        return Emitter(_Publisher(self._commands))

    def adapter(self) -> RedisAdapter:
        """The Socket.IO adapter that is shared with Node servers."""
        return RedisAdapter(self._options)

    def channel_listener(self, channel: str, callback: Callable[[bytes], None]) -> ChannelListener:
        """A listener for a channel to which other programs publish. The caller starts its ``run``."""
        return ChannelListener(self._options, self._commands, channel, callback)


class _Publisher:
    """Publishes within the time limit of a Redis command."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    async def publish(self, channel: str, message: bytes, /) -> None:
        """Publish a message.

        Raises:
            AnnouncementLost: Redis is unreachable.
        """
        try:
            await self._commands.publish(channel, message)
        except RedisUnavailable as error:
            raise AnnouncementLost(str(error)) from error
