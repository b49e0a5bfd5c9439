"""Two APIs on PostgreSQL whose publishing is delayed at random: one total order, all of it live."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chaos.cluster.crowd import Plan, percentile
from chaos.cluster.site import new_seed, running_site, say, scaled
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
    """Run it: a tenth as many messages sparsely, then all of them at once.

    Returns:
        How many appends came before what they follow.
    """
    plan = Plan(members=members, chats=("one",), senders=senders)
    env = {**environment(redis), "DATABASE_URL": database.url(database.create_database())}
    async with AsyncExitStack() as stack:
        api_envs, internal_ports = [], []
        for number in range(APIS):
            # Between an API's commit and its publish stands a network that takes its time, another one for each API.
            chance = random.Random(f"{seed}-{number}")
            delayed = TcpProxy(redis.port, lambda chance=chance: chance.uniform(0, LONGEST_DELAY_S))  # type: ignore[misc]  # bound now
            proxy = await stack.enter_async_context(delayed)
            internal_ports.append(free_port())
            internal = {"ROOMCAST_INTERNAL_PORT": str(internal_ports[-1])}
            api_envs.append({"REDIS_PORT": str(proxy.port), **internal})
        site = running_site(Path(), env, gateways=gateways, api_envs=api_envs)
        # On a thread: the proxies live on this loop.
        processes = await asyncio.to_thread(site.__enter__)
        stack.push(site)
        crowd = await stack.enter_async_context(processes.crowd(plan, seed))
        await crowd.ready()
        # So few that each is published by itself, and comes before or behind the other API's …
        await crowd.send(messages // 10, per_s=SPARSE_PER_S)
        del crowd.tally.sends_s[:]
        # … and as many as the database takes.
        began = time.monotonic()
        await crowd.send(messages, per_s=1e9)
        took_s = time.monotonic() - began
        at_end = await crowd.caught_up()
        say(await crowd.exact())
        found = [await metrics(port) for port in internal_ports]
    given, early, mended = (
        [int(samples[f"roomcast_{name}_total",]) for samples in found]
        for name in ("log_appended", "log_gaps", "relay_mended")
    )
    sends = crowd.tally.sends_s
    say(
        f"{messages / took_s:.0f} sends/s by {senders} senders into one chat, answered in p50"
        f" {percentile(sends, 0.5) * 1000:.0f} ms, p99 {percentile(sends, 0.99) * 1000:.0f} ms; the last one was"
        f" everywhere {at_end:.2f} s later; the APIs gave {given} entries to the log, {early} appends came too early,"
        f" {mended} times a log was compared with the table"
    )
    tally = crowd.tally
    assert (tally.pages, tally.resyncs, tally.jumps, tally.cuts) == (0, 0, 0, 0), crowd.summary()
    assert tally.failed_sends == 0
    # Else nothing was raced: both gave the same entries.
    assert sum(given) > len(crowd.acknowledged), given
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
