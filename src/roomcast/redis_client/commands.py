"""Commands to Redis, be it one server, a master behind Sentinel, or a cluster, through redis-py.

Every command has a time limit that includes waiting for a connection and its retries; whatever goes wrong is
`RedisUnavailable`. A cancelled command takes its connection with it (redis-py closes it), so that its reply can never
reach another caller (CVE-2023-28858, CVE-2023-28859).

Layer: redis_client.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, Protocol, TypeVar, cast

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.crc import key_slot
from redis.exceptions import NoScriptError, RedisClusterException, RedisError

from roomcast.redis_client.errors import RedisUnavailable
from roomcast.redis_client.options import RedisAddress, RedisOptions
from roomcast.redis_client.scripts import Script

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

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
        ranges: Of a cluster: ``(first slot, last slot, owner)``, ascending. None: the only node carries everything.
    """

    nodes: frozenset[RedisAddress]
    ranges: tuple[tuple[int, int, RedisAddress], ...] | None = None

    def owner(self, name: str) -> RedisAddress | None:
        """Who carries a key or channel; None if nobody does."""
        if self.ranges is None:
            return next(iter(self.nodes))
        slot = key_slot(name.encode())
        index = bisect_right(self.ranges, slot, key=itemgetter(0)) - 1
        if index < 0 or self.ranges[index][1] < slot:
            return None
        return self.ranges[index][2]


class _Client(Protocol):
    """What single server, Sentinel and Cluster have in common."""

    async def execute_command(self, *args: Any, **options: Any) -> Any: ...
    async def aclose(self) -> None: ...


class _Sentinel(Sentinel):
    """Asks for the master once at a time.

    redis-py 8.1 moves the sentinel that answered to the front of its list without a lock: of two concurrent questions
    one may put a sentinel there twice and another out of the list, never asked again and never closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        self._asking = asyncio.Lock()

    async def discover_master(self, service_name: str) -> Any:
        async with self._asking:
            return await super().discover_master(service_name)


class Commands:
    """One bounded set of connections for commands.

    Args:
        options: How Redis is reached.
    """

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._abandoned: set[asyncio.Task[Any]] = set()
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
        for task in self._abandoned:
            task.cancel()
        await asyncio.gather(*self._abandoned, return_exceptions=True)
        await self._client.aclose()
        if self._pool is not None:
            await self._pool.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]) -> Any:
        """Run a script; its keys share a slot.

        Raises:
            RedisUnavailable: it failed, or took more than ``command_timeout_s``.
        """
        rest = (len(keys), *keys, *args)
        try:
            return await self._within_limit(self._execute(("EVALSHA", script.sha, *rest)))
        except RedisUnavailable as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        # A server that was restarted or flushed, or a new master: teach it.
        return await self._within_limit(self._execute(("EVAL", script.source, *rest)))

    async def publish(self, channel: str, message: bytes, /) -> int:
        """Publish; a cluster carries it to all of its nodes.

        Returns:
            How many the server, or the node that was asked, handed it to.

        Raises:
            RedisUnavailable: it failed, or took more than ``command_timeout_s``.
        """
        return int(await self._within_limit(self._execute(("PUBLISH", channel, message))))

    async def locate(self) -> Placement:
        """Ask who the masters are now.

        Raises:
            RedisUnavailable: nobody answered.
        """
        return await self._within_limit(self._locate())

    async def forget(self) -> None:
        """Drop idle connections: they may lead to a server that is no master any more."""
        if self._pool is not None:
            await self._pool.disconnect(inuse_connections=False)

    async def _within_limit(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run ``work`` for at most ``command_timeout_s``, whatever redis-py does with a cancellation.

        It has a task of its own, because on Python 3.11 `asyncio.wait_for`, which redis-py writes through, can swallow
        a cancellation that comes with the result: the caller would go on waiting, or miss that it was cancelled.
        """
        task = asyncio.create_task(work)
        try:
            done, _ = await asyncio.wait({task}, timeout=self._options.command_timeout_s)
        except asyncio.CancelledError:
            self._abandon(task)
            raise
        if not done:
            self._abandon(task)
            raise RedisUnavailable(f"Redis did not answer within {self._options.command_timeout_s} s")
        if task.cancelled():
            raise RedisUnavailable("the connection to Redis was closed")
        try:
            return task.result()
        except (RedisError, RedisClusterException, OSError) as error:
            raise RedisUnavailable(f"Redis: {str(error) or type(error).__name__}") from error

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancel, and hold on to it until it has ended and its connection is clean or closed."""
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned_ended)

    def _abandoned_ended(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("an abandoned command failed: %r", error)

    async def _execute(self, args: Sequence[str | bytes | float]) -> Any:
        broken: Exception | None = None
        async with self._slots:
            for _ in range(self._options.max_connections):
                try:
                    return await self._client.execute_command(*args)
                except (RuntimeError, AttributeError) as error:
                    # What redis-py's cluster client says of a connection that is gone: uvloop raises RuntimeError when
                    # the server closed it while it was idle; and when a node fails, one command disconnects what
                    # another is about to write to. That connection is out of the way now; another may be stale too.
                    broken = error
        raise ConnectionError(str(broken)) from broken

    async def _locate(self) -> Placement:
        if self._cluster is not None:
            return await self._locate_in_cluster(self._cluster)
        if isinstance(self._pool, SentinelConnectionPool):
            # Also turns the pool away from a master that was replaced.
            host, port = await self._pool.get_master_address()  # type: ignore[no-untyped-call]  # likewise
            return Placement(frozenset({RedisAddress(host, int(port))}))
        return Placement(frozenset(self._options.addresses))

    async def _locate_in_cluster(self, cluster: RedisCluster) -> Placement:
        # Not the client's own map: bringing that up to date holds the loop for milliseconds.
        answer: Any = await cluster.cluster_slots()
        ranges = tuple(sorted((first, last, RedisAddress(*node["primary"])) for (first, last), node in answer.items()))
        return Placement(frozenset(owner for _, _, owner in ranges), ranges)

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
        self._sentinel = _Sentinel(
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
        return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # likewise
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
