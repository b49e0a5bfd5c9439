"""A limit that a process's own sleep does not use up."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
import uvloop

from roomcast.redis_client import first_done, within
from roomcast.redis_client.patience import BEATS


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request):
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


def test_what_arrived_while_the_process_slept_is_in_time(runner):
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            reading = asyncio.create_task(reader.read(1))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.01, time.sleep, 0.5)  # stopped, for longer than the limit
            theirs.send(b"x")
            assert await within(reading, 0.2) == b"x"
            writer.close()

    runner.run(scenario())


def test_what_arrived_while_the_process_slept_at_the_very_end_is_in_time(runner):
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        alarm, clock = socket.socketpair()
        with ours, theirs, alarm, clock:
            reader, writer = await asyncio.open_connection(sock=ours)
            reading = asyncio.create_task(reader.read(1))

            def arrive_and_sleep() -> None:
                # In the turn of the loop in which it reads: its timers come before it reads again.
                loop.remove_reader(alarm)
                theirs.send(b"x")
                time.sleep(0.3)

            loop.add_reader(alarm, arrive_and_sleep)
            limit_s = 0.4
            ringing = threading.Timer(limit_s * (1 - 0.5 / BEATS), clock.send, (b"x",))
            ringing.start()
            assert await within(reading, limit_s) == b"x"
            ringing.join()
            writer.close()

    runner.run(scenario())


def test_what_is_made_only_after_the_sleep_is_in_time_too(runner):
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.01, time.sleep, 0.5)
        loop.call_later(0.55, future.set_result, None)
        assert await first_done({future}, 0.2)

    runner.run(scenario())


def test_silence_ends_at_the_limit(runner):
    async def scenario() -> float:
        began = time.monotonic()
        assert not await first_done({asyncio.get_running_loop().create_future()}, 0.2)
        return time.monotonic() - began

    assert 0.19 <= runner.run(scenario()) < 1


async def test_work_that_takes_too_long_is_cancelled():
    cancelled = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(TimeoutError):
        await within(work(), 0.05)
    await cancelled.wait()


async def test_work_that_fails_says_so():
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await within(work(), 1)


async def test_a_caller_that_is_cancelled_takes_the_work_with_it():
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(within(work, 10))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.cancelled()
