"""Who owns a channel."""

from __future__ import annotations

from redis.crc import key_slot

from roomcast.redis_client import Placement, RedisAddress

A, B = RedisAddress("a", 1), RedisAddress("b", 2)


def test_a_lone_server_owns_everything() -> None:
    assert Placement(frozenset({A})).owner("x") == A


def test_a_slot_at_each_edge_of_a_range_belongs_to_it_and_an_uncovered_one_to_nobody() -> None:
    slot = key_slot(b"x")
    assert Placement(frozenset({A, B}), ((0, slot - 1, A), (slot, 16_383, B))).owner("x") == B
    assert Placement(frozenset({A, B}), ((0, slot, A), (slot + 1, 16_383, B))).owner("x") == A
    assert Placement(frozenset({A, B}), ((0, slot - 1, A), (slot + 1, 16_383, B))).owner("x") is None
    assert Placement(frozenset({B}), ((slot + 1, 16_383, B),)).owner("x") is None
