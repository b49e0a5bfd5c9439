"""Webhooks of real processes: a receiver that is down, slow or failing, and workers that are killed."""

from __future__ import annotations

import asyncio
import itertools
import random
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.large_store import load_now
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.webhook_receiver import Receiver, running_receiver, verify

CHATS = [f"chat-{number}" for number in range(6)]
ENV = {"ROOMCAST_WEBHOOK_NETWORKS": "127.0.0.0/8", "ROOMCAST_RESPONDER": "none"} | {
    f"ROOMCAST_LIMIT_{name}": "0" for name in ("MESSAGES", "BYTES", "CHAT_MESSAGES", "REQUESTS", "ADDRESS_REQUESTS")
}
#: How long each fault lasts, and the pause of each sender after a message. A minute has the same course with longer
#: pauses.
SHORT = pytest.param((5.0, 0.05), marks=pytest.mark.timeout(180), id="5 s")
MINUTE = pytest.param((60.0, 0.15), marks=[pytest.mark.chaos, pytest.mark.timeout(1_200)], id="a minute")


@pytest.fixture(params=["sqlite", "postgresql"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Roomcast]:
    """An API and a worker in one process with SQLite; an API and two workers with PostgreSQL."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield stack.enter_context(Roomcast.up(tmp_path / "data", one_port=True, env=ENV))
            return
        postgres: PostgresServer = request.getfixturevalue("postgres")
        env = {**ENV, "DATABASE_URL": postgres.url(postgres.create_database())}
        api = stack.enter_context(Roomcast.api(None, env={**env, "ROOMCAST_WORKER": "off"}))
        for _ in range(2):
            stack.enter_context(Roomcast.worker(env=env))
        yield api


class Senders:
    """Send to all chats, with a pause after each message.

    Attributes:
        times: Duration of each send, in seconds, by phase.
    """

    def __init__(self, client: httpx.AsyncClient, pause_s: float = 0.05) -> None:
        self.times: dict[str, list[float]] = {}
        self.phase = "healthy"
        self._stopping = False
        self._client = client
        self._pause_s = pause_s

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._send_to(chat_id)) for chat_id in CHATS]
        try:
            yield
        finally:
            self._stopping = True
            await asyncio.gather(*tasks)

    async def _send_to(self, chat_id: str) -> None:
        for number in itertools.count():
            if self._stopping:
                return
            body = {"chatId": chat_id, "role": "USER", "content": str(number)}
            began = time.perf_counter()
            response = await self._client.post("/api/chat/messages", json=body)
            assert response.status_code == 201
            self.times.setdefault(self.phase, []).append(time.perf_counter() - began)
            await asyncio.sleep(self._pause_s)  # their rate

    def median_ms(self, phase: str) -> float:
        return statistics.median(self.times[phase]) * 1_000

    def report(self) -> str:
        lines = []
        for phase, times in self.times.items():
            p99_ms = statistics.quantiles(times, n=100)[98] * 1_000
            lines.append(f"{phase}: median {self.median_ms(phase):.1f} ms, p99 {p99_ms:.1f} ms of {len(times)}")
        return "; ".join(lines)


async def create(client: httpx.AsyncClient, receiver: Receiver) -> dict[str, Any]:
    created: dict[str, Any] = (await client.post("/api/webhooks", json={"url": receiver.url})).json()
    return created


async def heads(client: httpx.AsyncClient) -> dict[str, list[int]]:
    """The seqs that each chat has."""
    return {
        chat_id: list(range(1, (await client.get(f"/api/chats/{chat_id}")).json()["lastSeq"] + 1)) for chat_id in CHATS
    }


def has_requests(receiver: Receiver, number: int) -> bool:
    return len(receiver.requests) >= number


async def received_all(client: httpx.AsyncClient, receiver: Receiver, limit_s: float) -> None:
    expected = await heads(client)
    total = sum(map(len, expected.values()))
    try:
        await receiver.until(lambda: sum(map(len, receiver.seqs.values())) >= total, limit_s)
    finally:
        assert receiver.first_copies() == expected


@pytest.mark.parametrize("fault", [SHORT, MINUTE])
async def test_each_event_arrives_in_order_while_a_receiver_is_down_slow_or_failing_and_nothing_else_is_slowed(
    installation: Roomcast, fault: tuple[float, float]
) -> None:
    fault_s, pause_s = fault
    chance = random.Random(1)
    async with (
        running_receiver() as failing,
        running_receiver() as healthy,
        httpx.AsyncClient(base_url=installation.api_url, timeout=20) as client,
    ):
        secret = (await create(client, failing))["secret"]
        await create(client, healthy)
        senders = Senders(client, pause_s)
        async with senders.running():
            await asyncio.sleep(fault_s)
            senders.phase = "down"
            await failing.stop()
            await asyncio.sleep(fault_s)
            await failing.start()
            senders.phase = "slow"
            failing.delay_s = 1.0
            await asyncio.sleep(fault_s)
            senders.phase = "500"
            failing.delay_s = 0.0
            failing.answer = lambda _: (chance.choice((200, 500, 503)), {})
            await asyncio.sleep(fault_s)
            failing.answer = lambda _: (200, {})
            # The other webhook has not waited for the failing one.
            behind = sum(map(len, (await heads(client)).values())) - len(healthy.delivered)
            # The machine is not the same all the time: measured before and after the faults.
            missed = sum(map(len, (await heads(client)).values()))
            began = time.monotonic()
            await failing.until(lambda: sum(map(len, failing.seqs.values())) >= missed, 60 + 6 * fault_s)
            caught_up_s = time.monotonic() - began
            senders.phase = "healthy"
            await asyncio.sleep(fault_s)
        figures = f"the healthy receiver was {behind} events behind; {missed} events after {caught_up_s:.0f} s"
        print(f"\n{senders.report()}; {figures}; {load_now()}")  # noqa: T201 - figures of the run
        await received_all(client, healthy, 15)
        await received_all(client, failing, 90)
        assert all(verify(secret, request.headers, request.raw) for request in failing.requests)
        assert behind < 2.0 * len(CHATS) / pause_s  # of two seconds
        for phase in ("down", "slow", "500"):
            assert senders.median_ms(phase) < 2 * senders.median_ms("healthy") + 5
        webhooks = (await client.get("/api/webhooks")).json()["webhooks"]
        assert [(webhook["waiting"], webhook["dead"]) for webhook in webhooks] == [(0, 0), (0, 0)]


@pytest.mark.timeout(120)
async def test_nothing_is_lost_or_out_of_order_when_workers_are_killed_in_the_middle(postgres: PostgresServer) -> None:
    name = postgres.create_database()
    env = {**ENV, "DATABASE_URL": postgres.url(name)}
    with ExitStack() as stack:
        api = stack.enter_context(Roomcast.api(None, env={**env, "ROOMCAST_WORKER": "off"}))
        workers = [stack.enter_context(Roomcast.worker(env=env)) for _ in range(2)]
        async with (
            running_receiver() as first,
            running_receiver() as second,
            httpx.AsyncClient(base_url=api.api_url, timeout=20) as client,
        ):
            for receiver in (first, second):
                receiver.delay_s = 0.02
                await create(client, receiver)
            async with Senders(client, pause_s=0.2).running():
                for turn in range(4):
                    for receiver in (first, second):  # both webhooks are being sent for
                        enough = len(receiver.requests) + 20
                        await receiver.until(partial(has_requests, receiver, enough), 30)
                    worker = workers[turn % 2]
                    if turn == 2:  # a suspended worker wakes up after another one has its webhooks
                        worker.pause()
                        for receiver in (first, second):
                            enough = len(receiver.requests) + 20
                            await receiver.until(partial(has_requests, receiver, enough), 40)
                        worker.resume()
                        continue
                    worker.kill()
                    await asyncio.to_thread(worker.start)
            for receiver in (first, second):
                await received_all(client, receiver, 40)
