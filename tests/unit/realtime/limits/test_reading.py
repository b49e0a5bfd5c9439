from __future__ import annotations

import asyncio

import pytest

from roomcast.realtime.limits.reading import TURN_PACKETS, TURNS_S, ReadTurns, TaskTurn, clock
from support.virtual_time import run_in_virtual_time


async def test_connections_take_their_turns_one_after_another() -> None:
    turns = ReadTurns()
    order: list[str] = []
    left = {"a": 3, "b": 1, "c": 2}

    def turn(name: str) -> None:
        order.append(name)
        left[name] -= 1
        if left[name]:
            turns.join(lambda: turn(name))

    for name in left:
        turns.join(lambda name=name: turn(name))  # type: ignore[misc]
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["a", "b", "c", "a", "c", "a"]


async def test_a_loop_iteration_serves_no_more_connections_than_fit_into_its_time() -> None:
    now = 0.0
    served = 0

    def turn() -> None:
        nonlocal now, served
        now += TURNS_S / 2
        served += 1
        turns.join(turn)

    turns = ReadTurns(lambda: now)
    for _ in range(100):
        turns.join(turn)
    for iteration in range(1, 4):
        await asyncio.sleep(0)
        assert served == 2 * iteration
    turns._waiting.clear()


def test_a_pause_ends_before_the_turn_begins() -> None:
    async def main() -> None:
        turns = ReadTurns()
        began = asyncio.get_running_loop().time()
        await turns.wait(3.0)
        assert 3.0 <= asyncio.get_running_loop().time() - began < 3.1

    run_in_virtual_time(main())


async def test_a_task_that_reads_waits_after_the_packets_of_one_turn() -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    turn = TaskTurn(ReadTurns())
    for _ in range(TURN_PACKETS * 3):
        await turn.end_packet(0.0, clock())
    assert others >= 3
    task.cancel()


async def test_a_failing_turn_is_logged_and_the_others_take_theirs(caplog: pytest.LogCaptureFixture) -> None:
    turns = ReadTurns()
    served: list[str] = []
    turns.join([].pop)
    turns.join(lambda: served.append("other"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert served == ["other"]
    assert "IndexError" in caplog.text
