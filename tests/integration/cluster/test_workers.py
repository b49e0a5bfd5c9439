"""Several gateway processes on one port: one order through kills, and the life of the parent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import psutil
import pytest

from support.clients import ChatClient, send
from support.ports import free_port
from support.processes import Roomcast, run_roomcast
from support.redis_server import RedisServer, environment
from support.waiting import until

CHAT = "team"
LIMIT_S = 15.0


def workers(gateway: Roomcast) -> list[psutil.Process]:
    return sorted(psutil.Process(gateway.pid).children(), key=lambda child: child.pid)


def client_count(process: psutil.Process, port: int) -> int:
    """The number of clients of a worker."""
    established = psutil.CONN_ESTABLISHED
    return sum(1 for c in process.net_connections("tcp") if c.laddr.port == port and c.status == established)


def runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


async def test_workers_share_a_port_and_one_order_and_a_killed_one_is_replaced(
    tmp_path: Path, redis: RedisServer
) -> None:
    with Roomcast.api(tmp_path / "data", env=environment(redis)) as api:
        env = environment(redis, API_URL=api.internal_url)
        with Roomcast.gateway("--workers", "2", env=env) as gateway:
            assert gateway.output.count("is running") == 1
            before = workers(gateway)
            assert len(before) == 2
            port = gateway.gateway_port
            assert port is not None
            async with AsyncExitStack() as stack:
                clients: list[ChatClient] = []
                # The kernel chooses the worker of each connection: connect until both workers have one.
                async with asyncio.timeout(LIMIT_S):
                    while not all(client_count(worker, port) for worker in before):
                        clients.append(await stack.enter_async_context(ChatClient(gateway.gateway_url)))
                for client in clients:
                    assert (await client.join(CHAT))["ok"] is True
                await asyncio.gather(*(send(api.api_url, CHAT, f"before {number}") for number in range(20)))
                for client in clients:
                    assert [(await client.next_message())["seq"] for _ in range(20)] == list(range(1, 21))
                victim = before[0]
                victim.kill()
                await until(
                    lambda: workers(gateway) != before and len(workers(gateway)) == 2, limit_s=LIMIT_S, step_s=0.05
                )
                assert "a worker exited and is restarted" in gateway.output
                left = [client for client in clients if not client.disconnected.is_set()]
                assert left
                assert len(left) < len(clients)
                await send(api.api_url, CHAT, "after")
                for client in left:
                    assert (await client.next_message())["seq"] == 21
                async with ChatClient(gateway.gateway_url) as again:
                    ack = await again.join(CHAT)
                    assert (ack["ok"], ack["seq"]) == (True, 21)


async def test_one_signal_stops_all_workers(redis: RedisServer) -> None:
    with Roomcast.gateway("--workers", "3", env=environment(redis)) as gateway:
        children = workers(gateway)
        async with ChatClient(gateway.gateway_url) as client:
            code, took_s = await asyncio.to_thread(gateway.stop, signal.SIGTERM)
            await asyncio.wait_for(client.disconnected.wait(), LIMIT_S)
        assert code == 0
        assert took_s < 6
        assert not any(child.is_running() for child in children)


async def test_workers_do_not_outlive_their_parent(redis: RedisServer) -> None:
    with Roomcast.gateway("--workers", "2", env=environment(redis)) as gateway:
        children = workers(gateway)
        os.kill(gateway.pid, signal.SIGKILL)
        await until(lambda: not any(runs(child) for child in children), limit_s=LIMIT_S, step_s=0.05)


async def test_polling_works_across_workers(redis: RedisServer) -> None:
    with Roomcast.gateway("--workers", "3", env=environment(redis)) as gateway:
        # Each request of this client may reach another worker.
        async with ChatClient(gateway.gateway_url, transports=("polling",)) as client:
            for _ in range(30):
                assert await client.call("ping") == "pong"


def test_several_workers_without_redis_are_rejected() -> None:
    done = run_roomcast("gateway", "--workers", "2")
    assert done.returncode == 2
    assert "without Redis" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("count", ["0", "65", "x"])
def test_an_invalid_number_of_workers_is_rejected(count: str) -> None:
    assert run_roomcast("gateway", "--workers", count).returncode == 2


def test_a_port_in_use_prints_one_line(redis: RedisServer) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_roomcast("gateway", "--workers", "2", "--port", port, env=environment(redis))
    assert done.returncode == 1
    assert port in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_parent_exits_if_the_workers_cannot_start(redis: RedisServer) -> None:
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(socket.socket())
        internal = free_port()
        taken.bind(("127.0.0.1", internal))
        taken.listen()
        env = environment(redis, ROOMCAST_INTERNAL_PORT=str(internal))
        done = run_roomcast("gateway", "--workers", "2", "--port", str(free_port()), env=env)
    assert done.returncode == 1
    # The second worker uses the next port, which another program may have.
    assert re.search(f"port ({internal}|{internal + 1}) .*ROOMCAST_INTERNAL_PORT", done.stderr)
    assert "Traceback" not in done.stderr
