"""The directory of nodes in Redis: expiry of leases, loss of data, malformed records."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from roomcast.realtime.cluster.nodes import DirectoryUnavailable, NodeAddress
from roomcast.realtime.forwarding.redis_directory import DirectoryOptions, RedisDirectory
from roomcast.redis_client import Commands, RedisAddress, RedisOptions
from support.redis_server import RedisServer
from support.redis_topology import redis_cluster
from support.stopwatch import Stopwatch
from support.waiting import until

QUICK = DirectoryOptions(lease_s=0.6, renew_s=0.1, missing_s=0.3, fresh_s=0.01, wait_s=0.2)
LIMIT_S = 10.0
NO_HOSTS = (
    "",
    ".",
    "..",
    "a..b",
    ".a",
    "a:b:c",
    "1.2.3.999",
    "1.2.3",
    "12",
    "-a",
    "a-",
    "a.-b",
    "a b",
    "\u00e9",
)
NO_HOSTS += ("a" * 64, "a." * 127 + "aa", "::1%eth0", "[::1]", "a/b", "a\n")


def at(redis: RedisServer) -> RedisOptions:
    return RedisOptions(addresses=(RedisAddress("127.0.0.1", redis.port),), command_timeout_s=0.5)


def in_a_minute() -> str:
    """The end of a lease that other nodes respect, in milliseconds."""
    return str(round(time.time() * 1_000) + 60_000)


@asynccontextmanager
async def member(
    options: RedisOptions, port: int, times: DirectoryOptions = QUICK
) -> AsyncIterator[tuple[RedisDirectory, asyncio.Task[None]]]:
    """An announced node that renews its lease; at the end it leaves, unless its task was cancelled before."""
    commands = Commands(options)
    directory = RedisDirectory(commands, times)
    directory.announce(NodeAddress("127.0.0.1", port, f"secret-{port}"))
    task = asyncio.create_task(directory.run())
    try:
        yield directory, task
    finally:
        killed = task.cancelled() or task.cancelling()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if not killed:
            await directory.leave()
        await commands.close()


async def until_alive(directory: RedisDirectory, nodes: set[str]) -> float:
    """Seconds until the directory lists exactly these nodes."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    await until(lambda: set(directory.alive()) == nodes)
    return loop.time() - began


async def test_nodes_find_each_other_and_a_leaving_node_is_removed(redis: RedisServer) -> None:
    async with member(at(redis), 1001) as (first, _):
        async with member(at(redis), 1002) as (second, _):
            await until_alive(first, {first.node_id, second.node_id})
            await until_alive(second, {first.node_id, second.node_id})
            assert await first.look_up(second.node_id) == NodeAddress("127.0.0.1", 1002, "secret-1002")
            assert "secret-1002" not in repr(await first.look_up(second.node_id))
        await until_alive(first, {first.node_id})
        assert await first.look_up(second.node_id) is None


async def test_a_node_that_has_left_sends_no_more_queries(redis: RedisServer) -> None:
    async with member(at(redis), 1001) as (first, _):
        await until_alive(first, {first.node_id})
        await first.leave()
        renewals = first.counters["renewals"]
        with pytest.raises(DirectoryUnavailable):
            await first.look_up("00000000")
        assert first.counters["renewals"] == renewals
        assert redis.command("ZCARD", "roomcast:{nodes}:leases") == b":0"


async def test_a_node_that_has_just_started_is_found_at_once(redis: RedisServer) -> None:
    slow = DirectoryOptions(lease_s=60, renew_s=30, fresh_s=0.01, wait_s=5.0)
    async with member(at(redis), 1001, slow) as (first, _):
        await until_alive(first, {first.node_id})
        async with member(at(redis), 1002, slow) as (second, _):
            async with asyncio.timeout(2):
                assert await first.look_up(second.node_id) is not None


async def test_the_lease_of_a_killed_node_expires(redis: RedisServer) -> None:
    async with member(at(redis), 1001) as (first, _), member(at(redis), 1002) as (second, second_task):
        await until_alive(first, {first.node_id, second.node_id})
        second_task.cancel()
        took = await until_alive(first, {first.node_id})
        assert took >= QUICK.missing_s
        assert took <= QUICK.lease_s + QUICK.missing_s + 4 * QUICK.renew_s + 1


async def test_the_lease_of_a_killed_node_expires_after_the_clock_of_redis_was_set_back(redis: RedisServer) -> None:
    async with member(at(redis), 1001) as (first, _), member(at(redis), 1002) as (second, second_task):
        await until_alive(first, {first.node_id, second.node_id})
        second_task.cancel()
        # As it would be with a clock that was set back by an hour.
        redis.command("ZINCRBY", "roomcast:{nodes}:leases", "3600000", second.node_id)
        await until_alive(first, {first.node_id})


async def test_neither_an_empty_nor_an_unreachable_redis_evicts_a_node(redis: RedisServer) -> None:
    async with member(at(redis), 1001) as (first, _), member(at(redis), 1002) as (second, _):
        both = {first.node_id, second.node_id}
        await until_alive(first, both)
        await until_alive(second, both)
        gone_before = first.counters["gone"] + second.counters["gone"]
        redis.command("FLUSHALL")
        await asyncio.to_thread(redis.kill)
        await until(lambda: first.renewal.failures and second.renewal.failures)
        assert set(first.alive()) == both
        assert await first.look_up(second.node_id) is not None
        with pytest.raises(DirectoryUnavailable):
            await first.look_up("unknown1")
        await asyncio.to_thread(redis.start)
        before = [directory.counters["renewals"] for directory in (first, second)]
        for directory, renewals in zip((first, second), before, strict=True):
            await until(lambda d=directory, r=renewals: d.counters["renewals"] >= r + 6)
        assert set(first.alive()) == set(second.alive()) == both
        assert first.counters["gone"] + second.counters["gone"] == gone_before


