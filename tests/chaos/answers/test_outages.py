"""Redis and PostgreSQL away in the middle of answers: the answers go on, and every screen has them whole soon after."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from chaos.cluster.deployment import report
from support.answer_cluster import AnswerCluster, question, running_answers, text_of_seed, tokens
from support.postgres_server import PostgresServer
from support.provider import Answer, Request
from support.redis_server import RedisServer
from support.screens import Screen
from support.waiting import until

pytestmark = pytest.mark.chaos
AWAY_S = 30.0
SOON_S = 5.0
PAUSE_S = 0.03


def of_length(request: Request) -> Answer:
    """The question has a seed and the number of UTF-16 units."""
    seed, chars = map(int, question(request).split())
    return Answer(tokens(text_of_seed(seed, chars), seed, PAUSE_S))


@contextlib.asynccontextmanager
async def screens(cluster: AnswerCluster, questions: list[str]) -> AsyncIterator[list[tuple[str, str, Screen]]]:
    """Two screens for each question, once both have some text; with the chat and the text."""
    found: list[tuple[str, str, Screen]] = []
    async with contextlib.AsyncExitStack() as stack:
        for number, content in enumerate(questions):
            chat_id = f"chat-{number}"
            turn_id = await cluster.ask(chat_id, content)
            seed, chars = map(int, content.split())
            for gateway in cluster.gateways:
                screen = Screen(cluster.apis[0].api_url, lambda url=gateway.gateway_url: url, chat_id, turn_id)
                await stack.enter_async_context(screen)
                found.append((chat_id, text_of_seed(seed, chars), screen))
        await until(lambda: all(len(screen.text) > 50 for _, _, screen in found), limit_s=30)
        yield found


async def all_whole(cluster: AnswerCluster, found: list[tuple[str, str, Screen]]) -> None:
    for chat_id, text, screen in found:
        turn = await screen.finished(60)
        message = await cluster.message(chat_id, turn["id"])
        assert message is not None
        assert turn["status"] == "complete", (chat_id, turn)
        assert screen.text == message["content"] == text, chat_id
        assert all(text.startswith(shown) for shown in screen.shown), chat_id
    assert cluster.states() == {"complete": len({chat_id for chat_id, _, _ in found})}


@pytest.mark.parametrize("keeps_data", [False, True], ids=["returns empty", "returns with older data"])
async def test_answers_go_on_while_redis_is_away(
    postgres: PostgresServer, redis: RedisServer, keeps_data: bool
) -> None:
    loop = asyncio.get_running_loop()
    # A unit takes about 7 ms: answers that end while Redis is away, and answers that go on after it.
    questions = [f"{seed} {2_500 if seed % 2 else 8_000}" for seed in range(10)]
    async with running_answers(postgres, redis, of_length, workers=2) as cluster, screens(cluster, questions) as found:
        if keeps_data:
            redis.command("SAVE")
            await asyncio.sleep(1)
        redis.kill()
        await asyncio.sleep(AWAY_S)
        redis.start()
        back_at = loop.time()
        lengths = {screen: len(text) for _, text, screen in found}
        stored = dict(cluster.query("SELECT chat_id, content FROM messages WHERE role = 'AI'"))
        await asyncio.sleep(SOON_S)
        for chat_id, _, screen in found:
            if lengths[screen] < 4_000:
                assert screen.turn is not None, chat_id
            assert screen.text.startswith(stored[chat_id]), chat_id
        ended = [screen.ended_at - back_at for _, text, screen in found if len(text) < 4_000]
        report(f"{len(ended)} screens had their ended answers within {max(ended):.2f} s of the return")
        await all_whole(cluster, found)


async def test_answers_go_on_while_postgresql_is_away(own_postgres: PostgresServer, redis: RedisServer) -> None:
    questions = [f"{seed} {800 if seed % 2 else 4_000}" for seed in range(10)]
    async with (
        running_answers(own_postgres, redis, of_length, workers=2) as cluster,
        screens(cluster, questions) as found,
    ):
        lengths = {screen: len(screen.text) for _, _, screen in found}
        own_postgres.kill()
        # Longer than a lease.
        await asyncio.sleep(12)
        # Screens grow meanwhile.
        grown = sum(len(screen.text) > lengths[screen] + 300 for _, _, screen in found)
        own_postgres.start()
        report(f"{grown} of {len(found)} screens grew by more than 300 characters while the database was away")
        assert grown == len(found)
        await all_whole(cluster, found)
