"""Exponential backoff with equal jitter."""

from __future__ import annotations

import pytest

from roomcast.backoff import Backoff, jittered, should_log


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
