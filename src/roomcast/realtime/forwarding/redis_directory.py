"""`RedisDirectory`: the nodes of a cluster, each with a lease that it renews in Redis.

One script per node and period renews its own lease and tells all others', so that a lookup is one in memory. A node
that was killed is gone when its lease has ended and the others have looked; one that stops says so. While Redis is away
the others stay known, and a Redis that comes back empty buries nobody: who is missing is given the time to be back.

Layer: realtime.
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
from roomcast.realtime.core.nodes import NODE_ID_CHARS, DirectoryUnavailable, NodeAddress, new_node_id
from roomcast.redis_client import Commands, RedisUnavailable, Script, load_script

logger = logging.getLogger(__name__)

_SCRIPT: Final[Script] = load_script("roomcast.realtime.forwarding", "directory")
_LOOK: Final = "-"
_LEAVE: Final = ""
_RECORD_VERSION: Final = 1
_MAX_RECORD_BYTES: Final = 1_024
_MAX_PORT: Final = 65_535
_LEAVE_LIMIT_S: Final = 0.5
_ID: Final = re.compile(rb"[A-Za-z0-9_-]{%d}" % NODE_ID_CHARS)
# RFC 1123 §2.1, and the underscore, which names of containers have. No name ends in a number: that is an address, or a
# broken one.
_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME: Final = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\.?\Z){_LABEL}\.?")
_MAX_NAME_CHARS: Final = 253


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryOptions:
    """How long a node that says nothing counts as there. A killed one is gone after 18 to 22 s with these.

    Attributes:
        prefix: Begins every key; as the log's.
        lease_s: How long a lease lasts.
        renew_s: How often it is renewed, and the others' are looked at.
        missing_s: How long a node may be missing in Redis before it counts as gone: a Redis that lost its data has it
            back within ``renew_s``.
        fresh_s: A lookup of an unknown node asks Redis unless that was asked within this time.
        wait_s: How long a lookup waits for a node that may just have started.
        max_waiting: How many lookups wait so at one time: anybody can ask for nodes that there never were. Beyond it
            the directory is unavailable to them; to those that ask for a known node it never is.
    """

    prefix: str = "roomcast"
    lease_s: float = 12.0
    renew_s: float = 4.0
    missing_s: float = 5.0
    fresh_s: float = 0.1
    wait_s: float = 0.5
    max_waiting: int = 256


@dataclass(slots=True)
class _Other:
    """Another node.

    Attributes:
        address: Where it is.
        missing_since: Loop time of the first in an unbroken row of answers that lack it; None: the latest has it.
    """

    address: NodeAddress
    missing_since: float | None = None


class RedisDirectory:
    """Behind `nodes.Directory`. Give it the own address with `announce`, run it, `leave` at the end.

    Args:
        commands: The way to Redis; its life is the caller's.
        options: Times.

    Attributes:
        counters: ``renewals``, ``failures``, ``malformed`` records, ``joined`` and ``gone`` nodes so far.
    """

    def __init__(self, commands: Commands, options: DirectoryOptions | None = None) -> None:
        self._commands = commands
        self._options = options or DirectoryOptions()
        self._id = new_node_id()
        prefix = self._options.prefix
        self._keys = (f"{prefix}:{{nodes}}:leases", f"{prefix}:{{nodes}}:records")
        self._record = _LOOK
        self._others: dict[str, _Other] = {}
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[bool] | None = None
        self._renew_wanted = asyncio.Event()
        self._waiting = 0
        self._left = False
        self.counters: Counter[str] = Counter()

    # -- nodes.Directory ----------------------------------------------------------------------------------------------

    @property
    def node_id(self) -> str:
        """See `nodes.Directory`."""
        return self._id

    async def look_up(self, node_id: str) -> NodeAddress | None:
        """See `nodes.Directory`."""
        other = self._others.get(node_id)
        if other is not None:
            return other.address
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
            pause_s = self._asked_at + self._options.fresh_s - loop.time()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            answered = await self._ask()
        return other.address

    # -- presence of nodes --------------------------------------------------------------------------------------------

    def alive(self) -> Collection[str]:
        """Ids of the nodes that count as there, this one among them. While Redis is away nobody goes."""
        return {self._id, *self._others}

    async def known(self, node_id: str) -> bool:
        """Whether a node is there that `alive` may not name yet; in doubt it is."""
        try:
            # Who asks has the id from another node, not from a client: it need not stand in a line with those.
            return node_id == self._id or await self._wait_for(node_id) is not None
        except DirectoryUnavailable:
            return True

    # -- life ---------------------------------------------------------------------------------------------------------

    def announce(self, address: NodeAddress) -> None:
        """This node can be reached from now on: others are told, soon."""
        record = {"v": _RECORD_VERSION, "host": address.host, "port": address.port, "secret": address.secret}
        self._record = json.dumps(record, separators=(",", ":"))
        self._renew_wanted.set()

    def renew_soon(self) -> None:
        """Redis was away and is back, or has lost its data: say that this node is here."""
        self._renew_wanted.set()

    async def run(self) -> None:
        """Renew and look until cancelled."""
        while True:
            self._renew_wanted.clear()
            await self._ask()
            try:
                async with asyncio.timeout(jittered(self._options.renew_s, low=0.75)):
                    await self._renew_wanted.wait()
            except TimeoutError:
                pass  # it is time

    async def leave(self) -> None:
        """Say that this node is gone, if Redis answers at once; else its lease ends by itself."""
        self._record = _LEAVE
        try:
            async with asyncio.timeout(_LEAVE_LIMIT_S):
                if self._asking is not None:
                    await asyncio.wait({self._asking})
                await self._ask()
        except TimeoutError:
            logger.info("Redis was not told that this gateway ends")
        finally:
            self._left = True

    # -- Redis --------------------------------------------------------------------------------------------------------

    async def _ask(self) -> bool:
        """Renew and look, once for all who want it at the same time; whether Redis answered."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._renew(), name="node-directory")
            self._asking.add_done_callback(self._asked)
        return await asyncio.shield(self._asking)

    def _asked(self, _task: asyncio.Task[bool]) -> None:
        self._asking = None

    async def _renew(self) -> bool:
        loop = asyncio.get_running_loop()
        self._asked_at = loop.time()
        if self._left:
            return False  # the way to Redis may be closed
        try:
            args: list[str | bytes | float] = [round(self._options.lease_s * 1_000), self._id, self._record]
            answer = await self._commands.run(_SCRIPT, self._keys, args)
        except RedisUnavailable as error:
            if not self.counters["failures"]:
                logger.warning("the other gateways cannot be looked up: %s", error)
            self.counters["failures"] += 1
            # What is missing was not seen to be missing all the time.
            for other in self._others.values():
                other.missing_since = None
            return False
        self.counters["renewals"] += 1
        self._take(answer, loop.time())
        return True

    def _take(self, answer: Any, now: float) -> None:
        listed: dict[str, NodeAddress] = {}
        for node_id, record in zip(answer[::2], answer[1::2], strict=False):
            try:
                listed[_read_id(node_id)] = _read_record(record)
            except (ValueError, RecursionError):
                self.counters["malformed"] += 1
                if self.counters["malformed"] == 1:
                    logger.warning("a record of a gateway in Redis cannot be read: it is passed over")
        listed.pop(self._id, None)
        for node_id, address in listed.items():
            if node_id not in self._others:
                self.counters["joined"] += 1
            self._others[node_id] = _Other(address)
        for node_id in self._others.keys() - listed.keys():
            other = self._others[node_id]
            if other.missing_since is None:
                other.missing_since = now
            elif now - other.missing_since >= self._options.missing_s:
                del self._others[node_id]
                self.counters["gone"] += 1
                logger.info("a gateway is gone", extra={"node": node_id})


def _read_id(raw: bytes) -> str:
    if not _ID.fullmatch(raw):
        raise ValueError("no node id")
    return raw.decode()


def _read_record(raw: bytes) -> NodeAddress:
    """The address in a record. Whoever can write to Redis can write here: it is only read if it is one.

    Raises:
        ValueError: it is none.
        RecursionError: it is none, and deeply nested.
    """
    if len(raw) > _MAX_RECORD_BYTES:
        raise ValueError("too long")
    record = json.loads(raw)
    if not isinstance(record, dict):
        raise ValueError("no object")  # noqa: TRY004 - one error for all that it can be
    host, port, secret = record.get("host"), record.get("port"), record.get("secret")
    if not (isinstance(host, str) and _is_host(host)):
        raise ValueError("no host")
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= _MAX_PORT:
        raise ValueError("no port")
    if not (isinstance(secret, str) and secret.isascii() and secret.isprintable() and secret):
        raise ValueError("no secret")
    return NodeAddress(host, port, secret)


def _is_host(text: str) -> bool:
    """Whether it is an IP address, without a zone, or a DNS name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= _MAX_NAME_CHARS and _NAME.fullmatch(text) is not None
    return "%" not in text
