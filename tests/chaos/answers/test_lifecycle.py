"""Processes that are drained, replaced, killed and started again in the middle of answers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.cluster.deployment import report
from support.answer_cluster import AnswerCluster, question, running_answers, text_of_seed, tokens
from support.clients import get, send
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.provider import Answer, Request, Step, running_provider
from support.redis_server import RedisServer
from support.screens import FINAL, Screen
from support.waiting import until

pytestmark = pytest.mark.chaos
ANSWERS = 50


def of_length(request: Request) -> Answer:
    """The question has a seed, the number of UTF-16 units, and the pause between tokens in ms."""
    seed, chars, pause_ms = map(int, question(request).split())
    return Answer(tokens(text_of_seed(seed, chars), seed, pause_ms / 1_000))


async def test_a_drained_worker_with_fifty_answers_ends_each(postgres: PostgresServer, redis: RedisServer) -> None:
    async with running_answers(postgres, redis, of_length, gateways=1, ROOMCAST_DRAIN_S="4") as cluster:
        # The even ones end during the drain.
        questions = [f"{seed} {600 if seed % 2 == 0 else 20_000} 20" for seed in range(ANSWERS)]
        turns = [await cluster.ask(f"c{number}", content) for number, content in enumerate(questions)]
        await until(lambda: len(cluster.provider.requests) == ANSWERS, limit_s=20)
        await asyncio.sleep(1)
        code, took = await asyncio.to_thread(cluster.workers[0].stop, signal.SIGTERM)
        states = cluster.states()
        report(f"{took:.2f} s, exit code {code}: {states}")
        assert code == 0
        assert took < 8
        assert sum(states.values()) == ANSWERS
        assert set(states) == {"complete", "incomplete shutdown"}
        for number, turn_id in enumerate(turns):
            message = await cluster.ended(f"c{number}", turn_id)
            text = text_of_seed(number, int(questions[number].split()[1]))
            assert text.startswith(message["content"])
            assert (message["content"] == text) == (message["turn"]["status"] == "complete")


async def test_a_rolling_restart_loses_no_question_and_no_text(postgres: PostgresServer, redis: RedisServer) -> None:
    asked: list[tuple[str, str, Screen]] = []
    async with (
        running_answers(
            postgres, redis, of_length, workers=2, gateways=2, ROOMCAST_DRAIN_S="2", ROOMCAST_UNREADY_S="0"
        ) as cluster,
        contextlib.AsyncExitStack() as stack,
    ):
        urls = [gateway.gateway_url for gateway in cluster.gateways]

        async def ask_on() -> None:
            for number in range(60):
                content = f"{number} 400 20"
                turn_id = await cluster.ask(f"c{number}", content)
                at = iter(range(1_000_000))
                screen = Screen(
                    cluster.apis[0].api_url,
                    lambda at=at, first=number: urls[(first + next(at)) % 2],
                    f"c{number}",
                    turn_id,
                )
                asked.append((f"c{number}", text_of_seed(number, 400), await stack.enter_async_context(screen)))
                await asyncio.sleep(0.25)

        asking = asyncio.create_task(ask_on())
        for process in (*cluster.gateways, *cluster.workers):
            await asyncio.sleep(2)
            code, took = await asyncio.to_thread(process.stop, signal.SIGTERM)
            assert code == 0, process.output
            report(f"{process.args[0]} stopped in {took:.2f} s")
            await asyncio.to_thread(process.start)
        await asking
        await whole_or_cut(cluster, asked)
        report(f"{cluster.states()}")
        assert set(cluster.states()) <= {"complete", "incomplete shutdown"}


async def whole_or_cut(cluster: AnswerCluster, asked: list[tuple[str, str, Screen]]) -> None:
    for chat_id, text, screen in asked:
        turn = await screen.finished(60)
        message = await cluster.message(chat_id, turn["id"])
        assert message is not None
        assert screen.text == message["content"], chat_id
        assert text.startswith(message["content"]), chat_id
        if turn["status"] == "complete":
            assert message["content"] == text, chat_id


def words() -> Iterator[Step]:
    return tokens(text_of_seed(1, 3_000), 1, 0.02)


@pytest.mark.parametrize("how", ["kill", "interrupt"])
async def test_up_that_ends_in_the_middle_of_an_answer_keeps_its_text(tmp_path: Path, how: str) -> None:
    text = text_of_seed(1, 3_000)
    async with running_provider(lambda _: Answer(words())) as provider:
        env = {"ROOMCAST_RESPONDER": "openai", "OPENAI_BASE_URL": provider.url, "OPENAI_MODEL": "m"}
        with Roomcast.up(tmp_path / "data", env={**env, "ROOMCAST_DRAIN_S": "1"}) as server:
            turn_id = (await send(server.api_url, "c", "hello"))["turn"]["id"]
            async with Screen(server.api_url, lambda: server.gateway_url, "c", turn_id) as screen:
                await until(lambda: len(screen.text) > 1_000, limit_s=20)
                seen = screen.text
                if how == "kill":
                    server.kill()
                else:
                    code, took = await asyncio.to_thread(server.stop)
                    report(f"Ctrl-C: exit code {code} after {took:.2f} s")
                    assert took < 4
                began = asyncio.get_running_loop().time()
                await asyncio.to_thread(server.start)
                turn = await screen.finished(30)
                took = asyncio.get_running_loop().time() - began

                async def answer() -> dict[str, object]:
                    (message,) = [
                        message
                        for message in (await get(f"{server.api_url}/api/chats/c/messages"))["messages"]
                        if message["role"] == "AI"
                    ]
                    return dict(message)

                message = await answer()
                content = str(message["content"])
                report(
                    f"{how}: {turn['status']} {turn['reason']} after {took:.1f} s,"
                    f" {len(seen)} characters were seen, {len(content)} are stored"
                )
                assert turn["status"] in FINAL - {"failed"}
                assert text.startswith(content)
                assert content == screen.text
                if how == "interrupt":
                    assert content.startswith(seen)
                else:
                    # One interval of the checkpoints, at about 200 characters a second.
                    assert took < 16
                    assert len(content) > len(seen) - 1_200
