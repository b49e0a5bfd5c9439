"""The sharded adapter over a Redis Cluster whose masters die, freeze and come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.redis_topology import ClusterNodes, redis_cluster
from support.rooms import Rooms
from support.waiting import until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]

ROOMS = [f"room {number}" for number in range(30)]


async def subscribed(nodes: ClusterNodes, *servers: Rooms) -> None:
    def settled() -> bool:
        found = Counter({name: count for name, count in nodes.shard_channels().items() if "-probe#" not in name})
        return found == Counter(set().union(*(server.channels() for server in servers)))

    await until(settled, limit_s=20)


class Talk:
    """One server talks to every room of another one, which also joins and leaves rooms."""

    def __init__(self, speaker: Rooms, listener: Rooms) -> None:
        self.said = 0
        self._speaker = speaker
        self._listener = listener

    async def run(self) -> None:
        while True:
            self.say()
            self._listener.join(f"late {self.said}")
            self._listener.leave(f"late {self.said - 5}")
            await asyncio.sleep(0.005)  # through the failover

    def say(self) -> None:
        self.said += 1
        for room in ROOMS:
            self._speaker.say(room, self.said)

    async def arrives(self) -> None:
        """Wait until what is said from now on arrives in every room."""
        before = self.said
        await until(lambda: all(max(self._listener.heard(room), default=0) > before for room in ROOMS))


@pytest.mark.parametrize("fault", ["kill", "pause"])
async def test_after_a_failover_rooms_are_subscribed_on_the_promoted_master(tmp_path: Path, fault: str) -> None:
    with redis_cluster(tmp_path) as nodes:
        one, two = Rooms(nodes.options()), Rooms(nodes.options())
        async with AsyncExitStack() as stack:
            for server in (one, two):
                await server.adapter.start()
                stack.push_async_callback(server.adapter.stop)
            for room in ROOMS:
                two.join(room)
            await subscribed(nodes, one, two)
            master, replica = nodes.servers[1], nodes.servers[4]
            calm = [room for room in ROOMS if nodes.owner(f"socket.io#/#{room}#") is not master]
            assert 0 < len(calm) < len(ROOMS)
            talk = Talk(one, two)
            talking = asyncio.create_task(talk.run())
            await talk.arrives()
            getattr(master, fault)()
            await until(lambda: b"role:master" in replica.command("INFO", "replication"), limit_s=30)
            await until(lambda: one.adapter.ready and two.adapter.ready, limit_s=20)
            await talk.arrives()
            (master.start if fault == "kill" else master.resume)()
            await until(lambda: b"role:slave" in master.command("INFO", "replication"), limit_s=20)
            await until(lambda: one.adapter.healthy and two.adapter.healthy, limit_s=20)
            talking.cancel()
            await asyncio.wait({talking})
            await subscribed(nodes, one, two)
            talk.say()
            await until(lambda: all(two.heard(room)[-1] == talk.said for room in ROOMS))
            for room in ROOMS:
                heard = two.heard(room)
                assert len(heard) == len(set(heard))
                # A frozen master has read commands that it executes when it resumes; the others pass them on.
                assert fault == "pause" or heard == sorted(heard)
            for room in calm:  # the other masters were connected throughout
                assert two.heard(room) == list(range(1, talk.said + 1))
            assert one.adapter.counters.losses
            assert two.adapter.counters.losses


async def test_repeated_manual_failovers_deliver_nothing_twice(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as nodes:
        one, two = Rooms(nodes.options()), Rooms(nodes.options())
        async with AsyncExitStack() as stack:
            for server in (one, two):
                await server.adapter.start()
                stack.push_async_callback(server.adapter.stop)
            for room in ROOMS:
                two.join(room)
            await subscribed(nodes, one, two)
            talk = Talk(one, two)
            talking = asyncio.create_task(talk.run())
            for number in range(9):
                pair = (nodes.servers[number % 3], nodes.servers[number % 3 + 3])
                (replica,) = (node for node in pair if b"role:slave" in node.command("INFO", "replication"))
                await until(lambda replica=replica: b"master_link_status:up" in replica.command("INFO", "replication"))
                assert replica.command("CLUSTER", "FAILOVER") == b"+OK"
                await until(lambda replica=replica: b"role:master" in replica.command("INFO", "replication"))
                await until(lambda: one.adapter.ready and two.adapter.ready)
                await talk.arrives()
            talking.cancel()
            await asyncio.wait({talking})
            await subscribed(nodes, one, two)
            for room in ROOMS:
                assert len(two.heard(room)) == len(set(two.heard(room)))
            await until(lambda: one.adapter.healthy and two.adapter.healthy)
