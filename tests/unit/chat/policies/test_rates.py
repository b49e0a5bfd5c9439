"""The limits that are on, and the keys of addresses."""

from __future__ import annotations

from dataclasses import fields

import pytest

from roomcast.chat.policies.rates import LimitName, Rate, RateLimits, address_key


def test_every_limit_has_a_value_and_the_other_way_round() -> None:
    named = {field.name.replace("_", "-") for field in fields(RateLimits)}
    assert named | {LimitName.REFUSALS} == set(LimitName) == RateLimits().rates.keys()


def test_zero_turns_a_limit_off() -> None:
    rates = RateLimits(messages=0, joins=7).rates
    assert LimitName.MESSAGES not in rates
    assert rates[LimitName.JOINS] == Rate(7, 60.0)


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8::1", "2001:0db8:0000:0000"),
        ("2001:db8::ffff:1:2", "2001:0db8:0000:0000"),
        ("2001:db8:0:1::1", "2001:0db8:0000:0001"),
        ("127.0.0.1", None),
        ("127.9.9.9", None),
        ("::1", None),
        ("::ffff:127.0.0.1", None),
        ("", None),
        ("testclient", None),
    ],
)
def test_the_key_of_an_address_is_one_client_and_loopback_has_none(address: str, key: str | None) -> None:
    assert address_key(address) == key
