"""Readiness, metrics and the drain of real gateways over a real Redis."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import httpx

from support.clients import ChatClient, send
from support.metrics import metrics
from support.ports import free_port
from support.processes import Roomcast
from support.redis_server import RedisServer, environment
from support.waiting import until

LIMIT_S = 15.0


async def ask(url: str) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - loopback, and loading authorities takes long
        answer = await client.get(url)
        return answer.status_code, answer.json()


async def until_ready(url: str, status: int) -> dict[str, Any]:
    async def has_status() -> dict[str, Any] | None:
        code, body = await ask(f"{url}/ready")
        return body if code == status else None

    return await until(has_status, limit_s=LIMIT_S, step_s=0.1)


async def until_degraded(url: str, *what: str) -> None:
    """Wait until a process is degraded by exactly these services. It is ready all the time after its start."""
    await until_ready(url, 200)

    async def is_degraded() -> bool:
        code, body = await ask(f"{url}/ready")
        assert code == 200, body
        return body.get("degraded") == list(what)

    await until(is_degraded, limit_s=LIMIT_S, step_s=0.1)


async def test_a_gateway_that_receives_nothing_is_not_ready_and_alive_all_the_time(redis: RedisServer) -> None:
    with Roomcast.gateway(env=environment(redis)) as gateway:
        await until_degraded(gateway.gateway_url)
        # Commands still work; Redis disconnects the subscribers, and denies new subscriptions.
        redis.command("ACL", "SETUSER", "default", "resetchannels")
        body = await until_ready(gateway.gateway_url, 503)
        assert any(reason.startswith("not receiving: ") for reason in body["reasons"])
        assert await ask(f"{gateway.gateway_url}/live") == (200, {"status": "alive"})
        assert (await ask(f"{gateway.gateway_url}/health"))[0] == 200
        redis.command("ACL", "SETUSER", "default", "allchannels")
        await until_ready(gateway.gateway_url, 200)


async def test_a_gateway_without_access_to_the_channel_of_the_guide_is_ready_all_the_time(redis: RedisServer) -> None:
    with Roomcast.gateway(env=environment(redis)) as gateway:
        await until_degraded(gateway.gateway_url)
        redis.command("ACL", "SETUSER", "default", "resetchannels", "&roomcast*", "&socket.io#/#*", "&socket.io-*")
        await until_degraded(gateway.gateway_url, "guide's ingress")
        redis.command("ACL", "SETUSER", "default", "allchannels")
        await until_degraded(gateway.gateway_url)


async def test_a_short_outage_of_redis_leaves_the_gateway_ready(redis: RedisServer) -> None:
    with Roomcast.gateway(env=environment(redis)) as gateway:
        await until_degraded(gateway.gateway_url)
        await asyncio.to_thread(redis.kill)
        await until_degraded(gateway.gateway_url, "redis")
        await asyncio.to_thread(redis.start)
        await until_degraded(gateway.gateway_url)


async def test_metrics_count_joins_replays_lag_and_gateways(tmp_path: Path, redis: RedisServer) -> None:
    port, api_port = free_port(), free_port()
    with Roomcast.api(tmp_path / "data", env=environment(redis, ROOMCAST_INTERNAL_PORT=str(api_port))) as api:
        env = environment(redis, API_URL=api.internal_url)
        with (
            Roomcast.gateway(env={**env, "ROOMCAST_INTERNAL_PORT": str(port)}) as gateway,
            Roomcast.gateway(env=env),
        ):
            async with ChatClient(gateway.gateway_url) as ann:
                ack = await ann.join("team")
                for number in range(3):
                    await send(api.api_url, "team", f"message {number}")
                for _ in range(3):
                    await ann.next_message()
                async with ChatClient(gateway.gateway_url) as ben:
                    assert (await ben.join("team", since={"epoch": ack["epoch"], "seq": 0}))["recovered"] is True

                    async def knows_both() -> bool:
                        return (await metrics(port))["roomcast_gateways",] >= 2

                    await until(knows_both, limit_s=LIMIT_S, step_s=0.1)
                    found = await metrics(port)
            assert found["roomcast_connections", "websocket"] == 2
            assert found["roomcast_joins_total", "recovered"] == 2
            assert found["roomcast_events_replayed_total",] == 3
            assert found["roomcast_events_delivered_total",] == 3
            assert found["roomcast_log_replays_total",] >= 1
            assert found["roomcast_log_lag_seconds",] < 5
            assert found["roomcast_event_loop_lag_seconds_count",] >= 1
            assert (await metrics(api_port))["roomcast_relay_published_total",] >= 1
            assert (await ask(f"{api.api_url}/live"))[0] == 200
            await until_degraded(api.api_url)
            # Clients cannot read metrics, and the internal address serves no clients.
            async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - see above
                assert (await client.get(f"{gateway.gateway_url}/metrics")).status_code == 404
                for path in ("/api/internal/nudges", "/api/%69nternal/nudges"):
                    urls, body = (f"{api.api_url}{path}", f"{api.internal_url}{path}"), {"chatId": "team"}
                    codes = [(await client.post(url, json=body)).status_code for url in urls]
                    assert codes == [404, 204]
                assert (await client.get(f"{api.internal_url}/api/chats")).status_code == 404
                assert (
                    await client.get(f"http://127.0.0.1:{port}/socket.io/?EIO=4&transport=polling")
                ).status_code == 403


async def test_a_stopping_gateway_is_unready_first_and_serves_meanwhile(redis: RedisServer) -> None:
    env = environment(redis, ROOMCAST_UNREADY_S="1.5", ROOMCAST_DRAIN_S="1")
    with Roomcast.gateway(env=env) as gateway:
        await until_ready(gateway.gateway_url, 200)
        async with ChatClient(gateway.gateway_url) as ann:
            stopping = asyncio.create_task(asyncio.to_thread(gateway.stop, signal.SIGTERM))
            assert await until_ready(gateway.gateway_url, 503) == {"status": "not ready", "reasons": ["draining"]}
            # A client that connects meanwhile is served.
            async with ChatClient(gateway.gateway_url) as late:
                assert await late.call("ping") == "pong"
            assert await ann.call("ping") == "pong"
            code, took_s = await stopping
            await asyncio.wait_for(ann.disconnected.wait(), LIMIT_S)
        assert code == 0
        assert 1.5 <= took_s <= 6
