import pytest

from roomcast.wire.errors import Fault, RemoteError
from roomcast.wire.input_budget import BURST_S, InputBudget
from roomcast.wire.limits import Limits

LIMITS = Limits(max_packets_per_s=100, max_packets_before_connect=5, max_bytes_before_connect=1000)


def connected() -> InputBudget:
    budget = InputBudget(LIMITS)
    budget.connected()
    return budget


def test_a_burst_of_one_second_is_read_at_once_and_the_rest_at_the_rate() -> None:
    budget = connected()
    assert budget.spend(100, 10.0) == pytest.approx(0)
    assert budget.spend(50, 10.0) == pytest.approx(0.5)
    assert budget.spend(0, 10.5) == pytest.approx(0)


def test_a_client_at_its_rate_is_never_paused() -> None:
    budget = connected()
    assert all(budget.spend(10, second / 10) <= 0 for second in range(1000))


def test_time_without_packets_saves_no_more_than_one_burst() -> None:
    budget = connected()
    budget.spend(1, 0.0)
    assert budget.spend(100 + 7, 1000.0) == pytest.approx(0.07)


def test_the_budget_of_a_client_above_its_rate_is_used_up_until_it_sends_less() -> None:
    budget = connected()
    budget.spend(20, 10.0)
    assert not budget.used_up(10.0)
    budget.spend(100, 10.0)
    assert budget.used_up(10.5)
    assert not budget.used_up(11.0)


def test_parsing_takes_a_tenth_of_the_time_at_most() -> None:
    budget = connected()
    budget.spend_time(0.05, 10.0)
    assert budget.spend(0, 10.0) + BURST_S == pytest.approx(0.5)


def test_a_client_without_a_namespace_may_send_a_few_packets_only() -> None:
    budget = InputBudget(LIMITS)
    budget.spend(5, 0.0)
    with pytest.raises(RemoteError) as caught:
        budget.spend(1, 1000.0)
    assert caught.value.fault is Fault.TOO_MANY_PACKETS


def test_refused_connects_do_not_renew_the_packets_of_a_client_without_a_namespace() -> None:
    budget = InputBudget(LIMITS)
    for _ in range(5):
        budget.spend(1, 0.0)
        budget.disconnected()
    with pytest.raises(RemoteError):
        budget.spend(1, 0.0)


def test_a_client_that_leaves_its_last_namespace_may_send_a_few_packets_again() -> None:
    budget = connected()
    budget.spend(50, 0.0)
    budget.disconnected()
    budget.spend(5, 0.0)
    with pytest.raises(RemoteError):
        budget.spend(1, 0.0)


def test_a_large_packet_is_refused_until_the_client_is_connected() -> None:
    budget = InputBudget(LIMITS)
    budget.check_size(1000)
    with pytest.raises(RemoteError) as caught:
        budget.check_size(1001)
    assert caught.value.fault is Fault.TOO_LARGE
    budget.connected()
    budget.check_size(1001)
