"""The log with Sentinel and in a cluster: short runs; more failovers are in tests/chaos."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from roomcast.chat.ports import Head
from roomcast.eventlog.redis import RedisEventLog
from roomcast.settings import read_settings
from support.log_watch import Sink, publish, publish_until_received
from support.redis_topology import MASTER_NAME, redis_cluster, sentinel_group
from support.waiting import until

EPOCH = "e1"


async def test_a_planned_failover_is_followed(tmp_path: Path) -> None:
    with sentinel_group(tmp_path, sentinels_wanted=1) as group:
        reconnected = asyncio.Event()
        async with RedisEventLog(group.options(), on_reconnect=reconnected.set) as log:
            sink = Sink()
            await log.subscribe("chat", sink)
            await publish(log, "chat", EPOCH, 1)
            assert await sink.reached(1) == [1]
            # The sentinel refuses until it has checked the replica.
            await until(lambda: group.sentinels[0].command("SENTINEL", "FAILOVER", MASTER_NAME) == b"+OK")
            async with asyncio.timeout(10):
                await reconnected.wait()
            last = await publish_until_received(log, "chat", EPOCH, sink, 2)
            assert list(dict.fromkeys(sink.seqs)) == sorted(set(sink.seqs))
            assert await log.head("chat") == Head(EPOCH, last)
            await until(lambda: log.healthy)


@pytest.mark.parametrize("user", ["default", "roomcast"])
async def test_sentinels_that_require_a_login_lead_to_the_master(tmp_path: Path, user: str) -> None:
    with sentinel_group(tmp_path, sentinels_wanted=1) as group:
        (sentinel,) = group.sentinels
        env = {
            "REDIS_URL": f"redis+sentinel://127.0.0.1:{sentinel.port}/{MASTER_NAME}",
            "REDIS_SENTINEL_PASSWORD": "hidden",
        }
        if user != "default":
            env["REDIS_SENTINEL_USERNAME"] = user
            # Exactly what README.md lists.
            rules = ("resetchannels", "-@all", "+auth", "+hello", "+ping", "+client|setname", "+sentinel|masters")
            assert sentinel.command("ACL", "SETUSER", user, "on", ">hidden", *rules) == b"+OK"
            assert sentinel.command("ACL", "SETUSER", "default", "off") == b"+OK"
        else:
            assert sentinel.command("ACL", "SETUSER", user, "resetpass", ">hidden") == b"+OK"
        assert sentinel.command("PING").startswith(b"-NOAUTH")
        options = read_settings(env).redis
        assert options is not None
        async with RedisEventLog(options) as log:
            sink = Sink()
            await log.subscribe("chat", sink)
            await publish(log, "chat", EPOCH, 1)
            assert await sink.reached(1) == [1]
        async with RedisEventLog(replace(options, sentinel_password="wrong")) as log:
            error = await log.check()
            assert error is not None
            assert error.advice == "the sentinels refuse the login: correct REDIS_SENTINEL_PASSWORD"


async def test_the_subscriptions_of_a_migrated_slot_move_with_it(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=False) as nodes:
        reconnected = asyncio.Event()
        async with RedisEventLog(nodes.options(), on_reconnect=reconnected.set) as log:
            sink = Sink()
            await log.subscribe("chat", sink)
            others = {f"chat-{number}": Sink() for number in range(30)}
            await asyncio.gather(*(log.subscribe(chat, other) for chat, other in others.items()))
            await asyncio.gather(*(publish(log, chat, EPOCH, 1) for chat in ("chat", *others)))
            for each in (sink, *others.values()):
                assert await each.reached(1) == [1]
            assert log.healthy
            nodes.move_slot("{chat}", keys=("roomcast:{chat}:meta", "roomcast:{chat}:log"))
            async with asyncio.timeout(5):
                await reconnected.wait()
            await publish(log, "chat", EPOCH, 2)
            assert await sink.reached(2) == [1, 2]
            assert log.counters.losses.total() == 0


async def test_a_master_that_refuses_subscriptions_is_checked_like_the_others(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=False) as nodes:
        async with RedisEventLog(nodes.options()) as log:
            await until(lambda: log.healthy)
            assert await log.check() is None
            server = nodes.servers[1]
            for command in ("CONFIG SET maxmemory 1", "ACL SETUSER default -ssubscribe", "CLIENT KILL TYPE pubsub"):
                assert not server.command(*command.split()).startswith(b"-")
            await until(lambda: not log.healthy)
            # Without this error, every gateway would be unready for a fault that affects all of them.
            error = await log.check()
            assert error is not None
            assert error.code == "OOM"
