"""The sharded and the streams adapter over a Redis Cluster: messages, subscriptions and the stream follow the slots."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from roomcast.realtime.adapters.redis import RedisStreamOptions, RedisStreamsAdapter
from roomcast.realtime.adapters.redis.slot_link import key_of
from roomcast.realtime.cluster.commands import Leave, Selection
from roomcast.redis_client import pack_command
from support.recording_node import RecordingNode
from support.redis_topology import ClusterNodes, redis_cluster
from support.rooms import Rooms
from support.waiting import until

ROOMS = [f"room {number}" for number in range(40)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterNodes]:
    with redis_cluster(tmp_path_factory.mktemp("cluster"), replicas=False) as made:
        yield made


@pytest.fixture
async def servers(nodes: ClusterNodes) -> AsyncIterator[tuple[Rooms, Rooms]]:
    """One looks the slots up rarely, the other one often."""
    rare = Rooms(replace(nodes.options(), topology_interval_s=60))
    often = Rooms(nodes.options())
    async with AsyncExitStack() as stack:
        for server in (rare, often):
            await server.adapter.start()
            stack.push_async_callback(server.adapter.stop)
        yield rare, often


async def subscribed(nodes: ClusterNodes, *servers: Rooms) -> None:
    """Wait until exactly the channels of these servers are subscribed, each on one node."""

    def settled() -> bool:
        found = Counter({name: count for name, count in nodes.shard_channels().items() if "-probe#" not in name})
        return found == Counter(set().union(*(server.channels() for server in servers)))

    await until(settled)


async def test_each_room_is_subscribed_on_the_owner_of_its_slot(
    nodes: ClusterNodes, servers: tuple[Rooms, Rooms]
) -> None:
    one, two = servers
    for room in ROOMS:
        two.join(room)
    await subscribed(nodes, one, two)
    assert len({nodes.owner(f"socket.io#/#{room}#").port for room in ROOMS}) == 3
    for room in ROOMS:
        for number in range(3):
            one.say(room, number)
    await until(lambda: all(two.heard(room) == [0, 1, 2] for room in ROOMS))
    for room in ROOMS[1:]:
        two.leave(room)
    await subscribed(nodes, one, two)
    assert (one.adapter.counters.connects, two.adapter.counters.losses.total()) == (3, 0)


async def test_what_a_former_owner_refuses_is_sent_to_the_new_one_in_order(
    nodes: ClusterNodes, servers: tuple[Rooms, Rooms]
) -> None:
    one, two = servers
    two.join("moved")
    await subscribed(nodes, one, two)
    for start in (0, 100, 200):
        nodes.move_slot("socket.io#/#moved#")
        await until(lambda: two.adapter.ready)
        await subscribed(nodes, one, two)
        for number in range(start, start + 100):
            one.say("moved", number)
            if not number % 10:
                await asyncio.sleep(0)
        await until(lambda start=start: two.heard("moved") == list(range(start + 100)))
    assert two.adapter.counters.revoked == 3
    assert one.adapter.counters.losses.total() == two.adapter.counters.losses.total() == 0
    assert not one.adapter.counters.dropped


async def test_while_slots_move_no_message_arrives_twice_or_early_and_every_subscription_follows(
    nodes: ClusterNodes, servers: tuple[Rooms, Rooms]
) -> None:
    one, two = servers
    for room in ROOMS:
        two.join(room)
    await subscribed(nodes, one, two)

    async def talk() -> None:
        for number in range(10_000):
            for room in ROOMS[:10]:
                one.say(room, number)
            two.join(f"late {number}")
            two.leave(f"late {number - 1}")
            await asyncio.sleep(0.001)  # between the moves, in both processes

    talking = asyncio.create_task(talk())
    moved = [*(f"socket.io#/#{room}#" for room in ROOMS[:10]), "socket.io#/#", f"socket.io#/#{two.adapter.uid}#"]
    moved += [name for _ in range(2) for name in (*two.adapter._pair._by_canary, *one.adapter._pair._by_canary)]
    for name in moved:
        await asyncio.to_thread(nodes.move_slot, name)
    talking.cancel()
    await asyncio.wait({talking})
    await until(lambda: one.adapter.ready and two.adapter.ready)
    await subscribed(nodes, one, two)
    for room in ROOMS[:10]:
        one.say(room, 10_000)
    await until(lambda: all(two.heard(room)[-1:] == [10_000] for room in ROOMS[:10]))
    for room in ROOMS[:10]:
        assert two.heard(room) == sorted(set(two.heard(room)))
    assert two.adapter.counters.revoked >= len(ROOMS[:10])
    await until(lambda: one.adapter.healthy and two.adapter.healthy)


async def test_a_node_that_is_cut_off_stops_only_its_own_channels(
    nodes: ClusterNodes, servers: tuple[Rooms, Rooms]
) -> None:
    one, two = servers
    for room in ROOMS:
        two.join(room)
    await subscribed(nodes, one, two)
    stopped = nodes.owner("socket.io#/#")
    elsewhere = [room for room in ROOMS if nodes.owner(f"socket.io#/#{room}#") is not stopped]
    assert stopped.command("CLIENT", "KILL", "TYPE", "pubsub").startswith(b":")
    for room in elsewhere:
        one.say(room, 1)
    await until(lambda: all(two.heard(room) == [1] for room in elsewhere))
    await until(lambda: one.adapter.ready and two.adapter.ready)
    await subscribed(nodes, one, two)
    assert one.adapter.counters.losses == {"closed": 1}
    for room in ROOMS:
        one.say(room, 2)
    await until(lambda: all(two.heard(room)[-1:] == [2] for room in ROOMS))


async def test_while_the_slot_of_the_stream_moves_every_command_arrives_once_in_order(nodes: ClusterNodes) -> None:
    stream = RedisStreamOptions(stream="moving", block_s=0.2)
    node = RecordingNode()
    one, two = (RedisStreamsAdapter(nodes.options(), stream=stream) for _ in range(2))
    one.bind(RecordingNode())
    two.bind(node)
    async with AsyncExitStack() as stack:
        for adapter in (one, two):
            await adapter.start()
            stack.push_async_callback(adapter.stop)
        commands = [Leave(Selection("/", (str(number),)), ("r",)) for number in range(600)]

        async def publish() -> None:
            for command in commands:
                one.publish(command)
                await asyncio.sleep(0.001)  # between the moves

        publishing = asyncio.create_task(publish())
        await until(lambda: node.commands)
        while not publishing.done():
            await asyncio.to_thread(nodes.move_slot, "moving", ["moving"])
        await until(lambda: len(node.commands) == len(commands))
        assert node.commands == commands
        assert not one.counters.dropped
        assert not two.counters.dropped


async def test_sessions_are_in_their_own_slots_and_taken_once(nodes: ClusterNodes) -> None:
    one, two = (RedisStreamsAdapter(nodes.options(), stream=RedisStreamOptions(block_s=0.2)) for _ in range(2))
    async with AsyncExitStack() as stack:
        for adapter in (one, two):
            adapter.bind(RecordingNode())
            await adapter.start()
            stack.push_async_callback(adapter.stop)
        pids = [str(number) for number in range(20)]
        assert len({nodes.owner(f"sio:session:{pid}").port for pid in pids}) == 3
        for pid in pids:
            one.save_session(pid, {"sid": pid, "pid": pid, "rooms": [], "data": {}}, 60.0)
        taken = [await two.take_session("/", pid) for pid in pids]
        assert [session and session["pid"] for session in taken] == pids
        assert await one.take_session("/", pids[0]) is None


def test_the_key_of_a_command_is_its_first_argument() -> None:
    for key in ("", "a", "ä\r\n$9\r\n", "x" * 1_000):
        assert key_of(pack_command(("SPUBLISH", key, b"data\r\n"))) == key.encode()
        assert key_of(pack_command(("XADD", key, "MAXLEN", "~", "1"))) == key.encode()
    assert key_of(pack_command(("PING",))) == b""
