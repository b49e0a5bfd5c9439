"""A gateway and an API over a Redis that answers and does not serve: members get every message, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from support.clients import ChatClient, send
from support.processes import Roomcast
from support.redis_server import RedisServer, environment
from support.tcp_proxy import TcpProxy
from support.waiting import until

CHAT = "team"
LIMIT_S = 20.0
COUNT = 30

Fault = Callable[[RedisServer], None]


def no_memory(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "maxmemory", "1")


def no_replica(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "min-replicas-to-write", "1")


def healed(redis: RedisServer) -> None:
    redis.command("CONFIG", "SET", "maxmemory", "0")
    redis.command("CONFIG", "SET", "min-replicas-to-write", "0")


async def receive(client: ChatClient, contents: list[str]) -> None:
    """Fail unless the next messages are exactly these."""
    assert [(await client.next_message(LIMIT_S))["content"] for _ in contents] == contents


@pytest.mark.parametrize("fault", [no_memory, no_replica])
async def test_messages_arrive_and_joins_succeed_while_redis_refuses_writes(
    tmp_path: Path, redis: RedisServer, fault: Fault
) -> None:
    numbers = [str(number) for number in range(3 * COUNT)]
    with Roomcast.api(tmp_path / "data", env=environment(redis)) as api:
        env = environment(redis, API_URL=api.internal_url)
        with Roomcast.gateway(env=env) as gateway:
            async with ChatClient(gateway.gateway_url) as early, ChatClient(gateway.gateway_url) as late:
                assert (await early.join(CHAT))["ok"]
                for content in numbers[:COUNT]:
                    await send(api.api_url, CHAT, content)
                await receive(early, numbers[:COUNT])
                fault(redis)
                for content in numbers[COUNT : 2 * COUNT]:
                    await send(api.api_url, CHAT, content)
                await receive(early, numbers[COUNT : 2 * COUNT])
                ack = await late.join(CHAT)
                assert (ack["ok"], ack["seq"]) == (True, 2 * COUNT)
                # The log of this chat does not exist yet.
                assert (await late.join("other"))["ok"]
                await send(api.api_url, "other", "first")
                await receive(late, ["first"])
                healed(redis)
                for content in numbers[2 * COUNT :]:
                    await send(api.api_url, CHAT, content)
                for client in (early, late):
                    await receive(client, numbers[2 * COUNT :])
                await until(lambda: redis.command("LLEN", "roomcast:{team}:log") == f":{3 * COUNT}".encode())


async def test_messages_arrive_after_the_keys_of_the_log_were_overwritten(tmp_path: Path, redis: RedisServer) -> None:
    with (
        Roomcast.api(tmp_path / "data", env=environment(redis)) as api,
        Roomcast.gateway(env=environment(redis, API_URL=api.internal_url)) as gateway,
    ):
        async with ChatClient(gateway.gateway_url) as client, ChatClient(gateway.gateway_url) as late:
            assert (await client.join(CHAT))["ok"]
            for number in range(COUNT):
                await send(api.api_url, CHAT, str(number))
                for key in ("roomcast:{team}:meta", "roomcast:{team}:log"):
                    redis.command("SET", key, "x")
            await receive(client, [str(number) for number in range(COUNT)])
            assert (await late.join(CHAT))["ok"]


async def test_messages_arrive_after_a_failover_behind_one_address(tmp_path: Path, redis: RedisServer) -> None:
    replica = RedisServer(tmp_path / "replica", arguments=("--replicaof", f"127.0.0.1 {redis.port}"))
    replica.start()
    try:
        await until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        async with TcpProxy(redis.port) as proxy:
            env = {**environment(redis), "REDIS_PORT": str(proxy.port)}
            api = await asyncio.to_thread(Roomcast.api(tmp_path / "data", env=env).__enter__)
            gateway = await asyncio.to_thread(Roomcast.gateway(env={**env, "API_URL": api.internal_url}).__enter__)
            try:
                async with ChatClient(gateway.gateway_url) as client:
                    assert (await client.join(CHAT))["ok"]
                    await send(api.api_url, CHAT, "before")
                    await receive(client, ["before"])
                    replica.command("REPLICAOF", "NO", "ONE")
                    redis.command("REPLICAOF", "127.0.0.1", "1")  # no server: replication has ended
                    proxy.target_port = replica.port
                    for number in range(COUNT):
                        await send(api.api_url, CHAT, str(number))
                    await receive(client, [str(number) for number in range(COUNT)])
            finally:
                gateway.kill()
                api.kill()
    finally:
        replica.kill()
