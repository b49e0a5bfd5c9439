"""Hostile and malformed messages: nothing is executed, and the listener survives."""

from __future__ import annotations

import os
import pickle
import random

import redis

from roomcast.chat.ports import MAX_SIGNAL_BYTES, CannotReplay, Head
from roomcast.eventlog.redis import RedisLogOptions
from support.log_watch import Sink, entries, publish
from support.redis_server import RedisServer
from support.waiting import until

EPOCH, CHAT = "e1", "chat-1"
CHANNEL = "roomcast:{chat-1}:live"
MUTATED_FRAMES = 10_000


class _PickleBomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)


def client(server: RedisServer) -> redis.Redis:
    return redis.Redis(port=server.port, protocol=2)


async def test_malformed_messages_execute_nothing_and_are_counted(
    server: RedisServer, open_log, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = b'1 1 -\n["new-msg",{}]'
    poison = {
        b"": "frame header",
        pickle.dumps(_PickleBomb()): "frame header",
        b"\x00" * 100: "frame header",
        b'{"type":"MESSAGE_CREATED"}': "frame header",
        b"RC0 e1 %d\n%b" % (len(record), record): "version",
        b"RC2 e1 %d\n%b" % (len(record), record): "version",
        b"RC1 e1\n": "frame header",
        b"RC1 e1 99\n%b" % record: "frame size",
        b"RC1 e1 5\n%b" % record: "record header",
        b"RC1 e1 %d\n%bx" % (len(record), record): "frame size",
        b"RC1 e1 -5\n%b" % record: "number",
        b"RC1 %%ff %d\n%b" % (len(record), record): "epoch",
        b'RC1 e1 20\n1 0 -\n["new-msg",{}]': "seq",
        b'RC1 e1 21\n1 1 -\n["new-msg",{}]}': "arguments",
        b"RC1 e1 10\n1 1 -\n[\xff\xfe]": "encoding",
        b"RC1 e1 40000\n" + b"9" * 40_000: "record header",
        b"RS1\n" + b"x" * (MAX_SIGNAL_BYTES + 1): "signal size",
        b"RS1 x": "frame header",
        b"RS2\nof a later release": "version",
    }
    async with open_log() as log:
        sink, signals = Sink(), list[bytes]()
        await log.subscribe(CHAT, sink, signals.append)
        with client(server) as bus:
            for frame in poison:
                assert bus.execute_command("SPUBLISH", CHANNEL, frame) == 1
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]
        expected: dict[str, int] = {}
        for reason in poison.values():
            expected[reason] = expected.get(reason, 0) + 1
        assert dict(log.counters.dropped) == expected
        assert signals == []
        assert log.counters.losses.total() == 0
    assert list(tmp_path.iterdir()) == []


async def test_mutated_frames_never_end_the_listener(server: RedisServer, open_log) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - to repeat a failure
    chance = random.Random(seed)
    records = [b'1 %d 00-aa-bb-01\n["new-msg",{"seq":%d}]' % (seq, seq) for seq in (1, 2)]
    frame = b"RC1 e1 %d %d\n%b" % (len(records[0]), len(records[1]), b"".join(records))
    async with open_log() as log:
        mutated, sink = Sink(), Sink()
        await log.subscribe("fuzzed", mutated)
        await log.subscribe(CHAT, sink)
        with client(server) as bus:
            pipe = bus.pipeline(transaction=False)
            for _ in range(MUTATED_FRAMES):
                bad = bytearray(frame)
                for _ in range(chance.randint(1, 4)):
                    where = chance.randrange(len(bad))
                    match chance.randrange(3):
                        case 0:
                            bad[where] = chance.randrange(256)
                        case 1:
                            del bad[where : where + chance.randint(1, 9)]
                        case _:
                            bad[where:where] = chance.randbytes(chance.randint(1, 9))
                    bad = bad or bytearray(b"x")
                pipe.execute_command("SPUBLISH", "roomcast:{fuzzed}:live", bytes(bad))
            pipe.execute()
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]
        await until(lambda: log.counters.frames - 1 + log.counters.dropped.total() == MUTATED_FRAMES)
        assert log.counters.losses.total() == 0


async def test_a_huge_message_ends_the_connection_and_the_listener_reconnects(server: RedisServer, open_log) -> None:
    async with open_log(log_options=RedisLogOptions(max_message_bytes=1_000_000)) as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        with client(server) as bus:
            bus.execute_command("SPUBLISH", CHANNEL, b"RC1 e1 " + b"x" * 20_000_000)
        await until(lambda: log.counters.losses["oversize"] == 1)
        await until(lambda: log.healthy)
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]


async def test_an_overflow_of_the_output_buffer_in_redis_is_a_counted_loss(server: RedisServer, open_log) -> None:
    # On one huge message Redis disconnects the subscriber.
    server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 1mb 1")
    async with open_log() as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        with client(server) as bus:
            bus.execute_command("SPUBLISH", CHANNEL, b"x" * 30_000_000)
        await until(lambda: log.counters.losses.total() == 1)
        await until(lambda: log.healthy)
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]
    server.command("CONFIG", "SET", "client-output-buffer-limit", "pubsub 32mb 8mb 60")


async def test_malformed_records_never_cause_a_partial_replay(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        await publish(log, CHAT, EPOCH, 5)
        with client(server) as bus:
            bus.lset("roomcast:{chat-1}:log", 2, b"junk")
        assert await log.read(CHAT, EPOCH, 0, 10) == CannotReplay(None)
        assert log.counters.dropped["record header"] == 1
        assert await log.seed(CHAT, Head(EPOCH, 5), entries(1, 5)) == Head(EPOCH, 5)
        with client(server) as bus:
            bus.lset("roomcast:{chat-1}:log", 2, b'1 9 -\n["new-msg"]')
        assert await log.read(CHAT, EPOCH, 0, 10) == CannotReplay(None)
        assert await log.seed(CHAT, Head(EPOCH, 5), entries(1, 5)) == Head(EPOCH, 5)
        with client(server) as bus:
            bus.hset("roomcast:{chat-1}:meta", "epoch", b"\xff")
        assert await log.head(CHAT) is None
        assert await log.seed(CHAT, Head(EPOCH, 5), entries(1, 5)) == Head(EPOCH, 5)
