from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.errors import AdditionLimitReached
from roomcast.chat.policies.additions import ALL_USERS, LEAST_ADDITIONS, AdditionLimits
from roomcast.contract.rest import MAX_MEMBERS_AT_CREATION

NOW = 1_800_000_000_000
LIMITS = AdditionLimits(same_user=3, all_users=0, period_s=60)


def times_added(limits: AdditionLimits, moments_ms: list[int], user_ids: tuple[str, ...] = ("bob",)) -> list[int]:
    """The moments at which an addition succeeds."""
    state: dict[str, int] = {}
    succeeded = []
    for now_ms in moments_ms:
        try:
            state |= limits.charge(state, user_ids, now_ms)
        except AdditionLimitReached:
            continue
        succeeded.append(now_ms)
    return succeeded


def test_a_full_allowance_permits_the_limit_at_once_and_then_refills_evenly() -> None:
    seconds = [NOW + 1_000 * second for second in (0, 0, 0, 0, 19, 20, 21, 40, 60)]
    assert times_added(LIMITS, seconds) == [NOW, NOW, NOW, NOW + 20_000, NOW + 40_000, NOW + 60_000]


@given(st.lists(st.integers(0, 200_000), max_size=60), st.integers(1, 7), st.integers(0, 7))
def test_no_period_has_more_than_twice_the_limit(offsets: list[int], same_user: int, all_users: int) -> None:
    added = times_added(AdditionLimits(same_user, all_users, 60), [NOW + offset for offset in sorted(offsets)])
    limit = min(same_user, all_users or same_user)
    assert all(sum(start <= moment < start + 60_000 for moment in added) <= 2 * limit for start in added)
    assert len(added) >= min(len(offsets), limit)


@given(st.integers(1, 10**6), st.integers(0, 10**9))
def test_the_addition_succeeds_after_exactly_the_time_that_the_error_states(limit: int, offset: int) -> None:
    limits = AdditionLimits(limit, 0, 3_600)
    interval_ms = 3_600_000 // limit
    state = {"bob": NOW + 3_600_000 - offset % interval_ms}
    with pytest.raises(AdditionLimitReached) as error:
        limits.charge(state, ["bob"], NOW)
    assert limits.charge(state, ["bob"], NOW + 1_000 * error.value.retry_after_s)
    with pytest.raises(AdditionLimitReached):
        limits.charge(state, ["bob"], NOW + 1_000 * (error.value.retry_after_s - 1))


def test_a_refused_addition_charges_no_allowance() -> None:
    limits = AdditionLimits(same_user=5, all_users=1)
    state = limits.charge({}, ["ann"], NOW)
    with pytest.raises(AdditionLimitReached):
        limits.charge(state, ["bob"], NOW)
    assert set(state) == {"ann", ALL_USERS}


def test_zero_means_no_limit() -> None:
    assert times_added(AdditionLimits(0, 0), [NOW] * 2_000) == [NOW] * 2_000


def test_a_clock_that_is_set_back_blocks_no_longer_than_one_period() -> None:
    a_year_ahead = LIMITS.charge({}, ["bob"], NOW + 365 * 86_400_000)
    with pytest.raises(AdditionLimitReached) as error:
        LIMITS.charge(a_year_ahead, ["bob"], NOW)
    assert error.value.retry_after_s <= 20


def test_a_whole_team_is_added_within_the_default_limits() -> None:
    AdditionLimits().charge({}, [f"user {number}" for number in range(256)], NOW)


def test_the_least_limit_permits_the_largest_creation() -> None:
    assert LEAST_ADDITIONS == MAX_MEMBERS_AT_CREATION
