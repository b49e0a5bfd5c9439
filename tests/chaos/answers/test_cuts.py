"""Random cuts in the middle of answers: every screen shows a prefix of what is stored, and all of it at the end."""

from __future__ import annotations

import asyncio
import time
from random import Random

import pytest

from chaos.cluster.deployment import new_seed, report
from support.answer_cluster import AnswerCluster, question, running_answers, text_of_seed, tokens
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.provider import Answer, Request
from support.redis_server import RedisServer
from support.screens import Screen

pytestmark = pytest.mark.chaos
CHARS = 1_500
PAUSE_S = 0.012


def by_seed(request: Request) -> Answer:
    seed = int(question(request))
    return Answer(tokens(text_of_seed(seed, CHARS), seed, PAUSE_S))


async def one_answer(cluster: AnswerCluster, seed: int) -> tuple[int, int, list[str]]:
    """One answer with random cuts; the numbers of connections and of screens that read the text whole."""
    random = Random(seed)
    chat_id = f"chat-{seed}"
    turn_id = await cluster.ask(chat_id, str(seed))

    def gateway_url() -> str:
        return random.choice(cluster.gateways).gateway_url

    def screen() -> Screen:
        return Screen(cluster.apis[0].api_url, gateway_url, chat_id, turn_id)

    log: list[str] = []
    starting: set[int] = set()

    async def start(gateway: Roomcast) -> None:
        await asyncio.to_thread(gateway.start)
        starting.remove(id(gateway))

    screens: list[Screen] = []
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            screens.append(await screen().__aenter__())
        while any(each.turn is None for each in screens):
            await asyncio.sleep(random.uniform(0.05, 0.4))
            fault = random.choices(["cut", "reload", "join", "kill", "pause"], [4, 3, 2, 1, 1])[0]
            log.append(fault)
            victim = random.choice(screens)
            gateway = random.choice(cluster.gateways)
            match fault:
                case "cut":
                    await victim.cut()
                case "reload" if victim.turn is None:
                    victim.reload()
                case "join" if len(screens) < 8:
                    screens.append(await screen().__aenter__())
                case "kill" if not starting:
                    gateway.kill()
                    starting.add(id(gateway))
                    group.create_task(start(gateway))
                case "pause" if id(gateway) not in starting:
                    gateway.pause()
                    await asyncio.sleep(random.uniform(0.1, 1))
                    gateway.resume()
    message = await cluster.ended(chat_id, turn_id)
    for number, each in enumerate(screens):
        turn = await each.finished()
        where = f"seed {seed}, screen {number}: {log}"
        assert turn["status"] == message["turn"]["status"] == "complete", where
        assert each.text == message["content"] == text_of_seed(seed, CHARS), where
        for text in each.shown:
            assert message["content"].startswith(text), where
        await each.__aexit__(None, None, None)
    return sum(each.connections for each in screens), sum(each.fetched for each in screens), log


async def test_every_screen_shows_what_is_stored(postgres: PostgresServer, redis: RedisServer) -> None:
    seed = new_seed()
    ends_at = time.monotonic() + 120
    answers = 0
    async with running_answers(postgres, redis, by_seed, gateways=3, workers=2) as cluster:
        while time.monotonic() < ends_at:
            connections, fetched, log = await one_answer(cluster, seed + answers)
            answers += 1
            report(f"answer {answers}: {connections} connections, {fetched} read whole, {log}")
