"""Workers that are killed, suspended and stopped in the middle of answers, and a Redis that loses its data."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from support.postgres_server import PostgresServer
from support.redis_server import RedisServer
from support.waiting import until
from support.worker_processes import Deployment, outcome, running_deployment


@pytest.fixture
async def deployment(postgres: PostgresServer, redis: RedisServer) -> AsyncIterator[Deployment]:
    async with running_deployment(postgres, redis) as running:
        yield running


async def test_the_turns_of_a_killed_and_of_a_suspended_worker_end_with_their_text(deployment: Deployment) -> None:
    with deployment.worker() as killed:
        turns = {chat_id: await deployment.ask(chat_id) for chat_id in ("k1", "k2", "k3")}
        seen = {chat_id: await deployment.grows(chat_id, turn_id) for chat_id, turn_id in turns.items()}
        killed.kill()
    with deployment.worker() as suspended:
        turns["s1"] = await deployment.ask("s1")
        seen["s1"] = await deployment.grows("s1", turns["s1"])
        suspended.pause()
        began = asyncio.get_running_loop().time()
        with deployment.worker():
            for chat_id, turn_id in turns.items():
                message = await deployment.ended(chat_id, turn_id)
                assert outcome(message) == ("incomplete", "worker-lost")
                assert message["content"].startswith(seen[chat_id])
                assert message["content"] == await deployment.streamed(chat_id, turn_id)
            assert asyncio.get_running_loop().time() - began <= 15
            events, frames = await deployment.events("s1"), await deployment.frames("s1", turns["s1"])
            suspended.resume()
            await until(lambda: "taken over" in suspended.output)
            assert await deployment.events("s1") == events
            assert await deployment.frames("s1", turns["s1"]) == frames
            assert [event["type"] for event in events] == ["message-created", "turn-changed", "message-created"]


async def test_a_terminated_worker_ends_or_hands_over_its_turns(deployment: Deployment) -> None:
    with deployment.worker(ROOMCAST_DRAIN_S="0.5", ROOMCAST_WORKER_TURNS="2") as first:
        long = await deployment.ask("long")
        seen = await deployment.grows("long", long)
        short = await deployment.ask("short", "hello")
        # The worker has claimed it, and finishes it during the drain.
        await deployment.grows("short", short, 1)
        code, took = first.stop(signal.SIGTERM)
        assert code == 0
        assert took < 5
    message = await deployment.ended("long", long, limit_s=1)
    assert outcome(message) == ("incomplete", "shutdown")
    assert message["content"].startswith(seen)
    assert outcome(await deployment.ended("short", short, limit_s=1)) == ("complete", None)


async def test_an_answer_goes_on_when_redis_loses_its_data_or_is_away(
    deployment: Deployment, redis: RedisServer
) -> None:
    with deployment.worker():
        turn_id = await deployment.ask("c", "/long 300")
        before = await deployment.grows("c", turn_id)
        redis.command("FLUSHALL")
        after = await deployment.grows("c", turn_id, len(before) + 40)
        assert after.startswith(before)
        redis.kill()
        await asyncio.sleep(1)
        redis.start()
        again = await deployment.grows("c", turn_id, len(after) + 40)
        assert again.startswith(after)
        message = await deployment.ended("c", turn_id)
        assert outcome(message) == ("complete", None)
        assert message["content"].startswith(again)
        assert message["content"] == await deployment.streamed("c", turn_id)


HEARTBEAT_S = 30
#: A `roomcast` whose workers would notice a stored stop late.
RARE_HEARTBEATS = f"""#!{sys.executable}
from roomcast.worker.options import WorkerOptions

init = WorkerOptions.__init__
WorkerOptions.__init__ = lambda self, **options: init(self, **options, heartbeat_s={HEARTBEAT_S}, lease_s=60)
from roomcast.cli import main
main()
"""


async def test_a_stop_through_the_api_reaches_another_process_at_once(deployment: Deployment, tmp_path: Path) -> None:
    worker = deployment.worker()
    worker.command = tmp_path / "roomcast"
    worker.command.write_text(RARE_HEARTBEATS)
    worker.command.chmod(0o755)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with worker:
        turn_id = await deployment.ask("c")
        await deployment.grows("c", turn_id)
        async with httpx.AsyncClient(base_url=deployment.api.api_url) as http:
            answer = await http.post(f"/api/chats/c/turns/{turn_id}/stop")
            assert answer.status_code == 200, answer.text
            message = await deployment.ended("c", turn_id)
        assert outcome(message) == ("stopped", "by-user")
        # Before the first heartbeat.
        assert loop.time() - began < HEARTBEAT_S
        assert message["content"] == await deployment.streamed("c", turn_id)
        queued = await deployment.ask("c", "next")
        assert outcome(await deployment.ended("c", queued)) == ("complete", None)


async def test_an_answer_ends_while_redis_is_away(deployment: Deployment, redis: RedisServer) -> None:
    with deployment.worker():
        turn_id = await deployment.ask("c", "/long 60")
        await deployment.grows("c", turn_id)
        redis.kill()
        message = await deployment.ended("c", turn_id)
        assert outcome(message) == ("complete", None)
        assert len(message["content"]) > 200
