"""Batches of admissions: many questions share requests, few are sent at once, each receives its own answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from roomcast.gateway.api.batches import AdmissionBatches, BatchOptions
from roomcast.gateway.api.client import ApiClient, ApiClientOptions
from roomcast.gateway.ports import ApiUnavailable
from support.api_http import HandledHttp
from support.virtual_time import run_in_virtual_time

TAKES_S = 0.1


class Api:
    """A fake API: after ``takes_s`` it answers each question with the seq that is its chat id."""

    def __init__(self, options: BatchOptions | None = None) -> None:
        self.sizes: list[int] = []
        self.under_way = self.most_under_way = 0
        self.fault: httpx.Response | None = None
        self.bug: Exception | None = None
        self.takes_s = TAKES_S
        options_of_client = ApiClientOptions(url="http://api.test", timeout_s=60.0)
        client = ApiClient(options_of_client, None, http=HandledHttp(self._handle))
        self.batches = AdmissionBatches(client, options)

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        asks = json.loads(request.content)["asks"]
        self.sizes.append(len(asks))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(self.takes_s)
        self.under_way -= 1
        if self.bug is not None:
            raise self.bug
        if self.fault is not None:
            return self.fault
        answers = [{"admitted": {"epoch": "e", "seq": int(ask["chatId"]), "reset": False}} for ask in asks]
        return httpx.Response(200, json={"answers": answers})

    async def seq(self, number: int) -> Any:
        decision = await self.batches.ask({"chatId": str(number), "userId": None, "since": None})
        assert decision.admitted is not None
        return decision.admitted.seq


def run(scenario: Callable[[Api], Awaitable[None]], options: BatchOptions | None = None) -> None:
    async def main() -> None:
        await scenario(Api(options))

    run_in_virtual_time(main())


def test_a_single_question_is_sent_at_once() -> None:
    async def scenario(api: Api) -> None:
        began = asyncio.get_running_loop().time()
        assert await api.seq(7) == 7
        assert asyncio.get_running_loop().time() - began < 2 * TAKES_S
        assert api.sizes == [1]

    run(scenario)


def test_a_storm_costs_few_requests_and_each_question_receives_its_own_answer() -> None:
    async def scenario(api: Api) -> None:
        assert await asyncio.gather(*(api.seq(number) for number in range(1_000))) == list(range(1_000))
        assert len(api.sizes) <= 4 + 1_000 // 64 + 1
        assert max(api.sizes) == 64
        assert api.most_under_way == 4

    run(scenario)


def test_questions_that_arrive_during_a_short_request_share_the_next_one() -> None:
    async def scenario(api: Api) -> None:
        api.takes_s = BatchOptions().patience_s / 2
        first = asyncio.create_task(api.seq(0))
        await asyncio.sleep(0.001)
        assert await asyncio.gather(first, *(api.seq(number) for number in range(1, 60))) == list(range(60))
        assert api.sizes == [1, 59]

    run(scenario)


def test_a_slow_request_does_not_hold_up_later_questions() -> None:
    async def scenario(api: Api) -> None:
        api.takes_s = 1.0
        slow = asyncio.create_task(api.seq(0))
        await asyncio.sleep(0.001)
        api.takes_s = 0.0
        began = asyncio.get_running_loop().time()
        assert await asyncio.gather(api.seq(1), api.seq(2)) == [1, 2]
        assert asyncio.get_running_loop().time() - began < 2 * BatchOptions().patience_s
        assert not slow.done()
        assert await slow == 0

    run(scenario)


def test_a_storm_fills_its_requests_and_the_first_question_after_it_does_not_wait() -> None:
    async def scenario(api: Api) -> None:
        api.takes_s = 0.005
        tasks = []
        for number in range(2_000):
            tasks.append(asyncio.create_task(api.seq(number)))
            await asyncio.sleep(0.001)
        assert await asyncio.gather(*tasks) == list(range(2_000))
        assert len(api.sizes) < 2_000 / 64 + 12
        assert api.most_under_way <= 2
        await asyncio.sleep(1)
        began = asyncio.get_running_loop().time()
        assert await api.seq(1) == 1
        assert asyncio.get_running_loop().time() - began < 0.006

    run(scenario)


def test_questions_that_follow_each_other_are_each_sent_at_once() -> None:
    async def scenario(api: Api) -> None:
        api.takes_s = 0.001
        for number in range(20):
            assert await api.seq(number) == number
        assert asyncio.get_running_loop().time() < 20 * 0.002

    run(scenario)


def test_a_few_joins_a_second_hardly_wait_for_each_other() -> None:
    async def scenario(api: Api) -> None:
        api.takes_s = 0.005
        loop = asyncio.get_running_loop()
        waits = []

        async def join(number: int) -> None:
            began = loop.time()
            await api.seq(number)
            waits.append(loop.time() - began)

        async with asyncio.TaskGroup() as group:
            for number in range(300):
                group.create_task(join(number))
                await asyncio.sleep(0.01)  # 100 a second
        assert sum(waits) / len(waits) < 0.015

    run(scenario)


def test_a_failed_request_is_unavailable_for_all_its_questions_and_later_ones_are_sent() -> None:
    async def scenario(api: Api) -> None:
        api.fault = httpx.Response(500)
        results = await asyncio.gather(*(api.seq(number) for number in range(100)), return_exceptions=True)
        assert all(isinstance(result, ApiUnavailable) for result in results)
        api.fault = None
        assert await api.seq(1) == 1

    run(scenario)


def test_a_bug_leaves_no_question_waiting_and_later_ones_are_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(api: Api) -> None:
        api.bug = RuntimeError("not foreseen")
        results = await asyncio.gather(*(api.seq(number) for number in range(300)), return_exceptions=True)
        assert all(isinstance(result, ApiUnavailable) for result in results)
        assert asyncio.get_running_loop().time() < 10 * TAKES_S
        api.bug = None
        assert await api.seq(1) == 1

    run(scenario)
    assert "not foreseen" in caplog.text


def test_closing_leaves_no_question_waiting() -> None:
    async def scenario(api: Api) -> None:
        asking = [asyncio.create_task(api.seq(number)) for number in range(300)]
        await asyncio.sleep(TAKES_S / 2)
        await api.batches.close()
        results = await asyncio.gather(*asking, return_exceptions=True)
        assert all(isinstance(result, ApiUnavailable) for result in results)
        assert asyncio.get_running_loop().time() < TAKES_S

    run(scenario)


def test_a_cancelled_question_does_not_affect_the_others() -> None:
    async def scenario(api: Api) -> None:
        tasks = [asyncio.create_task(api.seq(number)) for number in range(300)]
        await asyncio.sleep(TAKES_S / 2)
        for task in tasks[::2]:
            task.cancel()
        assert await asyncio.gather(*tasks[1::2]) == list(range(1, 300, 2))

    run(scenario)


def test_questions_time_out_and_their_number_is_bounded() -> None:
    async def scenario(api: Api) -> None:
        api.takes_s = 50.0
        tasks = [asyncio.create_task(api.seq(number)) for number in range(20)]
        await asyncio.sleep(0)
        with pytest.raises(ApiUnavailable, match="too many"):
            await api.seq(21)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, ApiUnavailable) for result in results)
        assert asyncio.get_running_loop().time() < 10

    run(scenario, BatchOptions(max_requests=1, max_waiting=20))
