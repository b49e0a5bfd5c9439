"""The pace of flushes: at once when idle, after a bounded rest when busy, never forgotten."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.realtime.fanout.pacing import BUSY_S, BUSY_WRITES, Pacer


class Loop:
    """A loop whose time passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0
        self.soon: deque[Callable[[], None]] = deque()
        self.later: list[tuple[float, Callable[[], None]]] = []

    def clock(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None], /) -> None:
        self.soon.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None], /) -> None:
        self.later.append((self.now + delay, callback))

    def turn(self) -> None:
        """One turn: what is due, then what was asked for before it."""
        due = [callback for at, callback in self.later if at <= self.now]
        self.later = [(at, callback) for at, callback in self.later if at > self.now]
        ready, self.soon = [*due, *self.soon], deque()
        for callback in ready:
            callback()


class Log:
    """Stands for the fan-out log: asks once, and notes when it is flushed."""

    def __init__(self, loop: Loop, rest_limit_s: float, flush_takes_s: float, writes: int = BUSY_WRITES) -> None:
        self.loop = loop
        self.pacer = Pacer(rest_limit_s, loop, loop.clock)
        self.takes_s = flush_takes_s
        self.writes = writes
        self.asked = False
        self.flushed_at: list[float] = []

    def emit(self) -> None:
        if not self.asked:
            self.asked = True
            self.pacer(self.flush)

    def flush(self) -> int:
        self.asked = False
        self.flushed_at.append(self.loop.now)
        self.loop.now += self.takes_s
        return self.writes


@pytest.mark.parametrize("takes_s", [0.0001, 0.050])
def test_a_message_that_comes_alone_is_flushed_in_the_next_turn_however_long_it_takes(takes_s: float) -> None:
    loop = Loop()
    log = Log(loop, 0.005, takes_s)
    for _ in range(3):
        log.emit()
        began = loop.now
        loop.turn()
        assert log.flushed_at[-1] == began
        loop.turn()
        assert not loop.later


@pytest.mark.parametrize(("takes_s", "rest_s"), [(0.002, 0.002), (0.005, 0.005), (0.050, 0.005)])
def test_what_is_emitted_while_a_long_flush_is_written_waits_as_long_but_bounded(takes_s: float, rest_s: float) -> None:
    loop = Loop()
    log = Log(loop, 0.005, takes_s)
    log.emit()
    loop.turn()
    log.emit()
    loop.turn()
    ended = loop.now
    loop.turn()
    assert len(log.flushed_at) == 1
    loop.now = ended + rest_s + 1e-9
    loop.turn()
    assert len(log.flushed_at) == 2


def test_a_long_turn_with_few_writes_is_not_the_rooms_fault() -> None:
    loop = Loop()
    log = Log(loop, 0.005, 0.050, writes=BUSY_WRITES - 1)
    for number in range(3):
        log.emit()
        loop.turn()
        log.emit()
        assert len(log.flushed_at) == number + 1
    assert not loop.later


def test_the_shortest_busy_flush_is_told_from_an_idle_one() -> None:
    for takes_s, rests in ((BUSY_S * 0.99, False), (BUSY_S * 1.01, True)):
        loop = Loop()
        log = Log(loop, 0.005, takes_s)
        log.emit()
        loop.turn()
        log.emit()
        loop.turn()
        assert bool(loop.later) is rests


def test_without_a_rest_limit_every_tick_is_flushed_at_its_end() -> None:
    loop = Loop()
    log = Log(loop, 0.0, 0.050)
    for number in range(5):
        log.emit()
        loop.turn()
        assert len(log.flushed_at) == number + 1
    assert not loop.later


@given(st.lists(st.sampled_from(["emit", "turn", "wait"]), max_size=60), st.floats(0, 0.02), st.floats(0, 0.01))
def test_whatever_comes_each_emit_is_flushed_within_the_rest(steps: list[str], takes_s: float, limit_s: float) -> None:
    loop = Loop()
    log = Log(loop, limit_s, takes_s)
    for step in steps:
        match step:
            case "emit":
                log.emit()
            case "turn":
                loop.turn()
            case "wait":
                loop.now += 0.001
    for _ in range(4):  # written, rest, flush, written
        loop.turn()
        loop.now += limit_s + 1e-9
    loop.turn()
    assert not log.asked
