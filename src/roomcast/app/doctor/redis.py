"""The checks of Redis: reachable, login, permissions, version, memory, latency. Imported only if Redis is configured.

Permissions are tried, since a user that may not administer Redis cannot ask for them: one script runs the commands of
README.md's ACL rules on a key of its own, which it deletes; a connection subscribes to every kind of channel.

Layer: app.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from typing import Final

from roomcast.app.doctor.findings import Finding, fault, ok, warning
from roomcast.gateway.ingress import CHANNEL
from roomcast.redis_client import Commands, RedisConnection, RedisOptions, RedisUnavailable, load_script

_PERMISSIONS: Final = load_script("roomcast.app.doctor", "permissions")
MIN_VERSION: Final = (6, 2)
#: Each message passes Redis, and clients notice more than this.
_SLOW_S: Final = 0.02
_PINGS: Final = 5
#: Of all checks together, in seconds.
_LIMIT_S: Final = 15.0
_MAX_REPLY_BYTES: Final = 1_048_576
_RULES: Final = "README.md lists the ACL rules that the user needs (ACL SETUSER)"
_REACH: Final = "start Redis, or correct REDIS_HOST and REDIS_PORT, or REDIS_URL (rediss:// with TLS, else redis://)"


async def check_redis(options: RedisOptions, *, guide_ingress: bool) -> AsyncIterator[Finding]:
    """Check one Redis server, the master that the sentinels name, or one master of a cluster."""
    key = f"roomcast:doctor:{secrets.token_hex(8)}"
    commands = Commands(options)
    connection: RedisConnection | None = None
    try:
        async with asyncio.timeout(_LIMIT_S):
            address = (await commands.topology()).owner(key)
            if address is None:
                yield fault("redis", "no node of the cluster owns any slots", "complete the cluster: CLUSTER ADDSLOTS")
                return
            connection = RedisConnection(address, max_message_bytes=_MAX_REPLY_BYTES)
            await connection.open(options, "roomcast-doctor")
            if options.db:
                await connection.ask("SELECT", str(options.db))
            await connection.ping()
            yield ok("redis", f"{address} accepts the login")
            yield await _latency(connection)
            info = await _info(connection)
            for finding in (_version(info), _memory(info)):
                if finding is not None:
                    yield finding
            yield await _permissions(connection, key, info, guide_ingress=guide_ingress)
    except RedisUnavailable as error:
        yield fault("redis", str(error), error.advice or _REACH)
    except TimeoutError:
        yield fault("redis", f"no answer within {_LIMIT_S:.0f} s", _REACH)
    finally:
        if connection is not None:
            connection.abort()
        await commands.close()


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
        wanted.append(("SSUBSCRIBE", "roomcast:doctor"))
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
