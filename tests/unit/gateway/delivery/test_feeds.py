from __future__ import annotations

import asyncio

import pytest

from roomcast.chat.ports import Head, LogUnavailable
from roomcast.gateway.delivery.chat_feed import FeedOptions
from support.gateway_model import FeedWorld
from support.virtual_time import run_in_virtual_time


def test_a_lost_last_delivery_is_found_by_the_sweep() -> None:
    async def main() -> None:
        world = FeedWorld(FeedOptions(sweep_s=30.0))
        await world.follow()
        world.log.drops_deliveries = True
        await world.commit(2)
        sweeping = asyncio.create_task(world.feeds.run())
        await asyncio.sleep(30)
        assert world.socket.seqs() == [1, 2]
        sweeping.cancel()

    run_in_virtual_time(main())


def test_holders_share_one_subscription_which_lingers_after_them() -> None:
    async def main() -> None:
        world = FeedWorld(FeedOptions(linger_s=5.0))
        first, second = await asyncio.gather(world.feeds.acquire("a"), world.feeds.acquire("a"))
        assert first is second
        assert world.log.subscriptions == 1
        world.feeds.release(first)
        world.feeds.release(first)
        await asyncio.sleep(4.9)
        assert await world.feeds.acquire("a") is first
        await asyncio.sleep(5)
        assert world.log.subscriptions == 1
        world.feeds.release(first)
        await asyncio.sleep(5.1)
        assert (world.log.subscriptions, len(world.feeds)) == (0, 0)
        assert world.feeds._closing == set()

    run_in_virtual_time(main())


def test_an_unavailable_log_fails_every_waiting_join_and_the_next_one_tries_again() -> None:
    async def main() -> None:
        world = FeedWorld()
        world.log.available = False
        outcomes = await asyncio.gather(world.feeds.acquire("a"), world.feeds.acquire("a"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LogUnavailable, LogUnavailable]
        assert len(world.feeds) == 0
        world.log.available = True
        assert (await world.feeds.acquire("a")).position is None
        await world.feeds.close()
        assert world.log.subscriptions == 0

    run_in_virtual_time(main())


def test_a_cancelled_join_does_not_cancel_the_opening_for_another() -> None:
    async def main() -> None:
        world = FeedWorld()
        gate = asyncio.Event()
        real = world.log.subscribe

        async def slow(chat_id, sink, signals=None):
            await gate.wait()
            return await real(chat_id, sink, signals)

        world.log.subscribe = slow
        first = asyncio.create_task(world.feeds.acquire("a"))
        second = asyncio.create_task(world.feeds.acquire("a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        gate.set()
        feed = await second
        assert feed.holders == 1

    run_in_virtual_time(main())


def test_the_sweep_restores_a_log_that_was_lost() -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.follow()
        await world.commit(3)
        world.log.drop("a")
        await world.feeds.sweep()
        assert await world.log.head("a") == Head("e1", 3)
        assert world.socket.seqs() == [1, 2, 3]

    run_in_virtual_time(main())


def test_a_sweep_with_an_unavailable_log_logs_no_failure_per_feed_and_the_next_one_finds_the_gap(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        world = FeedWorld()
        await world.follow()
        world.log.drops_deliveries = True
        await world.commit(2)
        world.log.available = False
        await world.feeds.sweep()
        # A bug would be logged as an error; the log itself reports that it is unavailable.
        assert caplog.records == []
        world.log.available = True
        await world.feeds.sweep()
        await asyncio.sleep(1)
        assert world.socket.seqs() == [1, 2]

    run_in_virtual_time(main())


def test_a_bug_in_one_feed_does_not_end_the_sweep(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        world = FeedWorld()
        broken = await world.feeds.acquire("broken")
        await world.follow()
        world.log.drops_deliveries = True
        await world.commit(2)

        async def fail() -> None:
            raise KeyError("not foreseen")

        broken.compare_with_log = fail  # type: ignore[method-assign]  # the bug
        await world.feeds.sweep()
        await asyncio.sleep(1)  # time to fill the gap
        assert world.socket.seqs() == [1, 2]

    run_in_virtual_time(main())
    assert "not foreseen" in caplog.text


def test_a_sweep_of_many_feeds_lets_other_tasks_run() -> None:
    async def main() -> None:
        world = FeedWorld()
        for number in range(130):
            await world.feeds.acquire(f"c{number}")
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count_turns())
        await world.feeds.sweep()
        assert turns == 3  # one for each 64 feeds
        counting.cancel()
        await world.feeds.close()

    run_in_virtual_time(main())
