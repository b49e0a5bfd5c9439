"""Full load while processes are killed, stopped or cut off: `ClientPool.check` after each run, with printed figures."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path

import pytest

from chaos.cluster.client_pool import Plan
from chaos.cluster.deployment import Faults, new_seed, report, running_deployment, scaled
from support.clients import ChatClient
from support.postgres_server import running as postgres
from support.redis_server import RedisServer, environment
from support.redis_topology import MASTER_NAME, redis_cluster, sentinel_group

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


async def test_a_gateway_killed_and_redis_restarted_in_mid_run(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    plan = Plan(members=scaled(200), chats=("team",))
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        faults = Faults.from_seed(seed, len(deployment.gateways))
        async with deployment.clients(plan, seed) as pool:
            await pool.ready()
            load = asyncio.create_task(pool.send(scaled(3_000), per_s=scaled(3_000) / 20))
            await asyncio.sleep(faults.kill_after_s)
            await asyncio.to_thread(deployment.gateways[faults.victim].kill)
            await asyncio.sleep(faults.restart_after_s)
            await asyncio.to_thread(redis.restart)
            assert not load.done(), "the fault came after the load"
            after_fault = await pool.caught_up()
            await load
            at_end = await pool.caught_up()
            report(await pool.check())
            report(f"caught up {after_fault:.2f} s after the restart, {at_end:.2f} s after the last send")
            assert after_fault <= 10
            assert at_end <= 10


async def test_redis_away_for_thirty_seconds_under_load(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    away_s = 30.0
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        async with deployment.clients(Plan(members=scaled(100), chats=("a", "b")), seed) as pool:
            await pool.ready()
            load = asyncio.create_task(pool.send(scaled(1_600), per_s=scaled(1_600) / 38))
            await asyncio.sleep(3)
            await asyncio.to_thread(redis.kill)
            before = len(pool.acknowledged)
            await asyncio.sleep(away_s)
            without = len(pool.acknowledged) - before
            await asyncio.to_thread(redis.start)
            assert not load.done(), "the fault came after the load"
            after_fault = await pool.caught_up()
            await load
            await pool.caught_up()
            report(await pool.check())
            report(f"{without} acknowledged without Redis; caught up {after_fault:.2f} s after its return")
            assert without > 0
            assert pool.counters.failed_sends == 0
            assert after_fault <= 5


async def test_redis_flushed_in_mid_run(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        async with deployment.clients(Plan(members=scaled(200), chats=("a", "b", "c")), seed) as pool:
            await pool.ready()
            load = asyncio.create_task(pool.send(scaled(3_000), per_s=scaled(3_000) / 15))
            for _ in range(3):
                await asyncio.sleep(chance.uniform(1, 3))
                assert redis.command("FLUSHALL") == b"+OK"
            assert not load.done(), "the fault came after the load"
            after_fault = await pool.caught_up()
            await load
            await pool.caught_up()
            report(await pool.check())
            report(f"caught up {after_fault:.2f} s after the last of 3 flushes")
            assert after_fault <= 10


async def test_a_sentinel_failover_that_loses_a_tail(tmp_path: Path) -> None:
    seed = new_seed()
    with sentinel_group(tmp_path / "redis") as group:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in group.sentinels)
        url = f"redis+sentinel://{places}/{MASTER_NAME}"
        with running_deployment(tmp_path / "data", {"REDIS_URL": url}) as deployment:
            async with deployment.clients(Plan(members=scaled(100), chats=("a", "b")), seed) as pool:
                await pool.ready()
                load = asyncio.create_task(pool.send(scaled(1_500), per_s=scaled(1_500) / 15))
                await asyncio.sleep(3)
                master = group.master()
                replica = next(server for server in group.servers if server is not master)
                # The replica misses the next writes and is then promoted.
                replica.pause()
                await asyncio.sleep(0.4)
                await asyncio.to_thread(master.kill)
                replica.resume()
                killed = time.monotonic()
                async with asyncio.timeout(20):
                    while b"role:master" not in replica.command("INFO", "replication"):  # noqa: ASYNC110 - see below
                        await asyncio.sleep(0.05)  # Redis sends no event
                failover_s = time.monotonic() - killed
                assert not load.done(), "the fault came after the load"
                after_fault = await pool.caught_up()
                await load
                await pool.caught_up()
                report(await pool.check())
                report(f"failover took {failover_s:.2f} s; caught up {after_fault:.2f} s after it")


async def test_a_cluster_master_killed(tmp_path: Path) -> None:
    seed = new_seed()
    chats = ("a", "b", "c", "d", "e", "f")
    with redis_cluster(tmp_path / "redis") as nodes:
        url = "redis+cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in nodes.servers)
        with running_deployment(tmp_path / "data", {"REDIS_URL": url}) as deployment:
            async with deployment.clients(Plan(members=scaled(120), chats=chats), seed) as pool:
                await pool.ready()
                load = asyncio.create_task(pool.send(scaled(1_500), per_s=scaled(1_500) / 15))
                await asyncio.sleep(3)
                await asyncio.to_thread(random.Random(seed).choice(nodes.servers[:3]).kill)
                killed = time.monotonic()
                survivor = next(server for server in nodes.servers if server.process is not None)
                async with asyncio.timeout(20):
                    # The other masters notice the failure, then promote a replica.
                    while b"cluster_slots_ok:16384" in survivor.command("CLUSTER", "INFO"):  # noqa: ASYNC110 - see below
                        await asyncio.sleep(0.05)  # Redis sends no event
                    while b"cluster_state:ok" not in survivor.command("CLUSTER", "INFO"):  # noqa: ASYNC110 - see below
                        await asyncio.sleep(0.05)  # Redis sends no event
                failover_s = time.monotonic() - killed
                assert not load.done(), "the fault came after the load"
                after_fault = await pool.caught_up()
                await load
                await pool.caught_up()
                report(await pool.check())
                report(f"failover took {failover_s:.2f} s; caught up {after_fault:.2f} s after it")


async def test_clients_cut_for_two_seconds_every_ten(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    plan = Plan(members=scaled(200), chats=("a", "b"), reconnect_s=(2.0, 2.0))
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        async with deployment.clients(plan, seed) as pool:
            await pool.ready()
            load = asyncio.create_task(pool.send(scaled(2_000), per_s=scaled(2_000) / 32))

            async def cut(number: int) -> None:
                # The cuts are spread over the ten seconds.
                await asyncio.sleep(10 * number / plan.members)
                for _ in range(3):
                    pool.members[number].cut()
                    await asyncio.sleep(10)

            await asyncio.gather(*(cut(number) for number in range(plan.members)))
            await load
            at_end = await pool.caught_up()
            report(await pool.check())
            report(f"caught up {at_end:.2f} s after the last send")
            counters = pool.counters
            assert counters.cuts >= 3 * plan.members
            assert (counters.recovered, counters.pages) == (counters.joins, 0), (
                "not every join was answered with a replay"
            )
            # Each client was away for two seconds, then got the rest at once.
            assert counters.delay_s(1) <= 5


async def test_a_rolling_restart_of_three_gateways(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    plan = Plan(members=scaled(1_000), chats=tuple(f"chat-{number}" for number in range(20)))
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        async with deployment.clients(plan, seed) as pool:
            await pool.ready(40)
            began = time.monotonic()
            load = asyncio.create_task(pool.send(scaled(1_500), per_s=scaled(1_500) / 20))
            waves = []
            for gateway in deployment.gateways:
                await asyncio.sleep(1)
                stopping = time.monotonic()
                await asyncio.to_thread(gateway.stop, signal.SIGTERM)
                await asyncio.to_thread(gateway.start)
                await pool.ready(20)
                waves.append(pool.counters.peak_joins(stopping))
            took = time.monotonic() - began
            await load
            at_end = await pool.caught_up()
            report(await pool.check())
            report(
                f"rolled in {took:.1f} s; most joins in 100 ms per gateway {waves}; caught up {at_end:.2f} s at the end"
            )
            assert pool.counters.failed_sends == 0
            assert not pool.counters.join_errors
            assert pool.counters.resets == 0
            assert pool.counters.delay_s(0.99) <= 5


async def test_a_gateway_stopped_for_a_minute_and_continued(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    plan = Plan(members=scaled(150), chats=("a", "b"))
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        async with deployment.clients(plan, seed) as pool:
            await pool.ready()
            load = asyncio.create_task(pool.send(scaled(3_400), per_s=scaled(3_400) / 68))
            await asyncio.sleep(2)
            # Member n connects to gateway n % 3 first. A real client leaves when its pings are overdue.
            frozen = [member for member in pool.members if member.number % 3 == 0]
            waiting, leaving = frozen[::2], frozen[1::2]
            held = {member.number: member.connections[-1] for member in waiting}
            for member in waiting:
                assert member.client is not None
                member.client.ignores_heartbeat = True
            pid = deployment.gateways[0].pid
            os.kill(pid, signal.SIGSTOP)
            try:
                slowest = 0.0
                for _ in range(60):
                    await asyncio.sleep(1)
                    slowest = max(slowest, await pool.caught_up(5, without=frozen))
            finally:
                had = {number: len(connection.received) for number, connection in held.items()}
                moved = sum(member.joined.is_set() and len(member.connections) > 1 for member in leaving)
                os.kill(pid, signal.SIGCONT)
            assert all(member.connections[-1] is held[member.number] for member in waiting), (
                "some did not stay connected"
            )
            after = await pool.caught_up()
            await load
            await pool.caught_up()
            # The check includes the connections of the stopped gateway: nothing stale, repeated or out of order.
            report(await pool.check())
            added = [len(connection.received) - had[number] for number, connection in held.items()]
            stayed = sum(member.connections[-1] is held[member.number] for member in waiting)
            report(
                f"the others were at most {slowest:.2f} s behind; {moved} of {len(leaving)} had moved before SIGCONT,"
                f" {len(waiting)} waited; all caught up {after:.2f} s after it, {stayed} on the connection that"
                f" they had, which received {min(added)} to {max(added)} more events"
            )
            assert slowest <= 1
            assert moved >= len(leaving) / 2
            assert after <= 10


async def test_postgresql_killed_and_restarted_under_load(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    chance = random.Random(seed)
    with postgres(durable=True) as database:
        env = {**environment(redis), "DATABASE_URL": database.url(database.create_database())}
        with running_deployment(tmp_path / "data", env) as deployment:
            async with deployment.clients(Plan(members=scaled(100), chats=("a", "b")), seed) as pool:
                await pool.ready()
                load = asyncio.create_task(pool.send(scaled(2_000), per_s=scaled(2_000) / 18))
                recoveries = []
                for _ in range(2):
                    await asyncio.sleep(chance.uniform(2, 4))
                    await asyncio.to_thread(database.kill)
                    await asyncio.sleep(chance.uniform(0.5, 2))
                    await asyncio.to_thread(database.start)
                    began, before = time.monotonic(), len(pool.acknowledged)
                    async with asyncio.timeout(20):
                        while len(pool.acknowledged) == before:  # noqa: ASYNC110 - see below
                            await asyncio.sleep(0.01)  # the counter has no event
                    recoveries.append(round(time.monotonic() - began, 2))
                assert not load.done(), "the fault came after the load"
                after_fault = await pool.caught_up()
                await load
                await pool.caught_up()
                report(await pool.check())
                report(f"sends went on {recoveries} s after the restarts; caught up {after_fault:.2f} s after the last")
                assert pool.counters.failed_sends > 0


async def test_a_minute_of_idle_redis_breaks_nothing(tmp_path: Path, redis: RedisServer) -> None:
    seed = new_seed()
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        async with deployment.clients(Plan(members=scaled(60), chats=("a", "b")), seed) as pool:
            await pool.ready()
            await pool.send(20, per_s=100)
            await pool.caught_up()
            await asyncio.sleep(61)
            before = pool.counters.joins
            del pool.counters.delays_s[:]
            await pool.send(200, per_s=100)
            await pool.caught_up()
            report(await pool.check())
            counters = pool.counters
            report(f"after a minute of silence the slowest of 200 messages took {counters.delay_s(1) * 1000:.0f} ms")
            assert counters.delay_s(1) <= 1
            assert (counters.joins, counters.cuts, counters.pages, counters.resyncs) == (before, 0, 0, 0)


async def test_the_users_of_a_killed_gateway_are_gone_within_thirty_seconds(tmp_path: Path, redis: RedisServer) -> None:
    with running_deployment(tmp_path / "data", environment(redis)) as deployment:
        async with (
            ChatClient(deployment.gateways[0].gateway_url) as ann,
            ChatClient(deployment.gateways[1].gateway_url) as ben,
        ):
            for client, user in ((ann, "ann"), (ben, "ben")):
                assert (await client.call("join-user", user))["ok"] is True
                assert (await client.join("a"))["ok"] is True
            online: set[str] = set()
            async with asyncio.timeout(10):
                while online != {"ann", "ben"}:
                    name, data = await ann.next_event(10)
                    if name == "presence":
                        online = (set() if data["reset"] else online) | set(data["online"])
            deployment.gateways[1].kill()
            killed = time.monotonic()
            async with asyncio.timeout(40):
                while True:
                    name, data = await ann.next_event(40)
                    if name == "presence" and data["offline"] == ["ben"]:
                        break
            took_s = time.monotonic() - killed
            report(f"the other members were notified {took_s:.1f} s after the gateway was killed")
            assert took_s <= 30
