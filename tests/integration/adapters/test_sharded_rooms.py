"""The sharded adapter: Redis has a subscription for exactly the rooms in use, whatever happens to the connection."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from roomcast.realtime.adapters.redis import RedisAdapter, RedisStreamsAdapter, ShardedRedisAdapter
from roomcast.redis_client import RedisAddress, RedisOptions
from support.recording_node import RecordingNode
from support.redis_server import RedisServer
from support.rooms import Rooms
from support.tcp_proxy import TcpProxy
from support.waiting import until


def options(port: int) -> RedisOptions:
    return RedisOptions(addresses=(RedisAddress("127.0.0.1", port),), probe_interval_s=0.2, retry_max_s=0.1)


def subscribed(redis: RedisServer) -> set[str]:
    return set(redis.command("PUBSUB", "SHARDCHANNELS").decode().split("\r\n")[2::2])


@asynccontextmanager
async def started(adapter: RedisAdapter) -> AsyncIterator[None]:
    await adapter.start()
    try:
        yield
    finally:
        await adapter.stop()


async def test_rooms_joined_and_left_at_every_step_of_connecting_are_subscribed_and_unsubscribed(
    redis: RedisServer,
) -> None:
    numbers = itertools.count()

    def step() -> float:
        # Called for each chunk between the adapter and Redis, so at every step of connecting.
        if not rooms.adapter.ready:
            number = next(numbers)
            rooms.join(f"room {number}")
            rooms.leave(f"room {number - 2}")
            rooms.join(f"kept {number}")
        return 0.0

    async with TcpProxy(redis.port, step) as proxy:
        rooms = Rooms(options(proxy.port))
        async with started(rooms.adapter):
            for connects in (1, 2, 3):
                await until(lambda connects=connects: rooms.adapter.counters.connects == connects)
                await until(lambda: subscribed(redis) == rooms.channels())
                before = len(rooms.node.members)
                proxy.cut()
                await until(lambda: not rooms.adapter.ready)
                await until(lambda before=before: len(rooms.node.members) > before + 4)
            await until(lambda: rooms.adapter.ready)
            await until(lambda: subscribed(redis) == rooms.channels())


async def test_a_namespace_that_is_no_longer_served_leaves_nothing_behind(redis: RedisServer) -> None:
    class Bare(RecordingNode):
        def namespaces(self) -> Collection[str]:
            return ("/",)

    for kind in (RedisAdapter, ShardedRedisAdapter, RedisStreamsAdapter):
        adapter = kind(options(redis.port))
        adapter.bind(Bare())
        async with started(adapter):
            sizes = {name: len(value) for name, value in vars(adapter).items() if isinstance(value, dict | set)}
            for number in range(50):
                adapter.serve(f"/{number}")
                if isinstance(adapter, ShardedRedisAdapter):
                    adapter.watch_room(f"/{number}", "room", True)
            for number in range(50):
                adapter.unserve(f"/{number}")
            assert {name: len(getattr(adapter, name)) for name in sizes} == sizes, kind
            await until(lambda: len(subscribed(redis)) <= 2)
            # The patterns and channels of one namespace at most.
            await until(lambda: redis.command("PUBSUB", "NUMPAT") in {b":0", b":1"})
            await until(lambda: redis.command("PUBSUB", "CHANNELS").count(b"$") <= 3)


async def test_hundreds_of_rooms_change_while_redis_is_cut_frozen_and_restarted(redis: RedisServer) -> None:
    async with TcpProxy(redis.port) as proxy:
        rooms = Rooms(
            RedisOptions(
                addresses=(RedisAddress("127.0.0.1", proxy.port),),
                probe_interval_s=0.05,
                probe_timeout_s=0.2,
                connect_timeout_s=0.3,
                retry_max_s=0.02,
            )
        )
        faults = itertools.cycle((proxy.cut, redis.pause, redis.resume, redis.restart))
        async with started(rooms.adapter):
            for number in range(600):
                rooms.join(f"room {number}")
                if number % 3:
                    rooms.leave(f"room {number // 2}")
                if number % 50 == 25:
                    next(faults)()
                await asyncio.sleep(0.001)  # the faults fall into the changes
            redis.resume()
            await until(lambda: rooms.adapter.ready)
            await until(lambda: subscribed(redis) == rooms.channels())
            assert rooms.adapter.counters.losses
