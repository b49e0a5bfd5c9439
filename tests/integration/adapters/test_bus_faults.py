"""Redis unreachable, silent or hostile: what the adapter loses, what it bounds, and that it reconnects by itself."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest

from roomcast.realtime import EncodedEvent
from roomcast.realtime.adapters.redis import RedisAdapter, RedisAdapterOptions
from roomcast.realtime.cluster.commands import Broadcast, Command, Leave, Selection
from roomcast.redis_client import RedisAddress, RedisOptions
from support.recording_node import RecordingNode
from support.redis_server import RedisServer, running
from support.waiting import until

SEED = int(os.environ.get("SEED", random.randrange(2**32)))


Pair = tuple[RedisAdapter, RedisAdapter, RecordingNode]


@pytest.fixture
async def pair(redis: RedisServer) -> AsyncIterator[Pair]:
    """Two adapters with short timeouts, and the node of the second one."""
    options = RedisOptions(
        addresses=(RedisAddress("127.0.0.1", redis.port),),
        probe_interval_s=0.1,
        probe_timeout_s=0.3,
        connect_timeout_s=0.5,
        retry_max_s=0.1,
    )
    bounds = RedisAdapterOptions(max_message_bytes=200_000, queue_limit_bytes=400_000, queue_limit_s=5.0)
    one, two, node = RedisAdapter(options, bounds), RedisAdapter(options, bounds), RecordingNode()
    one.bind(RecordingNode())
    two.bind(node)
    await one.start()
    await two.start()
    yield one, two, node
    await one.stop()
    await two.stop()


def leave(number: int) -> Command:
    return Leave(Selection("/", (str(number),)), ("r",))


def subscribers(redis: RedisServer) -> bytes:
    return redis.command("PUBSUB", "NUMSUB", "socket.io-request#/#").split(b"\r\n")[-1]


async def test_after_a_restart_of_redis_both_subscribe_once_and_waiting_commands_are_sent(
    redis: RedisServer, pair: Pair
) -> None:
    one, two, node = pair
    await until(lambda: one.healthy and two.healthy)
    redis.kill()
    await until(lambda: not one.ready and not two.ready)
    assert not one.healthy
    # While it is unreachable commands wait, in order.
    redis.start()
    await until(lambda: two.ready)
    one.publish(leave(1))
    one.publish(leave(2))
    await until(lambda: len(node.commands) == 2)
    assert node.commands == [leave(1), leave(2)]
    assert subscribers(redis) == b":2"
    # Distinct patterns: one for each namespace.
    assert redis.command("PUBSUB", "NUMPAT") == b":2"
    assert one.counters.losses["closed"] == 1


async def test_a_redis_that_stops_answering_is_detected_and_disconnected(redis: RedisServer, pair: Pair) -> None:
    one, two, node = pair
    redis.pause()
    await until(lambda: one.counters.losses["deaf"] and two.counters.losses["deaf"])
    assert not one.healthy
    redis.resume()
    await until(lambda: one.healthy and two.healthy)
    one.publish(leave(3))
    await until(lambda: leave(3) in node.commands)
    assert node.commands.count(leave(3)) == 1
    await until(lambda: subscribers(redis) == b":2")


async def test_waiting_messages_are_bounded_and_the_newest_survive(redis: RedisServer, pair: Pair) -> None:
    one, two, node = pair
    redis.kill()
    await until(lambda: not one.ready and not two.ready)
    message = EncodedEvent.from_args("fill", "x" * 50_000)
    for _ in range(100):
        one.publish(Broadcast(Selection("/", None), message))
    one.publish(leave(9))
    assert one._queue.size_bytes <= 400_000
    assert one.counters.dropped["queue-full"] > 90
    redis.start()
    await until(lambda: one.ready and two.ready)
    assert one._queue.size_bytes == 0
    one.publish(Broadcast(Selection("/", None), EncodedEvent.from_args("huge", "x" * 300_000)))
    assert one.counters.dropped["oversize"] == 1
    one.publish(leave(10))
    await until(lambda: leave(10) in node.commands)


async def test_a_disconnected_subscriber_reconnects(redis: RedisServer, pair: Pair) -> None:
    one, two, node = pair
    assert redis.command("CLIENT", "KILL", "TYPE", "pubsub") == b":2"
    await until(lambda: one.counters.connects == 2 and two.counters.connects == 2)
    await until(lambda: one.ready and two.ready)
    one.publish(leave(4))
    await until(lambda: node.commands == [leave(4)])


async def test_it_starts_without_redis_and_connects_once_redis_is_up(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    address = RedisAddress("127.0.0.1", server.port)
    options = RedisOptions(addresses=(address,), connect_timeout_s=0.1, retry_max_s=0.05)
    bounds = RedisAdapterOptions(queue_limit_s=0.2)
    async with AsyncExitStack() as stack:
        one, two, node = RedisAdapter(options, bounds), RedisAdapter(options, bounds), RecordingNode()
        one.bind(RecordingNode())
        two.bind(node)
        for adapter in (one, two):
            await adapter.start()
            stack.push_async_callback(adapter.stop)
        assert not one.ready
        one.publish(leave(1))
        await asyncio.sleep(0.3)  # the test is about the age of waiting messages
        with running(server):
            await until(lambda: one.ready and two.ready)
            one.publish(leave(2))
            await until(lambda: node.commands)
            assert node.commands == [leave(2)]
            assert one.counters.dropped["stale"] == 1
            await one.stop()
            await two.stop()
            await until(lambda: subscribers(server) == b":0")


class PickleBomb:
    """Creates a directory when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(PickleBomb.path),))

    path = Path()


