"""Limits of open connections."""

from __future__ import annotations

import pytest

from roomcast.chat.errors import RateLimitReached
from roomcast.chat.policies.rates import LimitName, RateLimits
from roomcast.gateway.connection_limits import ConnectionLimits, OpenConnectionLimits
from roomcast.limits.memory import MemoryRateLimiter

USER = LimitName.CONNECTIONS


def limits(*, per_user: int = 2) -> ConnectionLimits:
    return ConnectionLimits(MemoryRateLimiter(RateLimits().rates), OpenConnectionLimits(per_user=per_user))


def test_the_connection_above_the_limit_is_refused_until_another_one_ends() -> None:
    counted = limits()
    counted.add("a", USER, "ann")
    counted.add("b", USER, "ann")
    counted.add("c", USER, "bob")
    with pytest.raises(RateLimitReached, match="open connections"):
        counted.add("d", USER, "ann")
    counted.remove("d")
    counted.remove("a")
    counted.remove("a")
    counted.add("e", USER, "ann")
    with pytest.raises(RateLimitReached):
        counted.add("f", USER, "ann")


def test_an_address_and_a_user_are_counted_each_and_zero_is_no_limit() -> None:
    counted = limits(per_user=0)
    for number in range(500):
        counted.add(str(number), LimitName.ADDRESS_CONNECTIONS, "192.0.2.1")
        counted.add(str(number), USER, "ann")
    one = ConnectionLimits(MemoryRateLimiter(RateLimits().rates), OpenConnectionLimits(per_address=1))
    one.add("a", LimitName.ADDRESS_CONNECTIONS, "192.0.2.1")
    with pytest.raises(RateLimitReached, match="open address-connections"):
        one.add("b", LimitName.ADDRESS_CONNECTIONS, "192.0.2.1")
