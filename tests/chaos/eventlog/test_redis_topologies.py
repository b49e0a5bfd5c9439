"""The log with Sentinel and in a cluster, through failovers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from roomcast.chat.ports import Gap, Head, LogUnavailable
from roomcast.eventlog.redis import RedisEventLog
from support.log_watch import Sink, entries, publish, publish_until_received
from support.redis_topology import redis_cluster, sentinel_group
from support.waiting import until

EPOCH = "e1"

pytestmark = pytest.mark.chaos


async def test_after_a_killed_master_the_log_uses_the_promoted_one(tmp_path: Path) -> None:
    with sentinel_group(tmp_path) as group:
        reconnected = asyncio.Event()
        async with RedisEventLog(group.options(), on_reconnect=reconnected.set) as log:
            sink = Sink()
            await log.subscribe("chat", sink)
            for seq in range(1, 51):
                await publish(log, "chat", EPOCH, seq)
            await sink.reached(50)
            group.master().kill()
            for seq in range(51, 101):
                await publish(log, "chat", EPOCH, seq)
            async with asyncio.timeout(10):
                await reconnected.wait()
            last = await publish_until_received(log, "chat", EPOCH, sink, 101)
            assert sink.seqs[:50] == list(range(1, 51))
            assert list(dict.fromkeys(sink.seqs)) == sorted(set(sink.seqs))
            assert await log.head("chat") == Head(EPOCH, last)
            await until(lambda: log.healthy)


async def test_a_former_master_that_resumes_is_not_used(tmp_path: Path) -> None:
    with sentinel_group(tmp_path) as group:
        reconnected = asyncio.Event()
        async with RedisEventLog(group.options(), on_reconnect=reconnected.set) as log:
            sink = Sink()
            await log.subscribe("chat", sink)
            await publish(log, "chat", EPOCH, 1)
            old = group.master()
            old.pause()
            await publish(log, "chat", EPOCH, 2)
            await until(lambda: group.master() is not old, limit_s=20)
            async with asyncio.timeout(10):
                await reconnected.wait()
            old.resume()
            # Whatever the former master accepted meanwhile, the log continues from the new master's head.
            last = await publish_until_received(log, "chat", EPOCH, sink, 3)
            assert list(dict.fromkeys(sink.seqs)) == sorted(set(sink.seqs))
            assert await log.head("chat") == Head(EPOCH, last)


async def test_entries_that_a_failover_lost_are_reported_as_a_gap(tmp_path: Path) -> None:
    with sentinel_group(tmp_path) as group:
        async with RedisEventLog(group.options()) as log:
            await log.append("chat", EPOCH, entries(1, 5))
            master = group.master()
            replica = next(server for server in group.servers if server is not master)
            await until(lambda: b"5" in replica.command("HGET", "roomcast:{chat}:meta", "last"))
            replica.pause()
            master.command("CLIENT", "KILL", "TYPE", "replica")  # else it would still read what is in its socket
            await log.append("chat", EPOCH, entries(6, 9))
            master.kill()
            replica.resume()
            answer = None
            async with asyncio.timeout(20):
                while answer is None:
                    try:
                        answer = await log.append("chat", EPOCH, entries(10, 10))
                    except LogUnavailable:
                        await asyncio.sleep(0.05)
            assert isinstance(answer, Gap)


async def test_a_cluster_serves_every_chat_and_survives_the_loss_of_a_master(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as nodes:
        reconnected = asyncio.Event()
        async with RedisEventLog(nodes.options(), on_reconnect=reconnected.set) as log:
            chats = [f"chat-{number}" for number in range(60)]
            sinks = {chat: Sink() for chat in chats}
            await asyncio.gather(*(log.subscribe(chat, sink) for chat, sink in sinks.items()))
            for seq in range(1, 6):
                await asyncio.gather(*(publish(log, chat, EPOCH, seq) for chat in chats))
            for sink in sinks.values():
                assert await sink.reached(5) == [1, 2, 3, 4, 5]
            assert len({nodes.owner(f"{{{chat}}}").port for chat in chats}) == 3
            assert log.healthy
            nodes.owner("{chat-0}").kill()
            await asyncio.gather(*(publish(log, chat, EPOCH, 6) for chat in chats))
            async with asyncio.timeout(15):
                await reconnected.wait()
            await until(lambda: log.healthy)
            await asyncio.gather(*(publish(log, chat, EPOCH, 7) for chat in chats))
            for sink in sinks.values():
                assert (await sink.reached(7))[-1] == 7
                assert list(dict.fromkeys(sink.seqs)) == sorted(set(sink.seqs))


async def test_concurrent_look_ups_keep_every_sentinel(tmp_path: Path) -> None:
    with sentinel_group(tmp_path) as group:
        async with RedisEventLog(group.options()) as log:
            commands = log._commands
            assert commands._sentinel is not None
            group.sentinels[0].kill()
            for _ in range(5):
                await asyncio.gather(*(commands.topology() for _ in range(20)))
            assert len({id(sentinel) for sentinel in commands._sentinel.sentinels}) == 3
