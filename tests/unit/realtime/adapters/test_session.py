"""What waits for Redis; sessions themselves are tested on real servers."""

from __future__ import annotations

import pytest

from roomcast.realtime.adapters.redis import RedisAdapterCounters, RedisAdapterOptions
from roomcast.realtime.adapters.redis.session import Outbox


def outbox(**options: float) -> tuple[Outbox, RedisAdapterCounters]:
    counters = RedisAdapterCounters()
    made = RedisAdapterOptions(**{"max_message_bytes": 10, "queue_limit_bytes": 30, "queue_limit_s": 5.0, **options})  # type: ignore[arg-type]
    return Outbox(made, counters), counters


def test_messages_leave_in_order() -> None:
    box, _ = outbox()
    for data in (b"1", b"2", b"3"):
        box.put(data, 0.0)
    assert (len(box), box.size_bytes) == (3, 3)
    assert box.take(0.0) == [b"1", b"2", b"3"]
    assert (len(box), box.size_bytes, box.take(0.0)) == (0, 0, [])


def test_the_oldest_is_dropped_beyond_the_limit_and_not_at_it() -> None:
    box, counters = outbox()
    for data in (b"a" * 10, b"b" * 10, b"c" * 10):
        box.put(data, 0.0)
    assert counters.dropped["queue-full"] == 0
    box.put(b"d", 0.0)
    assert counters.dropped["queue-full"] == 1
    assert box.take(0.0) == [b"b" * 10, b"c" * 10, b"d"]


def test_what_waited_too_long_is_dropped_and_what_waited_exactly_as_long_is_not() -> None:
    box, counters = outbox()
    box.put(b"old", 0.0)
    box.put(b"new", 1.0)
    assert box.take(6.0) == [b"new"]
    assert counters.dropped["stale"] == 1


def test_a_queue_that_could_not_hold_a_message_is_refused() -> None:
    with pytest.raises(ValueError, match="queue_limit_bytes"):
        RedisAdapterOptions(max_message_bytes=2, queue_limit_bytes=1)
    with pytest.raises(ValueError, match="address"):
        RedisAdapterOptions(addresses=())
    with pytest.raises(ValueError, match="key"):
        RedisAdapterOptions(key="")
