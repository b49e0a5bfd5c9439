"""The checks of Redis: every master, and the sentinels or the cluster. Imported only if Redis is configured.

Permissions are tried, since a user that may not administer Redis cannot ask for them: one script runs the commands of
README.md's ACL rules on a key of its own, which it deletes; a connection subscribes to every kind of channel.

Layer: app.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Final

from roomcast.app.doctor.clock import check_clock
from roomcast.app.doctor.findings import Finding, fault, ok, warning
from roomcast.gateway.ingress import CHANNEL
from roomcast.redis_client import (
    Commands,
    RedisAddress,
    RedisConnection,
    RedisOptions,
    RedisUnavailable,
    Topology,
    load_script,
)

_PERMISSIONS: Final = load_script("roomcast.app.doctor", "permissions")
MIN_VERSION: Final = (6, 2)
#: Each message passes Redis, and clients notice more than this.
_SLOW_S: Final = 0.02
_PINGS: Final = 5
#: Of all checks together, in seconds.
_LIMIT_S: Final = 15.0
_MAX_REPLY_BYTES: Final = 1_048_576
_RULES: Final = "README.md lists the ACL rules that the user needs (ACL SETUSER)"
_SLOTS: Final = 16_384
_SENTINELS: Final = "start the sentinels, or correct their addresses and the name of the master in REDIS_URL"
_ANNOUNCED: Final = "they must name addresses that this machine reaches ({}), and the server there must run"
_REACH: Final = "start Redis, or correct REDIS_HOST and REDIS_PORT, or REDIS_URL (rediss:// with TLS, else redis://)"


async def check_redis(
    options: RedisOptions, *, guide_ingress: bool, now: Callable[[], float] = time.time
) -> AsyncIterator[Finding]:
    """Check one Redis server, the sentinels and the master that they name, or all masters of a cluster.

    Args:
        options: The servers.
        guide_ingress: Whether events of the guide's API are taken from Redis.
        now: This machine's clock, in Unix seconds.
    """
    commands = Commands(options)
    try:
        async with asyncio.timeout(_LIMIT_S):
            if options.sentinel_master is not None:
                for finding in await _sentinels(options, options.sentinel_master):
                    yield finding
            topology = await commands.topology()
            if topology.ranges is not None:
                yield _slots(topology)
            for address in sorted(topology.masters):
                async for finding in _check_master(address, topology, options, guide_ingress=guide_ingress, now=now):
                    yield finding
    except RedisUnavailable as error:
        yield fault("redis", str(error), error.advice or (_REACH if options.sentinel_master is None else _SENTINELS))
    except TimeoutError:
        yield fault("redis", f"no answer within {_LIMIT_S:.0f} s", _REACH)
    finally:
        await commands.close()


async def _check_master(
    address: RedisAddress,
    topology: Topology,
    options: RedisOptions,
    *,
    guide_ingress: bool,
    now: Callable[[], float],
) -> AsyncIterator[Finding]:
    key = f"roomcast:doctor:{secrets.token_hex(8)}"
    while topology.owner(key) != address:
        key = f"roomcast:doctor:{secrets.token_hex(8)}"
    connection = RedisConnection(address, max_message_bytes=_MAX_REPLY_BYTES)
    try:
        try:
            await connection.open(options, "roomcast-doctor")
        except RedisUnavailable as error:
            remedy = error.advice or _REACH
            if not error.advice and options.cluster:
                remedy = f"nodes of a cluster: {_ANNOUNCED.format('cluster-announce-ip')}"
            elif not error.advice and options.sentinel_master is not None:
                remedy = f"sentinels: {_ANNOUNCED.format('sentinel monitor, replica-announce-ip')}"
            yield fault("redis", str(error), remedy)
            return
        if options.db:
            await connection.ask("SELECT", str(options.db))
        await connection.ping()
        yield ok("redis", f"{address} accepts the login")
        yield await _latency(connection)
        yield await _clock(connection, now)
        info = await _info(connection)
        for finding in (_version(info), _memory(info)):
            if finding is not None:
                yield finding
        yield await _permissions(connection, key, info, guide_ingress=guide_ingress)
    except RedisUnavailable as error:
        remedy = error.advice or _REACH
        if error.code == "READONLY":
            remedy = "it is a replica: name the master in REDIS_HOST or REDIS_URL, or use redis+sentinel://"
        yield fault("redis", f"{address}: {error}", remedy)
    finally:
        connection.abort()


async def _sentinels(options: RedisOptions, master: str) -> list[Finding]:
    """Whether each sentinel answers, they agree, and enough of them can start a failover."""
    # Each connection has its own address.
    login = replace(options, username=options.sentinel_username, password=options.sentinel_password, db=0)
    replies = await asyncio.gather(*(_ask_sentinel(address, login, master) for address in options.addresses))
    silent = [str(reply) for reply in replies if isinstance(reply, RedisUnavailable)]
    named = {address for address, _ in (reply for reply in replies if not isinstance(reply, RedisUnavailable))}
    quorum = {complaint for _, complaint in (reply for reply in replies if not isinstance(reply, RedisUnavailable))}
    if not named:
        return []  # the look-up of the master says why
    findings = []
    if silent:
        text = f"{len(silent)} of {len(replies)} do not answer: {'; '.join(silent)}"
        findings.append(warning("redis sentinels", text, "start them, or correct the addresses in REDIS_URL"))
    if len(named) > 1:
        text = f"they name different masters: {', '.join(sorted(named))}"
        findings.append(fault("redis sentinels", text, "let all of them monitor one master (SENTINEL MASTERS)"))
    for complaint in sorted(quorum - {""}):
        remedy = "start more sentinels, or lower their quorum: without a majority no failover happens"
        findings.append(warning("redis sentinels", complaint, remedy))
    return findings or [ok("redis sentinels", f"all {len(replies)} name {named.pop()}")]


async def _ask_sentinel(address: RedisAddress, login: RedisOptions, master: str) -> tuple[str, str] | RedisUnavailable:
    """The address of the master, and a complaint about the quorum, or an empty text."""
    connection = RedisConnection(address, max_message_bytes=_MAX_REPLY_BYTES)
    try:
        await connection.open(login, "roomcast-doctor")
        # The only command of sentinels in README.md's ACL rules.
        known = [
            dict(zip(fields[::2], fields[1::2], strict=False)) for fields in await connection.ask("SENTINEL", "MASTERS")
        ]
        found = next((one for one in known if one[b"name"] == master.encode()), None)
        if found is None:
            return RedisUnavailable(f"{address} does not know {master}")
        try:
            await connection.ask("SENTINEL", "CKQUORUM", master)
            complaint = ""
        except RedisUnavailable as error:
            # Without the permission for this command, nothing is known.
            complaint = "" if error.code == "NOPERM" else str(error)
        return str(RedisAddress(found[b"ip"].decode(), int(found[b"port"]))), complaint
    except RedisUnavailable as error:
        return error
    finally:
        connection.abort()


def _slots(topology: Topology) -> Finding:
    covered = sum(last - first + 1 for first, last, _ in topology.ranges or ())
    if covered < _SLOTS:
        text = f"{_SLOTS - covered} of {_SLOTS} slots belong to no master: their chats have no log"
        return fault("redis cluster", text, "complete the cluster: redis-cli --cluster fix, or CLUSTER ADDSLOTS")
    return ok("redis cluster", f"{len(topology.masters)} masters own all slots")


async def _clock(connection: RedisConnection, now: Callable[[], float]) -> Finding:
    before = now()
    seconds, microseconds = await connection.ask("TIME")
    difference_s = int(seconds) + int(microseconds) / 1e6 - (before + now()) / 2
    return check_clock("Redis", difference_s)


async def _latency(connection: RedisConnection) -> Finding:
    times = []
    for _ in range(_PINGS):
        began = time.perf_counter()
        await connection.ping()
        times.append(time.perf_counter() - began)
    text = f"a ping takes {sorted(times)[_PINGS // 2] * 1000:.1f} ms"
    if min(times) > _SLOW_S:
        return warning("redis latency", text, "run Redis in the same zone as these processes")
    return ok("redis latency", text)


async def _info(connection: RedisConnection) -> dict[str, str]:
    """The fields of INFO; empty if the user may not run it, which the ACL rules of README.md do not allow."""
    try:
        reply: bytes = await connection.ask("INFO")
    except RedisUnavailable as error:
        if error.code != "NOPERM":
            raise
        return {}
    return dict(line.split(":", 1) for line in reply.decode(errors="replace").splitlines() if ":" in line)


def _version(info: dict[str, str]) -> Finding | None:
    version = info.get("redis_version")
    if version is None:
        return ok("redis version", "unknown: the user may not run INFO, which Roomcast does not need")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < MIN_VERSION:
        return fault("redis version", version, "update Redis to 6.2 or newer")
    return ok("redis version", version)


def _memory(info: dict[str, str]) -> Finding | None:
    policy, limit = info.get("maxmemory_policy", "noeviction"), int(info.get("maxmemory", "0"))
    if not info:
        return None
    if limit and int(info.get("used_memory", "0")) >= limit:
        return fault("redis memory", f"full: {limit} bytes are used", "raise maxmemory")
    if policy.startswith(("allkeys", "volatile")):
        text = f"maxmemory-policy is {policy}: Redis may evict logs and presence, and clients load chats again"
        return warning("redis memory", text, "set maxmemory-policy to noeviction (CONFIG SET, redis.conf)")
    return ok("redis memory", f"maxmemory {limit or 'unlimited'}, {policy}")


async def _permissions(connection: RedisConnection, key: str, info: dict[str, str], *, guide_ingress: bool) -> Finding:
    denied = [name.decode() for name in await connection.ask("EVAL", _PERMISSIONS.source, "1", key)]
    wanted = [
        ("SUBSCRIBE", "roomcast:doctor"),
        ("PSUBSCRIBE", "socket.io#/#*"),
        ("SUBSCRIBE", "socket.io-request#/#doctor"),
        ("SUBSCRIBE", "socket.io-response#/#doctor"),
    ]
    if not info.get("redis_version", "7").startswith("6."):
        # In a cluster, a master has the channels of its slots.
        wanted.append(("SSUBSCRIBE", key))
    if guide_ingress:
        wanted.append(("SUBSCRIBE", CHANNEL))
    for verb, channel in wanted:
        try:
            await connection.ask_subscription(verb, channel)
        except RedisUnavailable as error:
            if error.code != "NOPERM":
                raise
            denied.append(f"{verb.lower()} {channel}")
    if denied:
        return fault("redis permissions", f"the user may not: {', '.join(denied)}", _RULES)
    return ok("redis permissions", "every command and channel is allowed")
