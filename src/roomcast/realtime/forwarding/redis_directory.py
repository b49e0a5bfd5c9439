"""`RedisDirectory`: the nodes of a cluster, each with a lease in Redis.

Every ``renew_s`` a node runs one script that renews its own lease and returns the records of all nodes, so that a
look-up is local. The lease of a killed node expires; a node that stops removes its own lease. While Redis is
unreachable, all known nodes are kept, and an empty Redis evicts no node for `DirectoryOptions.missing_s`.

Layer: realtime.forwarding. Source: docs/design.md, "Processes".
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from roomcast.backoff import jittered
from roomcast.realtime.cluster.nodes import NODE_ID_CHARS, DirectoryUnavailable, NodeAddress, new_node_id
from roomcast.redis_client import Commands, Outcome, RedisUnavailable, Script, load_script

logger = logging.getLogger(__name__)

_SCRIPT: Final[Script] = load_script("roomcast.realtime.forwarding", "directory")
_LOOK: Final = "-"
_LEAVE: Final = ""
_RECORD_VERSION: Final = 1
_MAX_RECORD_BYTES: Final = 1_024
_MAX_PORT: Final = 65_535
_LEAVE_TIMEOUT_S: Final = 0.5
_ID: Final = re.compile(rb"[A-Za-z0-9_-]{%d}" % NODE_ID_CHARS)
# RFC 1123 §2.1 plus the underscore, which occurs in names of containers. The last label must not be a number: such a
# name is an IPv4 address or a malformed IPv4 address.
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\.?\Z){_LABEL}\.?")
_MAX_NAME_CHARS: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryOptions:
    """Times and limits of the directory. With the defaults a killed node is removed after 18 to 22 s.

    Attributes:
        prefix: Prefix of every key; the same as the log's.
        lease_s: Duration of a lease.
        renew_s: Longest interval between renewals, which also read the other leases.
        missing_s: How long a lease may be missing in Redis before its node is removed: if Redis loses its data, each
            node writes its lease again within ``renew_s``.
        fresh_s: A look-up of an unknown node queries Redis unless the last answer is newer than this.
        wait_s: How long a look-up waits for a node that may have just started.
        max_waiting: Maximum number of look-ups that wait concurrently, since clients can invent node ids. Further
            look-ups fail at once with `DirectoryUnavailable`; look-ups of known nodes never wait.
    """

    prefix: str = "roomcast"
    lease_s: float = 12.0
    renew_s: float = 4.0
    missing_s: float = 5.0
    fresh_s: float = 0.1
    wait_s: float = 0.5
    max_waiting: int = 256


@dataclass(slots=True)
class _KnownNode:
    """Another node.

    Attributes:
        address: Address of the node.
        missing_since: Loop time of the first answer without the node, if every later query was answered without it,
            too; otherwise None.
    """

    address: NodeAddress
    missing_since: float | None = None


class RedisDirectory:
    """`cluster.nodes.Directory` in Redis: call `announce` with this node's address, then `run`, and `leave` at the end.

    Args:
        commands: Connections to Redis; the caller closes them.
        options: Times and limits.

    Attributes:
        counters: Totals of ``renewals``, ``malformed`` records, ``joined`` and ``gone`` nodes.
        renewal: Whether this node renews its lease.
    """

    def __init__(self, commands: Commands, options: DirectoryOptions | None = None) -> None:
        self._commands = commands
        self._options = options or DirectoryOptions()
        self._id = new_node_id()
        prefix = self._options.prefix
        self._keys = (f"{prefix}:{{nodes}}:leases", f"{prefix}:{{nodes}}:records")
        self._record = _LOOK
        self._others: dict[str, _KnownNode] = {}
        self._queried_at = float("-inf")
        self._query: asyncio.Task[bool] | None = None
        self._renewal_requested = asyncio.Event()
        self._waiting = 0
        self._left = False
        self.renewal = Outcome("node directory", "the known gateways are kept")
        self.counters: Counter[str] = Counter()

    # -- cluster.nodes.Directory --------------------------------------------------------------------------------------

    @property
    def node_id(self) -> str:
        """See `cluster.nodes.Directory`."""
        return self._id

    async def look_up(self, node_id: str) -> NodeAddress | None:
        """See `cluster.nodes.Directory`."""
        other = self._others.get(node_id)
        if other is not None:
            return other.address
        # This check follows the local look-up, so that invented ids cannot block look-ups of known nodes.
        if self._waiting >= self._options.max_waiting:
            raise DirectoryUnavailable
        self._waiting += 1
        try:
            return await self._wait_for(node_id)
        finally:
            self._waiting -= 1

    async def _wait_for(self, node_id: str) -> NodeAddress | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._options.wait_s
        answered = True
        while (other := self._others.get(node_id)) is None:
            if loop.time() >= deadline:
                if answered:
                    return None
                raise DirectoryUnavailable
            pause_s = self._queried_at + self._options.fresh_s - loop.time()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            answered = await self._query_redis()
        return other.address

    # -- running nodes --------------------------------------------------------------------------------------------

    def alive(self) -> Collection[str]:
        """Ids of the running nodes, including this node. While Redis is unreachable, no node is removed."""
        return {self._id, *self._others}

    async def other_addresses(self) -> Collection[NodeAddress]:
        """The internal addresses of the other running nodes. A directory that announces nothing may ask, too."""
        await self._query_redis()
        return [other.address for other in self._others.values()]

    async def is_alive(self, node_id: str) -> bool:
        """Whether a node is running, even if `alive` does not list it yet. True while Redis is unreachable."""
        try:
            # The id comes from another node, not from a client: this look-up does not count against ``max_waiting``.
            return node_id == self._id or await self._wait_for(node_id) is not None
        except DirectoryUnavailable:
            return True

    # -- life ---------------------------------------------------------------------------------------------------------

    def announce(self, address: NodeAddress) -> None:
        """Publish this node's address with the next renewal, which starts now."""
        record = {"v": _RECORD_VERSION, "host": address.host, "port": address.port, "secret": address.secret}
        self._record = json.dumps(record, separators=(",", ":"))
        self._renewal_requested.set()

    def renew_soon(self) -> None:
        """Request a renewal now: Redis was unreachable or has lost its data."""
        self._renewal_requested.set()

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            self._renewal_requested.clear()
            await self._query_redis()
            try:
                async with asyncio.timeout(jittered(self._options.renew_s, low=0.75)):
                    await self._renewal_requested.wait()
            except TimeoutError:
                pass  # the next renewal is due

    async def leave(self) -> None:
        """Remove this node's lease; if Redis does not answer soon, the lease expires instead."""
        self._record = _LEAVE
        try:
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                if self._query is not None:
                    await asyncio.wait({self._query})
                await self._query_redis()
        except TimeoutError:
            logger.info("node lease not removed, it will expire")
        finally:
            self._left = True

    # -- Redis --------------------------------------------------------------------------------------------------------

    async def _query_redis(self) -> bool:
        """Renew with one query for all concurrent callers; return whether Redis answered."""
        if self._query is None:
            self._query = asyncio.create_task(self._renew(), name="node-directory")
            self._query.add_done_callback(self._clear_query)
        return await asyncio.shield(self._query)

    def _clear_query(self, _task: asyncio.Task[bool]) -> None:
        self._query = None

    async def _renew(self) -> bool:
        loop = asyncio.get_running_loop()
        self._queried_at = loop.time()
        if self._left:
            return False  # the connections may be closed
        try:
            args: list[str | bytes | float] = [round(self._options.lease_s * 1_000), self._id, self._record]
            leases = await self._commands.run(_SCRIPT, self._keys, args)
        except RedisUnavailable as error:
            self.renewal.fail(error)
            # A failed query ends each sequence of answers without a node.
            for other in self._others.values():
                other.missing_since = None
            return False
        self.renewal.succeed()
        self.counters["renewals"] += 1
        self._update(leases, loop.time())
        return True

    def _update(self, leases: Any, now: float) -> None:
        listed: dict[str, NodeAddress] = {}
        for node_id, record in zip(leases[::2], leases[1::2], strict=False):
            try:
                listed[_read_id(node_id)] = _read_record(record)
            except (ValueError, RecursionError):
                self.counters["malformed"] += 1
                if self.counters["malformed"] == 1:
                    logger.warning("malformed node record in Redis ignored")
        listed.pop(self._id, None)
        for node_id, address in listed.items():
            if node_id not in self._others:
                self.counters["joined"] += 1
            self._others[node_id] = _KnownNode(address)
        for node_id in self._others.keys() - listed.keys():
            other = self._others[node_id]
            if other.missing_since is None:
                other.missing_since = now
            elif now - other.missing_since >= self._options.missing_s:
                del self._others[node_id]
                self.counters["gone"] += 1
                logger.info("node removed from the directory", extra={"node": node_id})


def _read_id(raw: bytes) -> str:
    if not _ID.fullmatch(raw):
        raise ValueError("not a node id")
    return raw.decode()


def _read_record(raw: bytes) -> NodeAddress:
    """Decode a record. Any client of this Redis can write a record, so every field is validated.

    Raises:
        ValueError: a field is missing or invalid.
        RecursionError: the JSON is nested too deep.
    """
    if len(raw) > _MAX_RECORD_BYTES:
        raise ValueError("too long")
    record = json.loads(raw)
    if not isinstance(record, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one error for every malformed record
    host, port, secret = record.get("host"), record.get("port"), record.get("secret")
    if not (isinstance(host, str) and _is_host(host)):
        raise ValueError("invalid host")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= _MAX_PORT:
        raise ValueError("invalid port")
    if not (isinstance(secret, str) and secret.isascii() and secret.isprintable() and secret):
        raise ValueError("invalid secret")
    return NodeAddress(host, port, secret)


def _is_host(text: str) -> bool:
    """Whether the text is an IP address without a zone, or a DNS name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= _MAX_NAME_CHARS and _NAME.fullmatch(text) is not None
    return "%" not in text
