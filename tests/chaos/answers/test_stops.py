"""Stops from another client through another gateway: how late, and whether all have the same text."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from chaos.cluster.deployment import report, scaled
from support.answer_cluster import endless, running_answers
from support.postgres_server import PostgresServer
from support.provider import Answer
from support.redis_server import RedisServer
from support.screens import Screen
from support.waiting import until

pytestmark = pytest.mark.chaos
LATEST_S = 0.25
AT_ONCE = 2


async def test_stops_from_another_gateway_end_every_screen_soon(postgres: PostgresServer, redis: RedisServer) -> None:
    latest: list[float] = []
    async with running_answers(postgres, redis, lambda _: Answer(endless(0.02)), workers=2) as cluster:

        async def one(number: int) -> None:
            chat_id = f"stop-{number}"
            turn_id = await cluster.ask(chat_id, chat_id)
            first, second = (gateway.gateway_url for gateway in cluster.gateways)
            async with contextlib.AsyncExitStack() as stack:
                screens = [
                    await stack.enter_async_context(
                        Screen(cluster.apis[0].api_url, lambda url=url: url, chat_id, turn_id)
                    )
                    for url in (first, second, first)
                ]
                await until(lambda: all(len(screen.text) > 100 for screen in screens), limit_s=20)
                began = await screens[1].stop()
                turns = [await screen.finished() for screen in screens]
                assert {(turn["status"], turn["reason"]) for turn in turns} == {("stopped", "by-user")}
                latest.append(max(screen.ended_at for screen in screens) - began)
                message = await cluster.ended(chat_id, turn_id)
                assert {screen.text for screen in screens} == {message["content"]}
                assert not any(screen.fetched for screen in screens)
                (request,) = [
                    each for each in cluster.provider.requests if each.body["messages"][-1]["content"] == chat_id
                ]
                async with asyncio.timeout(1):
                    await request.closed.wait()

        for begin in range(0, scaled(100), AT_ONCE):
            await asyncio.gather(*(one(begin + number) for number in range(AT_ONCE)))
    latest.sort()
    p99 = latest[int(len(latest) * 0.99) - 1]
    report(
        f"{len(latest)} stops: median {latest[len(latest) // 2] * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms, "
        f"max {latest[-1] * 1e3:.0f} ms"
    )
    assert p99 <= LATEST_S