async def test_malformed_records_are_ignored_and_counted(redis: RedisServer) -> None:
    async with member(at(redis), 1001, replace(QUICK, lease_s=60)) as (first, _):
        await until_alive(first, {first.node_id})
        junk = {
            "AAAAAAAA": b"\x80\x04pickle",
            "BBBBBBBB": b"[]",
            "CCCCCCCC": b'{"host":"a b","port":1,"secret":"s"}',
            "DDDDDDDD": b'{"host":"h","port":70000,"secret":"s"}',
            "EEEEEEEE": b'{"host":"h","port":true,"secret":"s"}',
            "FFFFFFFF": b'{"host":"h","port":1,"secret":""}',
            "GGGGGGGG": b"x" * 5_000,
            "too long to be an id": b'{"host":"h","port":1,"secret":"s"}',
            "\xff": b"{",
            "HHHHHHHH": b"[" * 1_024,
        }
        for number, host in enumerate(NO_HOSTS):
            junk[f"{number:08}"] = json.dumps({"host": host, "port": 1, "secret": "s"}).encode()
        for node_id, record in junk.items():
            redis.command("ZADD", "roomcast:{nodes}:leases", in_a_minute(), node_id)
            redis.command("HSET", "roomcast:{nodes}:records", node_id, record)
        await until(lambda: first.counters["malformed"] >= len(junk))
        assert set(first.alive()) == {first.node_id}
        async with member(at(redis), 1002) as (second, _):
            assert await first.look_up(second.node_id) is not None


async def test_addresses_and_names_are_hosts(redis: RedisServer) -> None:
    async with member(at(redis), 1001, replace(QUICK, lease_s=60)) as (first, _):
        hosts = (
            "10.0.0.1",
            "::1",
            "2001:db8::7",
            "localhost",
            "gateway-1.example.internal",
            "chat_gateway_1",
            "3com.test",
            "a.test.",
        )
        nodes = {f"{number:08}": host for number, host in enumerate(hosts)}
        for node_id, host in nodes.items():
            record = json.dumps({"host": host, "port": 1, "secret": "s"})
            redis.command("ZADD", "roomcast:{nodes}:leases", in_a_minute(), node_id)
            redis.command("HSET", "roomcast:{nodes}:records", node_id, record)
        await until_alive(first, {first.node_id, *nodes})
        assert {node_id: await first.look_up(node_id) for node_id in nodes} == {
            node_id: NodeAddress(host, 1, "s") for node_id, host in nodes.items()
        }
        assert not first.counters["malformed"]


async def test_the_number_of_waiting_look_ups_of_unknown_nodes_is_bounded(redis: RedisServer) -> None:
    few = replace(QUICK, max_waiting=2, wait_s=5.0)
    async with member(at(redis), 1001, few) as (first, _), member(at(redis), 1002) as (second, _):
        await until_alive(first, {first.node_id, second.node_id})
        waiting = [asyncio.create_task(first.look_up(f"unknown{number}")) for number in range(2)]
        await asyncio.sleep(0)  # the tasks have started
        stopwatch = Stopwatch()
        for _ in range(3):
            with pytest.raises(DirectoryUnavailable):
                await first.look_up("unknown3")
            assert await first.look_up(second.node_id) is not None
        assert stopwatch.elapsed_s < 1
        # An id that comes from another node does not count against the limit.
        asked = asyncio.create_task(first.is_alive("unknown3"))
        leaving = waiting.pop()
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        async with member(at(redis), 1003) as (third, _):
            assert await first.look_up(third.node_id) is not None  # a slot is free again
        for task in (*waiting, asked):
            assert not task.done()
            task.cancel()
        await asyncio.gather(*waiting, asked, return_exceptions=True)


async def test_every_key_has_a_time_to_live(redis: RedisServer) -> None:
    async with member(at(redis), 1001) as (first, _):
        await until_alive(first, {first.node_id})
        await until(lambda: redis.command("DBSIZE") == b":2")
        for key in ("roomcast:{nodes}:leases", "roomcast:{nodes}:records"):
            assert 0 < int(redis.command("PTTL", key)[1:]) <= 10_000


async def test_the_directory_works_in_a_redis_cluster(tmp_path: Path) -> None:
    with redis_cluster(tmp_path / "redis") as nodes:
        addresses = tuple(RedisAddress("127.0.0.1", server.port) for server in nodes.servers)
        options = RedisOptions(addresses=addresses, cluster=True)
        async with member(options, 1001) as (first, _), member(options, 1002) as (second, _):
            await until_alive(first, {first.node_id, second.node_id})


@pytest.mark.parametrize("key", ["roomcast:{nodes}:leases", "roomcast:{nodes}:records"])
async def test_a_key_of_another_type_is_replaced_and_no_node_is_lost(redis: RedisServer, key: str) -> None:
    async with member(at(redis), 1001) as (first, _), member(at(redis), 1002) as (second, _):
        both = {first.node_id, second.node_id}
        await until_alive(first, both)
        redis.command("DEL", key)
        redis.command("SET", key, "x")
        await until(lambda: redis.command("TYPE", key) != b"+string")
        # A node that starts after the damage finds the others.
        async with member(at(redis), 1003) as (third, _):
            await until_alive(third, {*both, third.node_id})
        assert first.renewal.error is None


async def test_nodes_find_each_other_while_redis_has_no_memory(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "maxmemory", "1")
    try:
        async with member(at(redis), 1001) as (first, _), member(at(redis), 1002) as (second, _):
            await until_alive(first, {first.node_id, second.node_id})
    finally:
        redis.command("CONFIG", "SET", "maxmemory", "0")
