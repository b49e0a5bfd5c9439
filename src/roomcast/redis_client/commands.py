"""Commands to one Redis server, a master found through Sentinel, or a cluster, with redis-py.

Every command has a time limit that includes the wait for a connection and all retries; every failure raises
`RedisUnavailable`. redis-py closes the connection of a cancelled command, so that its reply cannot reach another caller
(CVE-2023-28858, CVE-2023-28859).

After an error reply all connections are replaced, and the command is sent once more: the address may lead to another
server than before, while the open connections lead to one that no longer serves (READONLY, MASTERDOWN). This excludes
errors that are no sign of another master and may last: all processes would connect again every second.

Layer: redis_client.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol, TypeVar, cast

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel, SSLConnection
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import NoScriptError, RedisClusterException, RedisError, ResponseError

from roomcast.histogram import Histogram
from roomcast.redis_client.errors import RedisUnavailable
from roomcast.redis_client.options import RedisAddress, RedisOptions
from roomcast.redis_client.outcome import Outcome
from roomcast.redis_client.scripts import Script
from roomcast.redis_client.topology import Topology

logger = logging.getLogger(__name__)

_T = TypeVar("_T")
#: The keys and the arguments of a script.
ScriptCall = tuple[Sequence[str], Sequence[str | bytes | float]]

# RESP2: RESP3 adds maintenance notifications and no speed.
_PROTOCOL: Final = 2
# One immediate retry: a pooled connection may have died while it was idle.
_RETRIES: Final = 1
# A dead socket must fail before the command's time limit, or the cluster client would not notice the failure.
_SOCKET_SHARE: Final = 0.45
_CLUSTER_RETRIES: Final = 3
_CLUSTER_BACKOFF_S: Final = 0.02
# The codes of these errors; the first one is answered with the script.
_KEEP_CONNECTIONS: Final = frozenset({"NOSCRIPT", "OOM", "MISCONF", "NOPERM"})


class _Client(Protocol):
    """The common interface of redis-py's clients."""

    async def execute_command(self, *args: Any, **options: Any) -> Any: ...
    async def aclose(self) -> None: ...


