"""Owners of channels."""

from __future__ import annotations

from redis.crc import key_slot

from roomcast.redis_client import RedisAddress, Topology

A, B = RedisAddress("a", 1), RedisAddress("b", 2)


def test_a_single_server_owns_every_channel() -> None:
    assert Topology(frozenset({A})).owner("x") == A


def test_the_slots_at_both_ends_of_a_range_belong_to_it_and_an_uncovered_slot_has_no_owner() -> None:
    slot = key_slot(b"x")
    assert Topology(frozenset({A, B}), ((0, slot - 1, A), (slot, 16_383, B))).owner("x") == B
    assert Topology(frozenset({A, B}), ((0, slot, A), (slot + 1, 16_383, B))).owner("x") == A
    assert Topology(frozenset({A, B}), ((0, slot - 1, A), (slot + 1, 16_383, B))).owner("x") is None
    assert Topology(frozenset({B}), ((slot + 1, 16_383, B),)).owner("x") is None
