"""Commands to Redis, be it one server, a master behind Sentinel, or a cluster, through redis-py.

Every command has a time limit that includes waiting for a connection and its retries; whatever goes wrong is
`LogUnavailable`. A cancelled command takes its connection with it (redis-py closes it), so that its reply can never
reach another caller (CVE-2023-28858, CVE-2023-28859).

Layer: eventlog.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.crc import REDIS_CLUSTER_HASH_SLOTS
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from roomcast.chat.ports import LogUnavailable
from roomcast.eventlog.redis.options import RedisAddress, RedisOptions
from roomcast.eventlog.redis.scripts import Script

logger = logging.getLogger(__name__)

# RESP2: the newer protocol brings maintenance notices, not speed.
_PROTOCOL: Final = 2
# One more attempt at once: a pooled connection may have died while it was idle.
_RETRIES: Final = 1
# A dead socket has to be noticed before the command's own limit cuts in, or the cluster client would not learn of it.
_SOCKET_SHARE: Final = 0.45
_CLUSTER_RETRIES: Final = 3
_CLUSTER_BACKOFF_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Placement:
    """Which servers carry live feeds at this moment.

    Attributes:
        nodes: The masters.
        slots: Owner of each slot of a cluster; None: the only node carries everything.
    """

    nodes: frozenset[RedisAddress]
    slots: Sequence[RedisAddress | None] | None = None


class _Client(Protocol):
    """What single server, Sentinel and Cluster have in common."""

    async def execute_command(self, *args: Any, **options: Any) -> Any: ...
    async def aclose(self) -> None: ...


class Engine:
    """One bounded set of connections for commands.

    Args:
        options: How Redis is reached.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._slots = asyncio.Semaphore(options.max_connections)
        self._sentinel: Sentinel | None = None
        self._pool: ConnectionPool | None = None
        self._cluster: RedisCluster | None = None
        if options.cluster:
            self._cluster = self._open_cluster()
            self._client = cast("_Client", self._cluster)
        else:
            self._pool = self._open_pool()
            self._client = cast("_Client", Redis(connection_pool=self._pool))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()
        if self._pool is not None:
            await self._pool.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def command(self, *args: str | bytes | float) -> Any:
        """Run one command.

        Raises:
            LogUnavailable: it failed, or took more than ``command_timeout_s``.
        """
        return await self._limited(args)

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]) -> Any:
        """Run a script; its keys share a slot.

        Raises:
            LogUnavailable: it failed, or took more than ``command_timeout_s``.
        """
        rest = (len(keys), *keys, *args)
        try:
            return await self._limited(("EVALSHA", script.sha, *rest))
        except LogUnavailable as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        # A server that was restarted or flushed, or a new master: teach it.
        return await self._limited(("EVAL", script.source, *rest))

    async def locate(self) -> Placement:
        """Ask who the masters are now.

        Raises:
            LogUnavailable: nobody answered.
        """
        try:
            async with asyncio.timeout(self._options.command_timeout_s):
                if self._cluster is not None:
                    return await self._locate_in_cluster(self._cluster)
                if isinstance(self._pool, SentinelConnectionPool):
                    # Also turns the pool away from a master that was replaced.
                    host, port = await self._pool.get_master_address()  # type: ignore[no-untyped-call]
                    return Placement(frozenset({RedisAddress(host, int(port))}))
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            raise LogUnavailable(f"no Redis master is known: {_told(error)}") from error
        return Placement(frozenset(self._options.addresses))

    async def forget(self) -> None:
        """Drop idle connections: they may lead to a server that is no master any more."""
        if self._pool is not None:
            await self._pool.disconnect(inuse_connections=False)

    async def _limited(self, args: Sequence[str | bytes | float]) -> Any:
        try:
            async with asyncio.timeout(self._options.command_timeout_s), self._slots:
                return await self._client.execute_command(*args)
        except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
            raise LogUnavailable(f"Redis: {_told(error)}") from error

    async def _locate_in_cluster(self, cluster: RedisCluster) -> Placement:
        await cluster.initialize()
        await cluster.nodes_manager.initialize()
        addresses: dict[str, RedisAddress] = {}
        slots: list[RedisAddress | None] = []
        for number in range(REDIS_CLUSTER_HASH_SLOTS):
            owners = cluster.nodes_manager.slots_cache.get(number)
            if not owners:
                slots.append(None)
                continue
            owner = owners[0]
            address = addresses.get(owner.name)
            if address is None:
                address = addresses[owner.name] = RedisAddress(owner.host, int(owner.port))
            slots.append(address)
        return Placement(frozenset(addresses.values()), slots)

    # --- opening

    def _connection_options(self) -> dict[str, Any]:
        options = self._options
        return {
            "username": options.username,
            "password": options.password,
            "client_name": "roomcast",
            "driver_info": None,
            "protocol": _PROTOCOL,
            "socket_timeout": options.command_timeout_s * _SOCKET_SHARE,
            "socket_connect_timeout": min(options.connect_timeout_s, options.command_timeout_s * _SOCKET_SHARE),
        }

    def _tls_options(self) -> dict[str, Any]:
        tls = self._options.tls
        if tls is None:
            return {}
        return {
            "ssl_ca_certs": tls.ca_file,
            "ssl_certfile": tls.cert_file,
            "ssl_keyfile": tls.key_file,
            "ssl_check_hostname": tls.check_hostname,
        }

    def _open_pool(self) -> ConnectionPool:
        options = self._options
        common = {
            **self._connection_options(),
            **self._tls_options(),
            "db": options.db,
            "retry": Retry(NoBackoff(), _RETRIES),
            "max_connections": options.max_connections,
        }
        if options.sentinel_master is None:
            host, port = options.addresses[0]
            connection_class = Connection if options.tls is None else SSLConnection
            return ConnectionPool(connection_class=connection_class, host=host, port=port, **common)
        tls = {} if options.tls is None else {"ssl": True, **self._tls_options()}
        self._sentinel = Sentinel(  # type: ignore[no-untyped-call]
            list(options.addresses),
            sentinel_kwargs={
                **self._connection_options(),
                **tls,
                "username": options.sentinel_username,
                "password": options.sentinel_password,
                "retry": Retry(NoBackoff(), _RETRIES),
                # Several are asked one after the other within one limit.
                "socket_timeout": options.command_timeout_s * _SOCKET_SHARE / len(options.addresses),
                "socket_connect_timeout": options.command_timeout_s * _SOCKET_SHARE / len(options.addresses),
            },
        )
        return SentinelConnectionPool(  # type: ignore[no-untyped-call]
            options.sentinel_master, self._sentinel, ssl=options.tls is not None, **common
        )

    def _open_cluster(self) -> RedisCluster:
        options = self._options
        return RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in options.addresses],
            max_connections=options.max_connections,
            retry=Retry(ExponentialWithJitterBackoff(base=_CLUSTER_BACKOFF_S), _CLUSTER_RETRIES),
            ssl=options.tls is not None,
            **self._tls_options(),
            **self._connection_options(),
        )


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__
