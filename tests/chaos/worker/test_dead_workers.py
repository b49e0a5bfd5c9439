"""Workers that die or are suspended in the middle of answers in 200 chats. `ROOMCAST_CHAOS_SCALE` scales the number."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from chaos.cluster.deployment import report, scaled
from support.postgres_server import PostgresServer
from support.redis_server import RedisServer
from support.waiting import until
from support.worker_processes import Deployment, running_deployment

pytestmark = pytest.mark.chaos

TAKEN_OVER_S = 15.0
#: How far the database may be behind: the interval of the checkpoints, and a heartbeat.
CHECKPOINT_S = 3.0 + 1.0 + 1.0


@pytest.fixture
async def deployment(postgres: PostgresServer, redis: RedisServer) -> AsyncIterator[Deployment]:
    async with running_deployment(postgres, redis) as running:
        yield running


def states(deployment: Deployment) -> Counter[tuple[Any, ...]]:
    return Counter(deployment.query("SELECT status, reason FROM turns"))


def texts(deployment: Deployment) -> dict[str, str]:
    """The stored text of each answer."""
    rows = deployment.query("SELECT turns.id, messages.content FROM turns JOIN messages ON messages.id = turns.id")
    return dict(rows)  # type: ignore[arg-type] # pairs


async def ask_all(deployment: Deployment) -> dict[str, str]:
    """Turn ids by chat, each of which has published a text."""
    chats = [f"chat{number}" for number in range(scaled(200))]
    turns: dict[str, str] = {}
    for chat_id in chats:
        turns[chat_id] = await deployment.ask(chat_id, "/long 4000")
    for chat_id, turn_id in turns.items():
        await deployment.grows(chat_id, turn_id)
    return turns


async def all_ended(deployment: Deployment, count: int, began: float) -> None:
    loop = asyncio.get_running_loop()

    async def none_is_left() -> bool:
        rows = await asyncio.to_thread(states, deployment)
        return rows[("incomplete", "worker-lost")] == count

    try:
        await until(none_is_left, limit_s=60, step_s=0.2)
    finally:
        report(f"{loop.time() - began:.1f} s: {dict(states(deployment))}")
    assert loop.time() - began <= TAKEN_OVER_S


def assert_one_final_each(deployment: Deployment) -> None:
    events = "SELECT chat_id, count(*) FROM events WHERE type <> 'turn-changed' GROUP BY chat_id HAVING count(*) <> 2"
    assert deployment.query(events) == []


@pytest.mark.parametrize("flush", [False, True], ids=["stream kept", "stream lost"])
async def test_a_killed_workers_answers_end_with_their_text(
    deployment: Deployment, redis: RedisServer, flush: bool
) -> None:
    with deployment.worker() as dead:
        turns = await ask_all(deployment)
        await asyncio.sleep(CHECKPOINT_S)
        seen = {turn_id: await deployment.streamed(chat_id, turn_id) for chat_id, turn_id in turns.items()}
        if flush:
            await asyncio.sleep(CHECKPOINT_S)
        dead.kill()
        began = asyncio.get_running_loop().time()
        if flush:
            redis.command("FLUSHALL")
        with deployment.worker():
            await all_ended(deployment, len(turns), began)
    stored = texts(deployment)
    assert all(stored[turn_id].startswith(text) for turn_id, text in seen.items())
    assert_one_final_each(deployment)


async def test_a_suspended_worker_writes_nothing_when_it_continues(deployment: Deployment) -> None:
    with contextlib.ExitStack() as stack:
        suspended = stack.enter_context(deployment.worker())
        turns = await ask_all(deployment)
        suspended.pause()
        began = asyncio.get_running_loop().time()
        stack.enter_context(deployment.worker())
        await all_ended(deployment, len(turns), began)
        await asyncio.sleep(60 - (asyncio.get_running_loop().time() - began))
        before = texts(deployment)
        suspended.resume()
        await until(lambda: suspended.output.count("taken over") >= len(turns), limit_s=30)
        assert texts(deployment) == before
        assert states(deployment) == {("incomplete", "worker-lost"): len(turns)}
        assert_one_final_each(deployment)
