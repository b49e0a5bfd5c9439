"""The adapter with Sentinel, with a Redis Cluster, with a password, and with an address that is down."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from roomcast.realtime.adapters.redis import RedisAdapter
from roomcast.realtime.cluster.commands import Command, Leave, Selection
from roomcast.redis_client import RedisAddress, RedisOptions
from support.recording_node import RecordingNode
from support.redis_server import RedisServer, running
from support.redis_topology import redis_cluster, sentinel_group
from support.waiting import until


def leave(number: int) -> Command:
    return Leave(Selection("/", (str(number),)), ("r",))


async def test_after_a_failover_all_adapters_use_the_new_master(tmp_path: Path) -> None:
    with sentinel_group(tmp_path, sentinels_wanted=1) as group:
        async with AsyncExitStack() as stack:
            one, two, node = RedisAdapter(group.options()), RedisAdapter(group.options()), RecordingNode()
            one.bind(RecordingNode())
            two.bind(node)
            for adapter in (one, two):
                await adapter.start()
                stack.push_async_callback(adapter.stop)
            assert one.ready
            old = group.master()
            # Its connections stay open, and it does not answer.
            old.pause()
            await until(lambda: one.counters.losses and two.counters.losses)
            await until(lambda: group.master() is not old, limit_s=20)
            await until(lambda: one.healthy and two.healthy, limit_s=20)
            one.publish(leave(1))
            await until(lambda: node.commands == [leave(1)])
            assert b":2" in group.master().command("PUBSUB", "NUMSUB", "socket.io-request#/#")


async def test_the_password_is_sent_and_a_rejected_one_is_not_logged(tmp_path: Path, caplog: Any) -> None:
    # The harness has no password: the default user may only ping.
    users = ("--user", "default", "on", "nopass", "+ping", "--user", "app", "on", ">s3cret", "allchannels", "+@all")
    with running(RedisServer(tmp_path, arguments=users)) as server:
        address = RedisAddress("127.0.0.1", server.port)
        good = RedisAdapter(RedisOptions(addresses=(address,), username="app", password="s3cret"))
        bad = RedisAdapter(RedisOptions(addresses=(address,), username="app", password="wr0ng", connect_timeout_s=0.3))
        for adapter in (good, bad):
            adapter.bind(RecordingNode())
            await adapter.start()
        assert (good.ready, bad.ready) == (True, False)
        await good.stop()
        await bad.stop()
    assert "WRONGPASS" in caplog.text
    assert "wr0ng" not in caplog.text


async def test_a_cluster_address_that_is_down_is_skipped(tmp_path: Path) -> None:
    dead = RedisServer(tmp_path / "dead")
    with running(RedisServer(tmp_path / "live")) as server:
        addresses = tuple(RedisAddress("127.0.0.1", port) for port in (dead.port, server.port))
        adapter = RedisAdapter(RedisOptions(addresses=addresses, cluster=True))
        adapter.bind(RecordingNode())
        await adapter.start()
        assert adapter.ready
        await adapter.stop()


async def test_any_cluster_node_carries_commands_and_a_lost_one_is_replaced_by_the_next(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=False) as nodes:
        addresses = [RedisAddress("127.0.0.1", server.port) for server in nodes.servers]
        fast = {"cluster": True, "probe_interval_s": 0.2, "connect_timeout_s": 0.5}
        async with AsyncExitStack() as stack:
            one = RedisAdapter(RedisOptions(addresses=(addresses[0], addresses[1]), **fast))
            two, node = RedisAdapter(RedisOptions(addresses=(addresses[2],), **fast)), RecordingNode()
            one.bind(RecordingNode())
            two.bind(node)
            for adapter in (one, two):
                await adapter.start()
                stack.push_async_callback(adapter.stop)
            one.publish(leave(1))
            await until(lambda: node.commands == [leave(1)])
            nodes.servers[0].kill()
            await until(lambda: one.counters.losses and one.ready)
            one.publish(leave(2))
            await until(lambda: node.commands == [leave(1), leave(2)])
            # Soon the remaining masters refuse every command that has a key, but they still publish.
            await until(lambda: nodes.servers[2].command("GET", "x").startswith(b"-CLUSTERDOWN"))
            down_at = asyncio.get_running_loop().time()
            await until(lambda: two._pair is not None and two._pair.proven_at > down_at + 0.5)
            assert (two.counters.connects, two.counters.losses.total()) == (1, 0)
