"""Batches of user ids: each fits into one signal, and is well filled."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.chat.ports import MAX_SIGNAL_BYTES
from roomcast.gateway.presence.signals import PresenceSignal, user_batches

#: What `contract.text.UserId` allows.
user_ids = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\u2028\u2029"), min_size=1, max_size=128
)


def encoded(users: tuple[str, ...]) -> bytes:
    return (
        PresenceSignal.model_construct(node="node-001", entered=users, left=()).model_dump_json(by_alias=True).encode()
    )


@given(st.lists(user_ids, max_size=40), st.integers(1, 60))
def test_batches_hold_all_users_in_order_and_each_fits_into_a_signal(users: list[str], times: int) -> None:
    many = users * times
    found = list(user_batches(many))
    assert [user for batch in found for user in batch] == many
    for batch in found:
        assert len(encoded(batch)) <= MAX_SIGNAL_BYTES
        assert json.loads(encoded(batch))["entered"] == list(batch)


@pytest.mark.parametrize("user", ["\U0001f600" * 128, '"' * 128, "\\" * 128, "x"])
def test_the_longest_ids_fit_and_a_batch_is_well_filled(user: str) -> None:
    first, *_ = user_batches([user] * 20_000)
    assert MAX_SIGNAL_BYTES * 0.9 < len(encoded(first)) <= MAX_SIGNAL_BYTES


def test_no_users_make_no_batch() -> None:
    assert list(user_batches([])) == []
