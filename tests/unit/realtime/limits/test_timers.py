from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from roomcast.realtime.limits.timers import TimerWheel


class Clock:
    """The part of an event loop that the wheel uses, with a manual clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self)  # type: ignore[arg-type]
        self.timers.append(handle)
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.remove(handle)

    def get_debug(self) -> bool:
        return False

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted(t for t in self.timers if t.when() <= end):
            self.timers.remove(due[0])
            self.now = max(self.now, due[0].when())
            due[0]._run()
        self.now = end


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wheel(clock: Clock) -> TimerWheel:
    return TimerWheel(clock, resolution_s=0.1)  # type: ignore[arg-type]


def test_a_deadline_fires_once_within_one_resolution(clock: Clock, wheel: TimerWheel) -> None:
    fired: list[float] = []
    wheel.deadline(lambda: fired.append(clock.now)).arm(1.03)
    clock.advance(1.0)
    assert fired == []
    clock.advance(5.0)
    assert fired == [pytest.approx(1001.1)]


def test_a_cancelled_deadline_does_not_fire(clock: Clock, wheel: TimerWheel) -> None:
    fired: list[int] = []
    deadline = wheel.deadline(lambda: fired.append(1))
    deadline.arm(1)
    assert deadline.armed
    deadline.cancel()
    deadline.cancel()
    clock.advance(5)
    assert fired == []
    assert not deadline.armed


def test_arming_again_moves_the_deadline(clock: Clock, wheel: TimerWheel) -> None:
    fired: list[float] = []
    deadline = wheel.deadline(lambda: fired.append(clock.now))
    deadline.arm(1)
    deadline.arm(3)
    clock.advance(2)
    assert fired == []
    deadline.arm(0.1)
    clock.advance(10)
    assert fired == [pytest.approx(1002.1, abs=0.11)]


def test_a_thousand_deadlines_cost_one_timer(clock: Clock, wheel: TimerWheel) -> None:
    fired: list[int] = []
    for i in range(1000):
        wheel.deadline(lambda i=i: fired.append(i)).arm(1 + i / 1000)
    assert len(clock.timers) == 1
    clock.advance(3)
    assert sorted(fired) == list(range(1000))
    assert clock.timers == []


def test_an_earlier_deadline_moves_the_timer(clock: Clock, wheel: TimerWheel) -> None:
    fired: list[str] = []
    wheel.deadline(lambda: fired.append("late")).arm(5)
    wheel.deadline(lambda: fired.append("early")).arm(1)
    clock.advance(2)
    assert fired == ["early"]
    clock.advance(4)
    assert fired == ["early", "late"]


def test_a_callback_may_cancel_another_of_the_same_bucket(clock: Clock, wheel: TimerWheel) -> None:
    fired: list[str] = []
    first = wheel.deadline(lambda: (fired.append("first"), second.cancel()))
    second = wheel.deadline(lambda: (fired.append("second"), first.cancel()))
    first.arm(1)
    second.arm(1)
    clock.advance(2)
    assert len(fired) == 1


def test_a_callback_that_rearms_without_delay_fires_in_the_next_bucket(clock: Clock, wheel: TimerWheel) -> None:
    fired: list[float] = []

    def again() -> None:
        fired.append(clock.now)
        if len(fired) < 3:
            deadline.arm(0)

    deadline = wheel.deadline(again)
    deadline.arm(0)
    clock.advance(1)
    assert fired == sorted(set(fired))
    assert len(fired) == 3


def test_a_callback_that_fails_does_not_stop_the_others(
    clock: Clock, wheel: TimerWheel, caplog: pytest.LogCaptureFixture
) -> None:
    fired: list[int] = []
    wheel.deadline(lambda: 1 // 0).arm(1)
    wheel.deadline(lambda: fired.append(1)).arm(1)
    wheel.deadline(lambda: fired.append(2)).arm(2)
    clock.advance(3)
    assert fired == [1, 2]
    assert "ZeroDivisionError" in caplog.text


def test_stopping_the_wheel_disarms_every_deadline(clock: Clock, wheel: TimerWheel) -> None:
    deadline = wheel.deadline(lambda: pytest.fail("fired"))
    deadline.arm(1)
    wheel.stop()
    assert clock.timers == []
    assert not deadline.armed
    clock.advance(5)