async def test_hostile_messages_execute_nothing_and_end_no_connection(
    redis: RedisServer, pair: Pair, tmp_path: Path
) -> None:
    one, two, node = pair
    PickleBomb.path = tmp_path / "boom"
    print(f"SEED={SEED}")  # noqa: T201 - to run it again
    rng = random.Random(SEED)
    packet = {"type": 2, "data": ["e", {"k": [1, b"\x00"]}], "nsp": "/"}
    good = [
        msgpack.packb(["emitter", packet, {"rooms": ["r"], "except": [], "flags": {}}]),
        json.dumps({"type": 2, "opts": {"rooms": ["a"], "except": []}, "rooms": ["b"]}).encode(),
        json.dumps({"type": 5, "requestId": "q", "opts": {"rooms": [], "except": []}}).encode(),
        msgpack.packb({"type": 7, "requestId": "q", "packet": packet, "opts": {"rooms": [], "flags": {"timeout": 1}}}),
    ]
    hostile = [
        pickle.dumps(PickleBomb()),
        b"",
        b"{",
        b"[" * 10_000,
        b'{"a":' * 10_000,
        b"\x91" * 100_000,
        b"\xdd\x00\x00\xff\xff" * 1_000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        msgpack.packb(msgpack.ExtType(42, b"os.system")),
        msgpack.packb(["emitter", packet | {"type": [2]}, {}]),
        msgpack.packb(["emitter", packet | {"data": [{}]}, {}]),
        msgpack.packb(["emitter", packet | {"data": []}, {}]),
        msgpack.packb(["emitter", packet, {"rooms": {"a": 1}}]),
        msgpack.packb(["emitter", packet, {"rooms": [[]]}]),
        msgpack.packb(["emitter", packet | {"data": ["e", {"_placeholder": True, "num": 0}, b"x"]}, {}]),
        msgpack.packb({"type": 1e308, "opts": []}),
        json.dumps({"type": True, "requestId": []}).encode(),
        json.dumps({"type": 99, "requestId": "q", "v": 3}).encode(),
        json.dumps({"type": 5, "requestId": "q"}).encode(),
        b'{"type":2,"opts":{"rooms":[NaN]}}',
        b'{"type":' + b"9" * 50_000 + b"}",
    ]
    hostile += [_mutated(rng, rng.choice(good)) for _ in range(1_500)]
    channels = [
        "socket.io#/#",
        "socket.io#/#room#",
        b"socket.io#/#\xff\xfe#",
        "socket.io-request#/#",
        "socket.io-response#/#",
        f"socket.io-response#/#{two.uid}#",
    ]
    memory = psutil.Process().memory_info().rss
    reader, writer = await asyncio.open_connection("127.0.0.1", redis.port)
    published = 0
    for data in hostile:
        for channel in channels if published < len(channels) * 22 else [rng.choice(channels)]:
            name = channel.encode() if isinstance(channel, str) else channel
            writer.write(b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(data), data))
            published += 1
        await writer.drain()
        await asyncio.sleep(0)
    for _ in range(published):
        assert (await reader.readline()).startswith(b":")
    writer.close()
    await writer.wait_closed()
    one.publish(leave(5))
    await until(lambda: leave(5) in node.commands)
    assert not PickleBomb.path.exists()
    assert two.counters.dropped["malformed"] > 100
    assert two.counters.dropped["unknown-request"] > 0
    assert two.counters.connects == 1
    assert psutil.Process().memory_info().rss - memory < 64 * 1024 * 1024


def _mutated(rng: random.Random, data: bytes) -> bytes:
    mutated = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        position = rng.randrange(len(mutated))
        match rng.randrange(3):
            case 0:
                mutated[position] = rng.randrange(256)
            case 1:
                del mutated[position:]
                mutated += rng.randbytes(rng.randint(1, 8))
            case _:
                mutated[position:position] = rng.randbytes(rng.randint(1, 8))
    return bytes(mutated)


async def test_a_message_of_40_mb_ends_the_connection_before_it_is_buffered_and_the_adapter_reconnects(
    redis: RedisServer, pair: Pair
) -> None:
    one, two, node = pair
    memory = psutil.Process().memory_info().rss
    block = b"x" * 1_000_000
    reader, writer = await asyncio.open_connection("127.0.0.1", redis.port)
    writer.write(b"*3\r\n$7\r\nPUBLISH\r\n$12\r\nsocket.io#/#\r\n$40000000\r\n")
    for _ in range(40):
        writer.write(block)
        await writer.drain()
    writer.write(b"\r\n")
    await reader.readline()
    writer.close()
    await writer.wait_closed()
    # Redis disconnects a slow subscriber at 32 MiB, the adapter disconnects when a message is too large.
    await until(lambda: sum(two.counters.losses.values()) and sum(one.counters.losses.values()))
    await until(lambda: one.ready and two.ready)
    one.publish(leave(6))
    await until(lambda: node.commands == [leave(6)])
    assert psutil.Process().memory_info().rss - memory < 32 * 1024 * 1024
