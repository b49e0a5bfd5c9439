"""Two APIs on PostgreSQL whose publishing is delayed at random: one total order, delivered live without a backfill."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chaos.cluster.client_pool import Plan, percentile
from chaos.cluster.deployment import new_seed, report, running_deployment, scaled
from support.metrics import metrics
from support.ports import free_port
from support.postgres_server import PostgresServer
from support.postgres_server import running as running_postgres
from support.redis_server import RedisServer, environment
from support.tcp_proxy import TcpProxy

LONGEST_DELAY_S = 0.03
SPARSE_PER_S = 25.0
APIS = 2


async def race(
    database: PostgresServer, redis: RedisServer, *, members: int, gateways: int, senders: int, messages: int, seed: int
) -> int:
    """Send a tenth as many messages sparsely, then ``messages`` as fast as possible, and check the run.

    Returns:
        Appends that reached Redis before the event that they follow.
    """
    plan = Plan(members=members, chats=("one",), senders=senders)
    env = {**environment(redis), "DATABASE_URL": database.url(database.create_database())}
    async with AsyncExitStack() as stack:
        api_envs, internal_ports = [], []
        for number in range(APIS):
            # A network delay between each API's commit and its publish.
            chance = random.Random(f"{seed}-{number}")
            delayed = TcpProxy(redis.port, lambda chance=chance: chance.uniform(0, LONGEST_DELAY_S))  # type: ignore[misc]  # bound now
            proxy = await stack.enter_async_context(delayed)
            internal_ports.append(free_port())
            internal = {"ROOMCAST_INTERNAL_PORT": str(internal_ports[-1])}
            api_envs.append({"REDIS_PORT": str(proxy.port), **internal})
        deployment = running_deployment(Path(), env, gateways=gateways, api_envs=api_envs)
        # On a thread, since the proxies run on this loop.
        processes = await asyncio.to_thread(deployment.__enter__)
        stack.push(deployment)
        pool = await stack.enter_async_context(processes.clients(plan, seed))
        await pool.ready()
        # At this rate each event is published alone, before or after an event of the other API.
        await pool.send(messages // 10, per_s=SPARSE_PER_S)
        del pool.counters.sends_s[:]
        began = time.monotonic()
        await pool.send(messages, per_s=1e9)
        took_s = time.monotonic() - began
        at_end = await pool.caught_up()
        report(await pool.check())
        found = [await metrics(port) for port in internal_ports]
    given, early, mended = (
        [int(samples[f"roomcast_{name}_total",]) for samples in found]
        for name in ("log_appended", "log_gaps", "relay_mended")
    )
    sends = pool.counters.sends_s
    report(
        f"{messages / took_s:.0f} sends/s by {senders} senders into one chat, answered in p50"
        f" {percentile(sends, 0.5) * 1000:.0f} ms, p99 {percentile(sends, 0.99) * 1000:.0f} ms; the last one"
        f" reached every client {at_end:.2f} s later; the APIs gave {given} entries to the log, {early} appends came"
        f" early, {mended} times a log was compared with the table"
    )
    counters = pool.counters
    assert (counters.pages, counters.resyncs, counters.jumps, counters.cuts) == (0, 0, 0, 0), pool.summary()
    assert counters.failed_sends == 0
    # Both APIs appended some of the entries; otherwise there was no race.
    assert sum(given) > len(pool.acknowledged), given
    return sum(early)


@pytest.mark.chaos
@pytest.mark.timeout(180)
async def test_publishers_that_race_make_one_order_without_any_backfill(redis: RedisServer) -> None:
    with running_postgres(durable=True) as database:
        messages = scaled(10_000)
        early = await race(
            database, redis, members=scaled(12), gateways=3, senders=50, messages=messages, seed=new_seed()
        )
    assert early > 0


async def test_publishers_that_race_make_one_order_in_short(postgres: PostgresServer, redis: RedisServer) -> None:
    await race(postgres, redis, members=6, gateways=1, senders=50, messages=200, seed=new_seed())
