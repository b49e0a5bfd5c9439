"""The queue of messages that wait for Redis."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.realtime.adapters.redis import RedisAdapterCounters, RedisAdapterOptions
from roomcast.realtime.adapters.redis.publish_queue import PublishQueue


def new_queue(**options: float) -> tuple[PublishQueue, RedisAdapterCounters]:
    counters = RedisAdapterCounters()
    made = RedisAdapterOptions(**{"max_message_bytes": 10, "queue_limit_bytes": 30, "queue_limit_s": 5.0, **options})  # type: ignore[arg-type]
    return PublishQueue(made, counters), counters


def taken(queue: PublishQueue, now: float) -> list[bytes]:
    return [command for _, command, _ in queue.take(now)]


def test_messages_leave_in_order() -> None:
    queue, _ = new_queue()
    for data in (b"1", b"2", b"3"):
        queue.put(data, 0.0)
    assert queue.size_bytes == 3
    assert taken(queue, 0.0) == [b"1", b"2", b"3"]
    assert (queue.size_bytes, queue.take(0.0)) == (0, [])


def test_the_oldest_is_dropped_beyond_the_limit_and_not_at_it() -> None:
    queue, counters = new_queue()
    for data in (b"a" * 10, b"b" * 10, b"c" * 10):
        queue.put(data, 0.0)
    assert counters.dropped["queue-full"] == 0
    queue.put(b"d", 0.0)
    assert counters.dropped["queue-full"] == 1
    assert taken(queue, 0.0) == [b"b" * 10, b"c" * 10, b"d"]


def test_a_message_is_dropped_beyond_its_time_limit_and_not_at_it() -> None:
    queue, counters = new_queue()
    queue.put(b"old", 0.0)
    queue.put(b"new", 1.0)
    assert taken(queue, 6.0) == [b"new"]
    assert counters.dropped["stale"] == 1


def test_contradictory_bounds_are_rejected() -> None:
    with pytest.raises(ValueError, match="queue_limit_bytes"):
        RedisAdapterOptions(max_message_bytes=2, queue_limit_bytes=1)
    with pytest.raises(ValueError, match="key"):
        RedisAdapterOptions(key="")


@pytest.mark.parametrize("end", ["take", "clear"])
async def test_a_sender_of_much_waits_while_more_than_half_of_the_limit_is_in_use(end: str) -> None:
    queue, _ = new_queue()
    queue.put(b"a" * 15, 0.0)
    await queue.room()
    queue.put(b"b", 0.0)
    waiting = [asyncio.create_task(queue.room()) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    assert not waiting[1].done()
    if end == "take":
        queue.take(0.0)
    else:
        queue.clear()
    await waiting[1]
