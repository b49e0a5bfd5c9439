"""Faults in the middle of answers of real processes; the long versions: tests/chaos/answers."""

from __future__ import annotations

import asyncio
import contextlib

import httpx

from support.answer_cluster import endless, question, running_answers, text_of_seed, tokens
from support.postgres_server import PostgresServer
from support.provider import Answer, Request
from support.redis_server import RedisServer
from support.screens import Screen
from support.waiting import until

CHARS = 1_200


def by_seed(request: Request) -> Answer:
    if question(request) == "endless":
        return Answer(endless(0.02))
    seed = int(question(request))
    return Answer(tokens(text_of_seed(seed, CHARS), seed, 0.02))


async def test_screens_show_what_is_stored_through_cuts_reloads_kills_and_a_lost_redis(
    postgres: PostgresServer, redis: RedisServer
) -> None:
    async with (
        running_answers(postgres, redis, by_seed) as cluster,
        contextlib.AsyncExitStack() as stack,
    ):
        turn_id = await cluster.ask("c", "7")
        urls = [gateway.gateway_url for gateway in cluster.gateways]

        async def join(first: int) -> Screen:
            at = iter(range(first, 1_000_000))
            screen = Screen(cluster.apis[0].api_url, lambda: urls[next(at) % 2], "c", turn_id)
            return await stack.enter_async_context(screen)

        screens = [await join(number) for number in range(4)]
        await until(lambda: all(len(screen.text) > 100 for screen in screens))
        await screens[0].cut()
        screens[1].reload()
        screens.append(await join(0))
        cluster.gateways[0].kill()
        await asyncio.to_thread(cluster.gateways[0].start)
        redis.restart()
        message = await cluster.ended("c", turn_id)
        turns = [await screen.finished() for screen in screens]
    text = text_of_seed(7, CHARS)
    assert {turn["status"] for turn in turns} == {"complete"}
    assert {screen.text for screen in screens} == {message["content"]} == {text}
    assert all(text.startswith(shown) for screen in screens for shown in screen.shown)


async def test_a_stop_while_redis_is_away_is_not_lost_and_a_stale_stop_changes_nothing(
    postgres: PostgresServer, redis: RedisServer
) -> None:
    async with running_answers(postgres, redis, by_seed, gateways=1) as cluster:
        turn_id = await cluster.ask("c", "endless")
        url = cluster.apis[0].api_url
        async with (
            Screen(url, lambda: cluster.gateways[0].gateway_url, "c", turn_id) as screen,
            httpx.AsyncClient(base_url=url) as http,
        ):
            await until(lambda: len(screen.text) > 100)
            redis.kill()
            (await http.post(f"/api/chats/c/turns/{turn_id}/stop")).raise_for_status()
            message = await cluster.ended("c", turn_id)
            async with asyncio.timeout(5):
                await cluster.provider.requests[0].closed.wait()
            redis.start()
            turn = await screen.finished()
            (await http.post(f"/api/chats/c/turns/{turn_id}/stop")).raise_for_status()
            assert await cluster.message("c", turn_id) == message
    assert (turn["status"], turn["reason"]) == ("stopped", "by-user")
    assert screen.text == message["content"]
