"""Five senders at 2 messages a second in one chat, over two API replicas, with each policy."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest

from chaos.cluster.deployment import report
from support.answer_cluster import AnswerCluster, running_answers, tokens
from support.postgres_server import PostgresServer
from support.provider import Answer
from support.redis_server import RedisServer
from support.waiting import until

pytestmark = pytest.mark.chaos
SENDERS, MESSAGES, RATE_S = 5, 15, 0.5


async def watch(cluster: AnswerCluster, most: list[int]) -> None:
    """Note how many turns stream at the same time."""
    while True:
        rows = await asyncio.to_thread(cluster.query, "SELECT count(*) FROM turns WHERE status = 'streaming'")
        most.append(int(rows[0][0]))
        await asyncio.sleep(0.02)


async def send_all(cluster: AnswerCluster, statuses: Counter[int]) -> list[str]:
    """The ids of the accepted messages."""
    accepted: list[str] = []

    async def sender(number: int) -> None:
        url = cluster.apis[number % len(cluster.apis)].api_url
        async with httpx.AsyncClient(base_url=url) as http:
            for count in range(MESSAGES):
                body = {"chatId": "team", "role": "USER", "content": f"{number}.{count}"}
                answer = await http.post("/api/chat/messages", json=body)
                statuses[answer.status_code] += 1
                if answer.status_code == 201:
                    accepted.append(answer.json()["id"])
                await asyncio.sleep(RATE_S)

    await asyncio.gather(*(sender(number) for number in range(SENDERS)))
    return accepted


@pytest.mark.parametrize("policy", ["queue", "latest", "reject"])
async def test_every_message_has_the_outcome_of_its_policy(
    postgres: PostgresServer, redis: RedisServer, policy: str
) -> None:
    def short(_: object) -> Answer:
        return Answer(tokens("a short answer in a few pieces", 1, 0.02))

    async with running_answers(postgres, redis, short, apis=2, workers=2, gateways=0) as cluster:
        async with httpx.AsyncClient(base_url=cluster.apis[0].api_url) as http:
            (await http.post("/api/chats", json={"id": "team", "ai": {"whenActive": policy}})).raise_for_status()
        most: list[int] = []
        statuses: Counter[int] = Counter()
        watching = asyncio.create_task(watch(cluster, most))
        accepted = await send_all(cluster, statuses)

        async def all_ended() -> bool:
            return not {"queued", "streaming"} & {state.split()[0] for state in await asyncio.to_thread(cluster.states)}

        await until(all_ended, limit_s=120, step_s=0.2)
        watching.cancel()
        states = cluster.states()
        report(f"{policy}: {dict(statuses)}, turns {states}, at most {max(most)} at a time in {len(most)} samples")
        assert max(most) == 1
        turns = dict(cluster.query("SELECT question_id, status || ' ' || coalesce(reason, '') FROM turns"))
        assert set(turns) == set(accepted)
        assert len(cluster.query("SELECT 1 FROM messages WHERE role = 'AI'")) == states["complete"]
        if policy == "queue":
            assert statuses == {201: SENDERS * MESSAGES}
            assert states == {"complete": SENDERS * MESSAGES}
        elif policy == "latest":
            assert statuses == {201: SENDERS * MESSAGES}
            assert set(states) == {"complete", "stopped replaced"}
            # The last message is answered.
            (last,) = cluster.query("SELECT id FROM messages WHERE role = 'USER' ORDER BY seq DESC LIMIT 1")
            assert turns[last[0]].strip() == "complete"
        else:
            assert set(statuses) == {201, 409}
            assert set(states) == {"complete"}
