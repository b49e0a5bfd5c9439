"""Timeouts that a stall of the process itself does not use up."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
import uvloop

from roomcast.redis_client import Echo, wait_first, wait_for
from roomcast.redis_client.liveness import SLICES


@pytest.fixture(params=["asyncio", "uvloop"])
def runner(request):
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        yield runner


def test_data_that_arrived_during_a_stall_is_in_time(runner):
    async def scenario() -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            reader, writer = await asyncio.open_connection(sock=ours)
            reading = asyncio.create_task(reader.read(1))
            await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.01, time.sleep, 0.5)  # a stall longer than the timeout
            theirs.send(b"x")
            assert await wait_for(reading, 0.2) == b"x"
            writer.close()

    runner.run(scenario())


def test_data_that_arrived_during_a_stall_in_the_last_slice_is_in_time(runner):
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        alarm, clock = socket.socketpair()
        with ours, theirs, alarm, clock:
            reader, writer = await asyncio.open_connection(sock=ours)
            reading = asyncio.create_task(reader.read(1))

            def arrive_and_stall() -> None:
                # In a loop turn that reads: due timers run before the next read.
                loop.remove_reader(alarm)
                theirs.send(b"x")
                time.sleep(0.3)

            loop.add_reader(alarm, arrive_and_stall)
            timeout_s = 0.4
            ringing = threading.Timer(timeout_s * (1 - 0.5 / SLICES), clock.send, (b"x",))
            ringing.start()
            assert await wait_for(reading, timeout_s) == b"x"
            ringing.join()
            writer.close()

    runner.run(scenario())


def test_a_result_that_comes_only_after_the_stall_is_in_time(runner):
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.01, time.sleep, 0.5)
        loop.call_later(0.55, future.set_result, None)
        assert await wait_first({future}, 0.2)

    runner.run(scenario())


def test_silence_ends_at_the_timeout(runner):
    async def scenario() -> float:
        began = time.monotonic()
        assert not await wait_first({asyncio.get_running_loop().create_future()}, 0.2)
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
        await wait_for(work(), 0.05)
    await cancelled.wait()


async def test_an_error_of_the_work_is_raised():
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await wait_for(work(), 1)


async def test_cancelling_the_caller_cancels_the_work():
    work = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(wait_for(work, 10))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert work.cancelled()


async def test_an_echo_is_received_once_and_other_data_is_ignored():
    echo = Echo()
    for data in (b"another", Echo().nonce):
        echo.receive(data)
        assert not echo.received.done()
    echo.receive(echo.nonce)
    echo.receive(echo.nonce)
    assert echo.received.done()