class _Sentinel(Sentinel):
    """Serializes look-ups of the master.

    redis-py 8.1 moves the sentinel that answered to the front of its list without a lock: two concurrent look-ups may
    list one sentinel twice and drop another, which is then never queried again and never closed.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)  # type: ignore[no-untyped-call]  # untyped in redis-py
        self._lookup = asyncio.Lock()

    async def discover_master(self, service_name: str) -> Any:
        async with self._lookup:
            return await super().discover_master(service_name)

    async def close(self) -> None:
        """Close the connections to the sentinels; redis-py 7 has no method for it."""
        for sentinel in self.sentinels:
            await sentinel.aclose()


def _unavailable(error: Exception) -> RedisUnavailable:
    text = str(error) or type(error).__name__
    # redis-py removes the code from the text of the errors that it knows.
    code = getattr(error, "status_code", None)
    if code is not None:
        text = f"{code} {text}"
    elif not isinstance(error, ResponseError):
        return RedisUnavailable(text)
    return RedisUnavailable.of_reply(text)


class Commands:
    """A limited number of connections for commands.

    Args:
        options: The servers and the limits.

    Attributes:
        durations: Durations of the commands by use: the name of the script, or ``publish``.
    """

    def __init__(self, options: RedisOptions) -> None:
        self.durations: defaultdict[str, Histogram] = defaultdict(Histogram)
        self._options = options
        self._abandoned: set[asyncio.Task[Any]] = set()
        self._slots = asyncio.Semaphore(options.max_connections)
        self._lookups = Outcome("look-up of the masters", "the known masters are kept")
        # Loop time at which the connections were replaced.
        self._replaced_at = float("-inf")
        self._sentinel: _Sentinel | None = None
        self._pool: ConnectionPool | None = None
        self._cluster: RedisCluster | None = None
        if options.cluster:
            self._cluster = self._open_cluster()
            self._client = cast("_Client", self._cluster)
        else:
            self._pool = self._open_pool()
            self._client = cast("_Client", Redis(connection_pool=self._pool))

    @property
    def clustered(self) -> bool:
        """Whether each command may go to another server."""
        return self._pool is None

    async def close(self) -> None:
        """Close every connection."""
        for task in self._abandoned:
            task.cancel()
        await asyncio.gather(*self._abandoned, return_exceptions=True)
        await self._client.aclose()
        if self._pool is not None:
            await self._pool.aclose()
        if self._sentinel is not None:
            await self._sentinel.close()

    async def run(self, script: Script, keys: Sequence[str], args: Sequence[str | bytes | float]) -> Any:
        """Run a script. In a cluster its keys must share a slot.

        Raises:
            RedisUnavailable: the script failed, or took longer than ``command_timeout_s``.
        """
        rest = (len(keys), *keys, *args)
        with self._measured(script.name):
            try:
                return await self._within_limit(self._execute(("EVALSHA", script.sha, *rest)))
            except RedisUnavailable as error:
                if not isinstance(error.__cause__, NoScriptError):
                    raise
            # The server does not have the script after a restart, a failover or SCRIPT FLUSH: EVAL loads it.
            return await self._within_limit(self._execute(("EVAL", script.source, *rest)))

    @contextmanager
    def _measured(self, use: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.durations[use].observe(time.perf_counter() - began)

    async def run_many(self, script: Script, calls: Sequence[ScriptCall]) -> list[Any | RedisUnavailable]:
        """Run a script several times with one write to the server. Not for a cluster.

        A call may run twice: after a lost connection all are sent again.

        Returns:
            For each call its answer, or the error that `run` raises.
        """
        answers: list[Any] = [None] * len(calls)
        failed: Sequence[int] = range(len(calls))
        if len(calls) > 1:
            try:
                with self._measured(script.name):
                    answers = await self._within_limit(self._pipeline(script, calls))
            except RedisUnavailable as error:
                return [error] * len(calls)
            failed = [number for number, answer in enumerate(answers) if isinstance(answer, RedisError)]
        # `run` loads a missing script and finds the current master. The errors of the pipeline are not used: their
        # texts contain the arguments.
        again = await asyncio.gather(*(self._run_or_fail(script, calls[number]) for number in failed))
        for number, answer in zip(failed, again, strict=True):
            answers[number] = answer
        return answers

    async def _run_or_fail(self, script: Script, call: ScriptCall) -> Any | RedisUnavailable:
        try:
            return await self.run(script, *call)
        except RedisUnavailable as error:
            return error

    async def _pipeline(self, script: Script, calls: Sequence[ScriptCall]) -> list[Any]:
        async with self._slots, cast("Redis", self._client).pipeline(transaction=False) as pipeline:
            for keys, args in calls:
                pipeline.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
            answers: list[Any] = await pipeline.execute(raise_on_error=False)
            return answers

    async def publish(self, channel: str, message: bytes, /) -> int:
        """Publish on a classic channel, which a cluster forwards to all of its nodes.

        Returns:
            The number of subscribers that received the message; in a cluster, only subscribers of the node that
            executed the command are counted.

        Raises:
            RedisUnavailable: the command failed, or took longer than ``command_timeout_s``.
        """
        with self._measured("publish"):
            return int(await self._within_limit(self._execute(("PUBLISH", channel, message))))

    async def take(self, key: str) -> bytes | None:
        """Delete a key and return its value; None if it does not exist. Redis 6.2 or later.

        Raises:
            RedisUnavailable: the command failed, or took longer than ``command_timeout_s``.
        """
        with self._measured("take"):
            value = await self._within_limit(self._execute(("GETDEL", key)))
        return None if value is None else bytes(value)

    async def channels(self, pattern: str) -> frozenset[str]:
        """The classic channels with subscribers that match a glob pattern; in a cluster, on any node that answers.

        Redis compares every channel with the pattern. Names that are not UTF-8 are left out.

        Raises:
            RedisUnavailable: the command failed, or took longer than ``command_timeout_s``.
        """
        return await self._names("CHANNELS", pattern)

    async def shard_channels(self, pattern: str) -> frozenset[str]:
        """The same of shard channels. Redis 7.0 or later.

        Raises:
            RedisUnavailable: the command failed, or took longer than ``command_timeout_s``.
        """
        return await self._names("SHARDCHANNELS", pattern)

    async def _names(self, kind: str, pattern: str) -> frozenset[str]:
        with self._measured("channels"):
            names = await self._within_limit(self._channels(kind, pattern))
        return frozenset(name.decode(errors="ignore") if isinstance(name, bytes) else str(name) for name in names)

    async def _channels(self, kind: str, pattern: str) -> set[Any]:
        if self._cluster is None:
            return set(await self._execute(("PUBSUB", kind, pattern)))
        async with self._slots:
            await self._cluster.initialize()
            asked = [
                self._cluster.execute_command(f"PUBSUB {kind}", pattern, target_nodes=node)
                for node in self._cluster.get_nodes()
            ]
            answers = await asyncio.gather(*asked, return_exceptions=True)
        found = [answer for answer in answers if not isinstance(answer, BaseException)]
        if not found:
            raise RedisUnavailable("no node of the cluster answers")
        return set().union(*found)

    async def topology(self) -> Topology:
        """Ask the sentinels or the cluster which servers are masters; a single server is always the master.

        Raises:
            RedisUnavailable: no sentinel or cluster node answered.
        """
        try:
            found = await self._within_limit(self._topology())
        except RedisUnavailable as error:
            self._lookups.fail(error)
            raise
        self._lookups.succeed()
        return found

    async def is_master(self, address: RedisAddress) -> bool:
        """Whether a server is still a master; True if no sentinel or cluster node answers."""
        try:
            return address in (await self.topology()).masters
        except RedisUnavailable:
            return True

    async def replace_connections(self) -> None:
        """Close idle connections now and others after their command: they may lead to a former master.

        A cluster's nodes redirect commands instead.
        """
        if self._pool is not None:
            await self._pool.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]  # untyped in redis-py
            await self._pool.disconnect(inuse_connections=False)
            self._replaced_at = asyncio.get_running_loop().time()

    async def _within_limit(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run ``work`` for at most ``command_timeout_s``, even if redis-py swallows the cancellation.

        ``work`` has its own task: redis-py writes through `asyncio.wait_for`, which on Python 3.11 can swallow a
        cancellation that arrives together with the result.
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
            raise _unavailable(error) from error

    def _abandon(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, and keep a reference until redis-py has released or closed its connection."""
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._on_abandoned_done)

    def _on_abandoned_done(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("an abandoned command failed: %r", error)

    async def _execute(self, args: Sequence[str | bytes | float]) -> Any:
        broken: Exception | None = None
        async with self._slots:
            for _ in range(self._options.max_connections):
                replaced_at = self._replaced_at
                try:
                    return await self._client.execute_command(*args)
                except ResponseError as error:
                    if _unavailable(error).code in _KEEP_CONNECTIONS or not await self._replaced_after(replaced_at):
                        raise
                except (RuntimeError, AttributeError) as error:
                    # redis-py's cluster client does not handle these errors of a lost connection: uvloop raises
                    # RuntimeError if the server closed the connection while it was idle, and when a node fails, one
                    # command disconnects the connection that another command is about to write to. The client has
                    # discarded this connection; the next one may be lost as well.
                    broken = error
        raise ConnectionError(str(broken)) from broken

    async def _replaced_after(self, replaced_at: float) -> bool:
        """Whether the connections have been replaced since; replaces them at most once in ``retry_max_s``."""
        if self._replaced_at == replaced_at:
            if asyncio.get_running_loop().time() - replaced_at < self._options.retry_max_s:
                return False
            await self.replace_connections()
        return self._replaced_at != replaced_at

    async def _topology(self) -> Topology:
        if self._cluster is not None:
            return await self._cluster_topology(self._cluster)
        if isinstance(self._pool, SentinelConnectionPool):
            # The look-up also points the pool to the new master after a failover.
            host, port = await self._pool.get_master_address()  # type: ignore[no-untyped-call]  # untyped in redis-py
            return Topology(frozenset({RedisAddress(host, int(port))}))
        return Topology(frozenset(self._options.addresses))

    async def _cluster_topology(self, cluster: RedisCluster) -> Topology:
        # The client's own slot map is not used: updating it blocks the loop for milliseconds.
        answer: Any = await cluster.cluster_slots()
        ranges = tuple(sorted((first, last, RedisAddress(*node["primary"])) for (first, last), node in answer.items()))
        return Topology(frozenset(owner for _, _, owner in ranges), ranges)

    # --- opening

    def _connection_options(self) -> dict[str, Any]:
        options = self._options
        return {
            "username": options.username,
            "password": options.password,
            # No CLIENT SETNAME and CLIENT SETINFO: redis-py fails if an ACL forbids them.
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
                # redis-py queries the sentinels one after the other; all of them share one time limit.
                "socket_timeout": options.command_timeout_s * _SOCKET_SHARE / len(options.addresses),
                "socket_connect_timeout": options.command_timeout_s * _SOCKET_SHARE / len(options.addresses),
            },
        )
        return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # untyped in redis-py
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
