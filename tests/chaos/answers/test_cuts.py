"""Random cuts in the middle of answers: every screen shows a prefix of what is stored, and all of it at the end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
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


class Cuts:
    """One answer, its screens, and random faults."""

    def __init__(self, cluster: AnswerCluster, seed: int, turn_id: str, group: asyncio.TaskGroup) -> None:
        self.screens: list[Screen] = []
        self.log: list[str] = []
        self._cluster = cluster
        self._random = Random(seed)
        self._turn_id = turn_id
        self._chat_id = f"chat-{seed}"
        self._group = group
        self._starting: Roomcast | None = None

    def join(self) -> None:
        """Open another screen."""
        url = self._cluster.apis[0].api_url
        screen = Screen(url, self._gateway_url, self._chat_id, self._turn_id)
        screen.start()
        self.screens.append(screen)

    def _gateway_url(self) -> str:
        return self._random.choice(self._cluster.gateways).gateway_url

    async def one(self) -> None:
        """Wait a moment, then inject a random fault."""
        await asyncio.sleep(self._random.uniform(0.05, 0.4))
        fault = self._random.choices(["cut", "reload", "join", "kill", "pause"], [4, 3, 2, 1, 1])[0]
        victim = self._random.choice(self.screens)
        gateway = self._random.choice(self._cluster.gateways)
        self.log.append(fault)
        match fault:
            case "cut":
                await victim.cut()
            case "reload" if victim.turn is None:
                victim.reload()
            case "join" if len(self.screens) < 8:
                self.join()
            case "kill" if self._starting is None:
                gateway.kill()
                self._starting = gateway
                self._group.create_task(self._start(gateway))
            case "pause" if self._starting is not gateway:
                gateway.pause()
                await asyncio.sleep(self._random.uniform(0.1, 1))
                gateway.resume()

    async def _start(self, gateway: Roomcast) -> None:
        await asyncio.to_thread(gateway.start)
        self._starting = None


async def one_answer(cluster: AnswerCluster, seed: int) -> str:
    """One answer with random cuts; its figures."""
    chat_id, content = f"chat-{seed}", text_of_seed(seed, CHARS)
    turn_id = await cluster.ask(chat_id, str(seed))
    async with asyncio.TaskGroup() as group:
        cuts = Cuts(cluster, seed, turn_id, group)
        for _ in range(3):
            cuts.join()
        while any(screen.turn is None for screen in cuts.screens):
            await cuts.one()
    message = await cluster.ended(chat_id, turn_id)
    assert message["content"] == content
    for number, screen in enumerate(cuts.screens):
        where = f"seed {seed}, screen {number}: {cuts.log}"
        assert (await screen.finished())["status"] == "complete", where
        assert screen.text == content, where
        assert all(content.startswith(text) for text in screen.shown), where
    connections, fetched = (
        sum(getattr(screen, name) for screen in cuts.screens) for name in ("connections", "fetched")
    )
    return f"{connections} connections, {fetched} screens read the text whole, {Counter(cuts.log)}"


async def test_every_screen_shows_what_is_stored(postgres: PostgresServer, redis: RedisServer) -> None:
    seed = new_seed()
    ends_at = time.monotonic() + 120
    answers = 0
    async with running_answers(postgres, redis, by_seed, gateways=3, workers=2) as cluster:
        while time.monotonic() < ends_at:
            report(await one_answer(cluster, seed + answers))
            answers += 1
