"""Flushes: immediate when idle, after a bounded pause when busy, never lost."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.realtime.fanout.pacing import BUSY_S, BUSY_WRITES, Pacer


class Loop:
    """An event loop with a manual clock."""

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
        """One iteration: due timers, then the callbacks scheduled before it."""
        due = [callback for at, callback in self.later if at <= self.now]
        self.later = [(at, callback) for at, callback in self.later if at > self.now]
        ready, self.soon = [*due, *self.soon], deque()
        for callback in ready:
            callback()


class FakeLog:
    """Stands in for the fan-out log: requests one flush at a time, and records when each runs."""

    def __init__(self, loop: Loop, rest_limit_s: float, flush_takes_s: float, writes: int = BUSY_WRITES) -> None:
        self.loop = loop
        self.pacer = Pacer(rest_limit_s, loop, loop.clock)
        self.takes_s = flush_takes_s
        self.writes = writes
        self.requested = False
        self.entries = 0
        self.flushed_at: list[float] = []

    def emit(self) -> None:
        self.entries += 1
        if not self.requested:
            self.requested = True
            self.pacer(self.flush)

    def flush(self) -> tuple[int, int]:
        self.requested = False
        shared, self.entries = self.entries - 1, 0
        self.flushed_at.append(self.loop.now)
        self.loop.now += self.takes_s
        return self.writes, shared


@pytest.mark.parametrize("takes_s", [0.0001, 0.050])
def test_a_single_message_is_flushed_in_the_next_iteration_regardless_of_the_flush_duration(takes_s: float) -> None:
    loop = Loop()
    log = FakeLog(loop, 0.005, takes_s)
    for _ in range(3):
        log.emit()
        began = loop.now
        loop.turn()
        assert log.flushed_at[-1] == began
        loop.turn()
        assert not loop.later


@pytest.mark.parametrize(("takes_s", "rest_s"), [(0.002, 0.002), (0.005, 0.005), (0.050, 0.005)])
def test_emits_during_a_long_flush_wait_for_its_duration_up_to_the_limit(takes_s: float, rest_s: float) -> None:
    loop = Loop()
    log = FakeLog(loop, 0.005, takes_s)
    for _ in range(2):  # each turn flushes, and emits again
        log.emit()
        loop.turn()
    loop.turn()
    log.emit()
    ended = loop.now
    loop.turn()
    assert len(log.flushed_at) == 2
    loop.now = ended + rest_s + 1e-9
    loop.turn()
    assert len(log.flushed_at) == 3


def test_an_acknowledgement_after_a_long_flush_is_not_delayed() -> None:
    loop = Loop()
    log = FakeLog(loop, 0.005, 0.004)
    for _ in range(5):
        log.writes = BUSY_WRITES
        log.emit()
        loop.turn()  # the message; the next request is read before the next iteration
        log.writes = 1
        log.emit()
        loop.turn()  # the writes have ended
        loop.turn()  # the acknowledgement
        assert not log.requested
        assert not loop.later


def pauses(log: FakeLog, flushes: int, *, at_once: int = 1, more: bool = False) -> list[bool]:
    """Whether a pause preceded each flush, if emits are read before the writes of the flush before count as ended.

    Args:
        log: The log.
        flushes: Number of flushes.
        at_once: Emits for each flush.
        more: Whether another emit follows during the pause.
    """
    loop, paused = log.loop, []
    for _ in range(flushes):
        for _ in range(at_once):
            log.emit()
        number = len(log.flushed_at)
        paused.append(False)
        loop.turn()
        while len(log.flushed_at) == number:
            if loop.later:
                paused[-1] = True
                if more:
                    log.emit()
                loop.now += 0.005
            loop.turn()
    return paused


@pytest.mark.parametrize("at_once", [1, 10])
def test_a_client_that_awaits_each_message_before_the_next_is_rarely_delayed(at_once: int) -> None:
    # With eager tasks (Python 3.12), its request is read and its message emitted before the flush counts as written.
    assert sum(pauses(FakeLog(Loop(), 0.005, 0.005), 200, at_once=at_once)) <= 16


def test_pauses_go_on_while_they_collect_emits() -> None:
    assert all(pauses(FakeLog(Loop(), 0.005, 0.005), 200, more=True)[3:])


def test_pauses_return_within_16_flushes_when_they_begin_to_collect_emits() -> None:
    log = FakeLog(Loop(), 0.005, 0.005)
    pauses(log, 200)
    assert all(pauses(log, 200, more=True)[16:])


def test_a_slow_flush_with_few_writes_does_not_delay_the_next() -> None:
    loop = Loop()
    log = FakeLog(loop, 0.005, 0.050, writes=BUSY_WRITES - 1)
    for number in range(3):
        log.emit()
        loop.turn()
        log.emit()
        assert len(log.flushed_at) == number + 1
    assert not loop.later


def test_only_a_flush_of_at_least_busy_s_is_followed_by_a_pause() -> None:
    for takes_s, rests in ((BUSY_S * 0.99, False), (BUSY_S * 1.01, True)):
        loop = Loop()
        log = FakeLog(loop, 0.005, takes_s)
        for _ in range(4):
            log.emit()
            loop.turn()
        assert bool(loop.later) is rests


def test_without_a_rest_limit_every_tick_is_flushed_at_its_end() -> None:
    loop = Loop()
    log = FakeLog(loop, 0.0, 0.050)
    for number in range(5):
        log.emit()
        loop.turn()
        assert len(log.flushed_at) == number + 1
    assert not loop.later


@given(st.lists(st.sampled_from(["emit", "turn", "wait"]), max_size=60), st.floats(0, 0.02), st.floats(0, 0.01))
def test_every_emit_is_flushed_within_the_rest_limit(steps: list[str], takes_s: float, limit_s: float) -> None:
    loop = Loop()
    log = FakeLog(loop, limit_s, takes_s)
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
    assert not log.requested
