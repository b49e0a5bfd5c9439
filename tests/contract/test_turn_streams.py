"""The contract of `chat.ports.TurnStreams`, over every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from roomcast.chat.ports import (
    EventLog,
    LogNotStored,
    LogUnavailable,
    StreamGap,
    StreamTaken,
    TurnFrame,
    TurnStreams,
    decode_frame,
    decode_stop,
    encode_frame,
    encode_stop,
)
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from roomcast.eventlog.redis import RedisEventLog, RedisTurnStreams
from roomcast.eventlog.redis.keys import stream_key
from roomcast.eventlog.stream_options import StreamOptions
from roomcast.redis_client import Commands, RedisAddress, RedisOptions
from support.redis_server import RedisServer, running

CHAT, TURN = "chat-1", "turn-1"
OPTIONS = StreamOptions(max_bytes=400_000)


@dataclass
class Engine:
    """Streams, the log that carries their signals, and the signals that arrived."""

    streams: TurnStreams
    log: EventLog
    redis: RedisServer | None
    signals: asyncio.Queue[bytes]

    async def published(self) -> TurnFrame:
        async with asyncio.timeout(5):
            frame = decode_frame(await self.signals.get())
        assert frame is not None
        return frame


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with running(RedisServer(directory)) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[Engine]:
    signals: asyncio.Queue[bytes] = asyncio.Queue()
    if request.param == "memory":
        memory = MemoryEventLog()
        await memory.subscribe(CHAT, lambda _epoch, _entries: None, signals.put_nowait)
        yield Engine(MemoryTurnStreams(memory, OPTIONS), memory, None, signals)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    server.command("FLUSHALL")
    options = RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),))
    commands = Commands(options)
    async with RedisEventLog(options, commands=commands) as log:
        await log.subscribe(CHAT, lambda _epoch, _entries: None, signals.put_nowait)
        yield Engine(RedisTurnStreams(commands, OPTIONS), log, server, signals)
    await commands.close()


def frame(first: int, last: int, generation: int = 1, **changes: object) -> TurnFrame:
    chunks = b"[%b]" % b",".join(b'{"type":"x","n":%d}' % number for number in range(first, last + 1))
    return replace(TurnFrame(TURN, generation, first, last, chunks), **changes)


async def test_an_absent_stream_has_no_frames(engine: Engine) -> None:
    assert list(await engine.streams.read(CHAT, TURN)) == []


async def test_frames_come_back_in_order_and_are_published(engine: Engine) -> None:
    given = [frame(0, 0), frame(1, 3, ref="resp_1:7"), frame(4, 4)]
    for one in given:
        await engine.streams.append(CHAT, one)
    assert list(await engine.streams.read(CHAT, TURN)) == given
    assert [await engine.published() for _ in given] == given
    assert list(await engine.streams.read(CHAT, "other")) == []
    assert list(await engine.streams.read("other", TURN)) == []


async def test_a_repeated_frame_is_not_stored_again(engine: Engine) -> None:
    await engine.streams.append(CHAT, frame(0, 2))
    await engine.streams.append(CHAT, frame(0, 2))
    await engine.streams.append(CHAT, frame(3, 3))
    await engine.streams.append(CHAT, frame(0, 2))
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 2), frame(3, 3)]


@pytest.mark.parametrize("wrong", [frame(4, 5), frame(1, 5)])
async def test_a_frame_that_does_not_follow_finds_a_gap(engine: Engine, wrong: TurnFrame) -> None:
    await engine.streams.append(CHAT, frame(0, 2))
    with pytest.raises(StreamGap):
        await engine.streams.append(CHAT, wrong)
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 2)]


async def test_an_absent_stream_accepts_only_the_first_chunk_or_a_seed(engine: Engine) -> None:
    with pytest.raises(StreamGap):
        await engine.streams.append(CHAT, frame(3, 4))
    await engine.streams.seed(CHAT, frame(0, 2, chunks=b'[{"type":"y"}]'))
    assert await engine.published() == frame(3, 2, chunks=b"[]")
    await engine.streams.append(CHAT, frame(3, 4))
    assert [one.last for one in await engine.streams.read(CHAT, TURN)] == [2, 4]


async def test_a_seed_replaces_all_frames_by_one_of_any_size(engine: Engine) -> None:
    for number in range(4):
        await engine.streams.append(CHAT, frame(number, number))
    large = frame(0, 3, chunks=b'["%b"]' % (b"x" * 300_000))
    await engine.streams.seed(CHAT, large)
    assert list(await engine.streams.read(CHAT, TURN)) == [large]


async def test_a_stream_that_is_too_large_asks_for_a_seed(engine: Engine) -> None:
    large = b'["%b"]' % (b"x" * 49_000)
    for number in range(8):
        await engine.streams.append(CHAT, frame(number, number, chunks=large))
    with pytest.raises(StreamGap):
        await engine.streams.append(CHAT, frame(8, 8, chunks=large))
    await engine.streams.seed(CHAT, frame(0, 8, chunks=large))
    await engine.streams.append(CHAT, frame(9, 9, chunks=large))
    assert [one.last for one in await engine.streams.read(CHAT, TURN)] == [8, 9]


async def test_an_earlier_generation_writes_nothing(engine: Engine) -> None:
    await engine.streams.append(CHAT, frame(0, 2, 2))
    for write in (engine.streams.append, engine.streams.seed):
        for late in (frame(3, 3, 1), frame(0, 5, 1)):
            with pytest.raises(StreamTaken):
                await write(CHAT, late)
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 2, 2)]


async def test_a_later_generation_begins_at_0_or_with_a_seed(engine: Engine) -> None:
    await engine.streams.append(CHAT, frame(0, 2, 1))
    with pytest.raises(StreamGap):
        await engine.streams.append(CHAT, frame(3, 3, 2))
    await engine.streams.append(CHAT, frame(0, 0, 2))
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 0, 2)]
    await engine.streams.seed(CHAT, frame(0, 4, 3))
    await engine.streams.append(CHAT, frame(5, 5, 3))
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 4, 3), frame(5, 5, 3)]


async def test_of_two_writers_that_race_only_the_later_generation_is_stored(engine: Engine) -> None:
    async def write(generation: int) -> None:
        for number in range(6):
            try:
                await engine.streams.append(CHAT, frame(number, number, generation))
            except (StreamTaken, StreamGap):
                return

    await asyncio.gather(write(1), write(2))
    frames = await engine.streams.read(CHAT, TURN)
    assert {one.generation for one in frames} == {2}
    assert [one.last for one in frames] == list(range(6))


async def test_expiring_an_absent_stream_is_harmless(engine: Engine) -> None:
    await engine.streams.expire(CHAT, TURN)
    await engine.streams.append(CHAT, frame(0, 0))
    await engine.streams.expire(CHAT, TURN)
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 0)]


def test_signals_of_other_kinds_and_malformed_ones_are_no_frames() -> None:
    good = encode_frame(frame(0, 1, ref="r:1"))
    assert decode_frame(good) == frame(0, 1, ref="r:1")
    for wrong in (b"", b"{}", encode_stop(TURN), good[:-1], good.replace(b"\n", b" "), b"T a b 0 0 -\n[]", b"X" + good):
        assert decode_frame(wrong) is None
    assert decode_stop(encode_stop(TURN)) == TURN
    assert decode_stop(good) is None
    assert decode_stop(b"X a\nb") is None


# --- memory


async def test_streams_in_memory_expire_those_of_ended_turns_first() -> None:
    now = 0.0
    options = StreamOptions(idle_ttl_s=10, ended_ttl_s=1)
    streams = MemoryTurnStreams(MemoryEventLog(), options, clock=lambda: now)
    for turn in "abc":
        await streams.append(CHAT, frame(0, 0, turn_id=turn))
    await streams.expire(CHAT, "b")
    now = 2.0
    assert [bool(await streams.read(CHAT, turn)) for turn in "abc"] == [True, False, True]
    now = 11.0
    assert not await streams.read(CHAT, "c")


async def test_streams_in_memory_are_limited_in_size_together() -> None:
    streams = MemoryTurnStreams(MemoryEventLog(), StreamOptions(memory_bytes=4_000))
    for turn in "abc":
        await streams.append(CHAT, frame(0, 0, turn_id=turn, chunks=b'["%b"]' % (b"x" * 600)))
    await streams.expire(CHAT, "b")
    await streams.append(CHAT, frame(0, 0, turn_id="d", chunks=b'["%b"]' % (b"x" * 600)))
    assert [bool(await streams.read(CHAT, turn)) for turn in "abcd"] == [True, False, True, True]
    await streams.seed(CHAT, frame(0, 9, turn_id="a", chunks=b'["%b"]' % (b"x" * 3_000)))
    assert [bool(await streams.read(CHAT, turn)) for turn in "acd"] == [True, False, False]
    await streams.append(CHAT, frame(10, 10, turn_id="a"))


# --- Redis


in_redis = pytest.mark.parametrize("engine", ["redis"], indirect=True)
KEY = stream_key("roomcast", CHAT, TURN)


def ttl_ms(server: RedisServer) -> int:
    return int(server.command("PTTL", KEY).removeprefix(b":"))


@in_redis
async def test_a_stream_in_redis_has_a_ttl(engine: Engine) -> None:
    await engine.streams.append(CHAT, frame(0, 0))
    assert engine.redis is not None
    assert 850_000 < ttl_ms(engine.redis) <= 900_000
    await engine.streams.expire(CHAT, TURN)
    assert 30_000 < ttl_ms(engine.redis) <= 60_000


@in_redis
async def test_a_stream_that_redis_lost_is_seeded(engine: Engine) -> None:
    await engine.streams.append(CHAT, frame(0, 2))
    assert engine.redis is not None
    engine.redis.command("FLUSHALL")
    assert list(await engine.streams.read(CHAT, TURN)) == []
    with pytest.raises(StreamGap):
        await engine.streams.append(CHAT, frame(3, 3))


@in_redis
@pytest.mark.parametrize("damage", [("SET", KEY, "x"), ("RPUSH", KEY, "x"), ("LSET", KEY, "0", "x")])
async def test_a_key_that_another_client_wrote_counts_as_absent(engine: Engine, damage: tuple[str, ...]) -> None:
    await engine.streams.append(CHAT, frame(0, 0))
    await engine.streams.append(CHAT, frame(1, 1))
    assert engine.redis is not None
    if damage[0] == "SET":
        engine.redis.command("DEL", KEY)
    engine.redis.command(*damage)
    assert list(await engine.streams.read(CHAT, TURN)) == []
    await engine.streams.seed(CHAT, frame(0, 1))
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 1)]


@in_redis
@pytest.mark.parametrize("setting", ["min-replicas-to-write", "maxmemory"])
async def test_a_frame_that_redis_does_not_store_is_published(engine: Engine, setting: str) -> None:
    assert engine.redis is not None
    await engine.streams.append(CHAT, frame(0, 0))
    await engine.published()
    engine.redis.command("CONFIG", "SET", setting, "1")
    try:
        with pytest.raises(LogNotStored):
            await engine.streams.append(CHAT, frame(1, 1))
        assert await engine.published() == frame(1, 1)
        with pytest.raises(LogNotStored):
            await engine.streams.seed(CHAT, frame(0, 1))
        assert await engine.published() == frame(2, 1, chunks=b"[]")
    finally:
        engine.redis.command("CONFIG", "SET", setting, "0")
    assert list(await engine.streams.read(CHAT, TURN)) == [frame(0, 0)]
    with pytest.raises(StreamGap):
        await engine.streams.append(CHAT, frame(2, 2))


async def test_without_redis_a_write_fails_as_unavailable(tmp_path: Path) -> None:
    with running(RedisServer(tmp_path)) as server:
        port = server.port
    commands = Commands(RedisOptions(addresses=(RedisAddress("127.0.0.1", port),)))
    streams = RedisTurnStreams(commands)
    with pytest.raises(LogUnavailable):
        await streams.append(CHAT, frame(0, 0))
    with pytest.raises(LogUnavailable):
        await streams.read(CHAT, TURN)
    await commands.close()


def of_turns(count: int, first: int = 0) -> list[TurnFrame]:
    """The same frame of many turns."""
    return [frame(first, first, turn_id=f"turn-{number}") for number in range(count)]


async def append_all(engine: Engine, frames: list[TurnFrame]) -> list[BaseException | None]:
    return await asyncio.gather(*(engine.streams.append(CHAT, one) for one in frames), return_exceptions=True)


async def lasts(engine: Engine, frames: list[TurnFrame]) -> list[list[int]]:
    return [[one.last for one in await engine.streams.read(CHAT, each.turn_id)] for each in frames]


def reads(server: RedisServer) -> int:
    """How often the server has read from its sockets."""
    return int(server.command("INFO", "stats").partition(b"total_reads_processed:")[2].split()[0])


@in_redis
async def test_frames_of_many_turns_share_few_writes_and_fail_alone(engine: Engine) -> None:
    assert engine.redis is not None
    await append_all(engine, of_turns(100))
    before = reads(engine.redis)
    frames = of_turns(100, first=1)
    frames[50] = replace(frames[50], first=7, last=7)
    results = await append_all(engine, frames)
    assert reads(engine.redis) - before < 20
    assert [type(result) for result in results if result is not None] == [StreamGap]
    assert isinstance(results[50], StreamGap)
    assert await lasts(engine, frames) == [[0] if number == 50 else [0, 1] for number in range(100)]


@in_redis
async def test_a_batch_loads_the_script_that_the_server_lacks(engine: Engine) -> None:
    assert engine.redis is not None
    engine.redis.command("SCRIPT", "FLUSH")
    frames = of_turns(70)
    assert await append_all(engine, frames) == [None] * 70
    assert await lasts(engine, frames) == [[0]] * 70


@in_redis
async def test_a_cancelled_append_does_not_cancel_its_batch(engine: Engine) -> None:
    frames = of_turns(10)
    tasks = [asyncio.create_task(engine.streams.append(CHAT, one)) for one in frames]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[4].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [n == 4 for n in range(10)]
    assert (await lasts(engine, frames))[5:] == [[0]] * 5


@in_redis
async def test_frames_of_a_batch_whose_connection_is_lost_are_stored_once(engine: Engine) -> None:
    server = engine.redis
    assert server is not None

    async def write(turn: TurnFrame) -> None:
        for number in range(30):
            following = replace(turn, first=number, last=number)
            while True:
                try:
                    await engine.streams.append(CHAT, following)
                    break
                except LogUnavailable:
                    await asyncio.sleep(0.01)

    frames = of_turns(20)
    writing = asyncio.gather(*(write(one) for one in frames))
    killed = 0
    while not writing.done():
        await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "normal")
        killed += 1
    await writing
    assert killed > 1
    assert await lasts(engine, frames) == [list(range(30))] * 20


@in_redis
async def test_a_batch_at_a_replica_fails_as_unavailable_and_works_at_the_next_master(engine: Engine) -> None:
    assert engine.redis is not None
    frames = of_turns(10)
    await append_all(engine, frames)
    engine.redis.command("REPLICAOF", "127.0.0.1", "1")
    try:
        results = await append_all(engine, of_turns(10, first=1))
        assert [type(result) for result in results] == [LogUnavailable] * 10
        # The text of an error contains no answer.
        assert not any("type" in str(result) for result in results)
    finally:
        engine.redis.command("REPLICAOF", "NO", "ONE")
    assert await append_all(engine, of_turns(10, first=1)) == [None] * 10
    assert await lasts(engine, frames) == [[0, 1]] * 10
