import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from roomcast.store.engine.threads import Threads


@pytest.fixture
async def one() -> AsyncIterator[Threads]:
    threads = Threads(1, "test")
    yield threads
    await asyncio.to_thread(threads.shutdown)


async def test_a_call_runs_on_a_named_thread_and_its_outcome_reaches_the_loop(one: Threads) -> None:
    assert await one.run(lambda: threading.current_thread().name) == "test_0"
    with pytest.raises(ZeroDivisionError):
        await one.run(lambda: 1 // 0)
    assert await one.run(lambda: 2) == 2


async def test_calls_of_one_thread_run_in_their_order_even_if_their_callers_are_cancelled(one: Threads) -> None:
    held, ran = threading.Event(), list[int]()
    first = one.run(held.wait)
    cancelled = one.run(lambda: ran.append(1))
    last = one.run(lambda: ran.append(2))
    cancelled.cancel()
    held.set()
    assert await first
    await last
    assert ran == [1, 2]


async def test_as_many_calls_run_at_once_as_there_are_threads() -> None:
    threads = Threads(3, "test")
    together = threading.Barrier(3)
    arrived = [threads.run(lambda: together.wait(timeout=30)) for _ in range(3)]
    assert sorted(await asyncio.gather(*arrived)) == [0, 1, 2]
    await asyncio.to_thread(threads.shutdown)


async def test_a_shutdown_runs_what_is_queued_and_refuses_further_calls() -> None:
    threads = Threads(2, "test")
    held = threading.Event()
    calls = [threads.run(held.wait) for _ in range(4)]
    end = asyncio.create_task(asyncio.to_thread(threads.shutdown))
    held.set()
    await end
    assert await asyncio.gather(*calls) == [True] * 4
    with pytest.raises(RuntimeError):
        threads.run(lambda: None)
    threads.shutdown()


async def test_a_result_is_released_once_its_caller_has_it(one: Threads) -> None:
    class Result:
        released = asyncio.Event()

        def __del__(self) -> None:
            loop.call_soon_threadsafe(self.released.set)

    loop = asyncio.get_running_loop()
    await one.run(Result)
    await asyncio.wait_for(Result.released.wait(), 30)
