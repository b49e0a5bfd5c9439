"""Exponential backoff with equal jitter."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import pairwise

import pytest

from roomcast.backoff import Backoff, jittered, parse_retry_after, repeat_forever, should_log
from support.virtual_time import run_in_virtual_time


def test_pauses_double_up_to_the_cap_and_start_over_after_a_reset() -> None:
    backoff = Backoff(0.1, 1.0)
    for longest_s in (0.1, 0.2, 0.4, 0.8, 1.0, 1.0):
        assert longest_s / 2 <= backoff.next_s() <= longest_s
    assert backoff.failures == 6
    backoff.reset()
    assert 0.05 <= backoff.next_s() <= 0.1


def test_any_number_of_failures_keeps_the_cap() -> None:
    backoff = Backoff(0.1, 5.0)
    backoff.failures = 100_000
    assert 2.5 <= backoff.next_s() <= 5.0


@pytest.mark.parametrize(("low", "high"), [(0.5, 1.0), (1.0, 1.5)])
def test_jitter_stays_within_its_shares_and_varies(low: float, high: float) -> None:
    drawn = {jittered(4.0, low, high) for _ in range(100)}
    assert all(4.0 * low <= interval_s <= 4.0 * high for interval_s in drawn)
    assert len(drawn) > 1


def test_repetitions_are_logged_at_powers_of_two() -> None:
    assert [count for count in range(1, 20) if should_log(count)] == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), (" 0 ", 0.0), ("9999999", 86_400.0), ("soon", None), ("-5", None), ("1.5", None), ("", None)],
)
def test_retry_after_is_a_number_of_seconds(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_is_a_date_or_in_the_past_nothing() -> None:
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert parse_retry_after(format_datetime(later, usegmt=True)) == pytest.approx(60, abs=2)
    assert parse_retry_after("Mon, 01 Jan 2024 00:00:00 GMT") == 0
    assert parse_retry_after(format_datetime(later, usegmt=True), 10) == 10


def test_a_step_is_repeated_at_once_while_there_is_more_and_else_after_a_pause() -> None:
    more = [True, True, False, False]
    times: list[float] = []

    async def step() -> bool:
        times.append(asyncio.get_running_loop().time())
        return more.pop(0)

    with pytest.raises(IndexError):
        run_in_virtual_time(repeat_forever(step, 10.0, "the test", ValueError))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[:2] == [0.0, 0.0]
    assert all(5.0 <= pause_s < 10.1 for pause_s in pauses[2:])


def test_errors_in_a_row_are_logged_less_and_less_and_their_pauses_grow(caplog: pytest.LogCaptureFixture) -> None:
    errors = [ValueError("away")] * 9
    times: list[float] = []

    async def step() -> None:
        times.append(asyncio.get_running_loop().time())
        if errors:
            raise errors.pop()
        if len(times) == 11:
            raise RuntimeError("the end")

    with pytest.raises(RuntimeError), caplog.at_level("INFO", "roomcast.backoff"):
        run_in_virtual_time(repeat_forever(step, 1.0, "the test", ValueError, longest_s=16.0))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 4 + ["INFO"]
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert all(8.0 <= pause_s < 16.1 for pause_s in pauses[4:9])
    assert pauses[9] < 1.1


def test_a_success_ends_a_row_of_errors_also_if_there_is_more() -> None:
    outcomes: list[bool | Exception] = [ValueError("away"), ValueError("away"), True, ValueError("away"), False]
    times: list[float] = []

    async def step() -> bool:
        times.append(asyncio.get_running_loop().time())
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(IndexError):
        run_in_virtual_time(repeat_forever(step, 1.0, "the test", ValueError, longest_s=16.0))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[1] > 0.9
    assert pauses[2] == 0.0
    assert pauses[3] < 1.1
