"""Reading a stream: what is history, and which losses are noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from roomcast.realtime.adapters.redis import RedisAdapterCounters, RedisStreamOptions
from roomcast.realtime.adapters.redis.stream_reader import StreamReader
from roomcast.realtime.cluster.commands import Offset
from roomcast.redis_client import RedisAddress, RedisOptions, RedisUnavailable
from support.redis_server import RedisServer
from support.waiting import until

STREAM = RedisStreamOptions(stream="s", block_s=0.2)
# Adds entries with the numbers from the first to the second argument, at most so many as the third one remain.
ADD = """for n = ARGV[1], ARGV[2] do
  redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[3], '*', 'n', string.format('%d', n), 'data', string.rep('x', ARGV[4]))
end"""


class Taken:
    """What a reader has passed on."""

    def __init__(self) -> None:
        self.begins: list[tuple[Offset, Offset, bool]] = []
        self.past: list[int] = []
        self.new: list[int] = []
        self.offsets: list[Offset] = []

    def begin(self, offset: Offset, last: Offset, *, gap: bool) -> None:
        self.begins.append((offset, last, gap))

    def take(self, offset: Offset, fields: Sequence[bytes], age_s: float | None) -> None:
        number = int(fields[1])
        self.offsets.append(offset)
        (self.new if age_s is None else self.past).append(number)
        assert age_s is None or 0 <= age_s < 60


class Reading:
    """A reader that connects again after each error."""

    def __init__(self, server: RedisServer, options: RedisStreamOptions, history_s: float) -> None:
        self.server = server
        self.taken = Taken()
        self.counters = RedisAdapterCounters()
        self.errors = 0
        self._redis = RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),))
        self.reader = StreamReader(self._redis, options, self.taken, self.counters, lambda: history_s)

    async def run(self) -> None:
        while True:
            try:
                await self.reader.follow(self._redis.addresses[0], lambda: True)
            except RedisUnavailable:
                self.errors += 1
                await asyncio.sleep(0.01)

    def add(self, first: int, last: int, *, keep: int = 100_000, size: int = 0) -> None:
        """Add entries in one command, without a turn for the reader."""
        add(self.server, first, last, keep=keep, size=size)


def add(server: RedisServer, first: int, last: int, *, keep: int = 100_000, size: int = 0) -> None:
    assert server.command("EVAL", ADD, "1", "s", *map(str, (first, last, keep, size))) == b"$-1"


@asynccontextmanager
async def reading(
    server: RedisServer, options: RedisStreamOptions = STREAM, history_s: float = 0
) -> AsyncIterator[Reading]:
    made = Reading(server, options, history_s)
    task = asyncio.create_task(made.run())
    try:
        async with asyncio.timeout(10):
            await made.reader.began.wait()
        yield made
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture
def empty(redis_server: RedisServer) -> RedisServer:
    redis_server.command("FLUSHALL")
    return redis_server


async def test_entries_of_before_the_start_are_history_also_when_reading_them_fails(empty: RedisServer) -> None:
    add(empty, 0, 23, size=100_000)
    async with reading(empty, replace(STREAM, read_limit_bytes=1_000_000), history_s=60) as made:
        made.add(24, 60)
        await until(lambda: made.taken.new == list(range(24, 61)))
        assert made.taken.past == list(range(24))
        assert made.errors > 0
        assert not made.counters.dropped
        ((_, last, gap),) = made.taken.begins
        assert (last, gap) == (made.taken.offsets[23], False)


async def test_history_that_is_trimmed_while_it_is_read_is_a_gap_and_stays_history(empty: RedisServer) -> None:
    add(empty, 0, 999)
    made = Reading(empty, replace(STREAM, read_count=100), 60)
    take = made.taken.take

    def trim_and_take(offset: Offset, fields: Sequence[bytes], age_s: float | None) -> None:
        if fields[1] == b"99":
            empty.command("XTRIM", "s", "MAXLEN", "500")
        take(offset, fields, age_s)

    made.taken.take = trim_and_take  # type: ignore[method-assign]
    task = asyncio.create_task(made.run())
    await made.reader.began.wait()
    task.cancel()
    assert (made.taken.past, made.taken.new) == ([*range(100), *range(500, 1_000)], [])
    assert made.counters.dropped == {"gap": 1}


@pytest.mark.parametrize("keep", [2, 300])
async def test_entries_that_are_trimmed_before_they_are_read_are_a_gap(empty: RedisServer, keep: int) -> None:
    async with reading(empty) as made:
        made.add(0, 0)
        await until(lambda: made.taken.new == [0])
        made.add(1, 1_000, keep=keep)
        await until(lambda: made.taken.new[-1] == 1_000)
        assert made.taken.new == [0, *range(1_001 - keep, 1_001)]
        assert made.counters.dropped == {"gap": 1}
        offset, last, gap = made.taken.begins[-1]
        assert made.taken.offsets[0] < offset == last < made.taken.offsets[1]
        assert gap
        made.add(1_001, 1_001, keep=keep)
        await until(lambda: made.taken.new[-1] == 1_001)
        assert len(made.taken.begins) == 2


async def test_entries_that_are_trimmed_while_the_connection_is_down_are_a_gap(empty: RedisServer) -> None:
    async with reading(empty) as made:
        made.add(0, 10)
        await until(lambda: made.taken.new == list(range(11)))
        empty.command("CLIENT", "KILL", "TYPE", "normal")
        made.add(11, 30, keep=15)
        await until(lambda: made.taken.new[-1] == 30)
        assert made.taken.new == [*range(11), *range(16, 31)]
        assert made.counters.dropped == {"gap": 1}
        assert made.taken.begins[-1][2]


async def test_a_reader_that_is_behind_without_a_loss_reports_no_gap(empty: RedisServer) -> None:
    async with reading(empty, replace(STREAM, read_count=10)) as made:
        made.add(0, 499)  # to an empty stream
        await until(lambda: made.taken.new == list(range(500)))
        made.add(500, 999, keep=700)
        await until(lambda: made.taken.new == list(range(1_000)))
        empty.command("CLIENT", "KILL", "TYPE", "normal")
        made.add(1_000, 1_200, keep=700)
        await until(lambda: made.taken.new == list(range(1_201)))
        assert made.errors == 1
        assert len(made.taken.begins) == 1
        assert not made.counters.dropped


async def test_a_stream_that_replaces_another_one_is_read_from_its_beginning_and_reported(empty: RedisServer) -> None:
    async with reading(empty) as made:
        made.add(0, 10)
        await until(lambda: made.taken.new == list(range(11)))
        for first, last in ((11, 30), (31, 40)):
            empty.command("CLIENT", "KILL", "TYPE", "normal")
            empty.command("DEL", "s")
            if first == 31:
                await until(lambda: made.counters.dropped == {"gap": 2})
            made.add(first, last)
            await until(lambda last=last: made.taken.new[-1] == last)
        assert made.taken.new == list(range(41))
        assert made.counters.dropped == {"gap": 2}
        for (offset, _, gap), before, after in zip(made.taken.begins[1:], (10, 30), (11, 31), strict=True):
            assert gap
            assert made.taken.offsets[before] < offset <= made.taken.offsets[after]


async def test_an_entry_above_the_limit_is_a_gap_and_the_others_after_it_are_read(empty: RedisServer) -> None:
    async with reading(empty, replace(STREAM, read_limit_bytes=1_000_000)) as made:
        made.add(0, 0)
        await until(lambda: made.taken.new == [0])
        made.add(1, 1, size=2_000_000)
        made.add(2, 2)
        await until(lambda: made.counters.dropped == {"gap": 1})
        made.add(3, 200)
        await until(lambda: made.taken.new[-1] == 200)
        assert made.taken.new == [0, *range(3, 201)]
        assert made.taken.begins[-1][2]


async def test_without_history_a_reader_takes_what_follows_only(empty: RedisServer) -> None:
    add(empty, 0, 10)
    async with reading(empty) as made:
        made.add(11, 12)
        taken: Any = made.taken
        await until(lambda: taken.new == [11, 12])
        assert (taken.past, len(taken.begins)) == ([], 1)
