"""Bounds of the log in Redis: every key is bounded and expires."""

from __future__ import annotations

import redis

from roomcast.chat.ports import Appended, CannotReplay, Head, LogEntry, Replay
from roomcast.eventlog.redis import RedisLogOptions
from support.log_watch import Sink, entries, publish
from support.redis_server import RedisServer
from support.waiting import until

EPOCH, CHAT = "e1", "chat-1"


async def test_every_key_is_bounded_and_has_a_time_to_live(server: RedisServer, open_log) -> None:
    bounds = RedisLogOptions(max_entries=20, max_bytes=8_000, idle_ttl_s=60)
    async with open_log(log_options=bounds) as log:
        for size in (10, 1_000, 9_000):
            chat = f"chat-{size}"
            await log.append(chat, EPOCH, entries(1, 30, size=size))
            for seq in range(31, 61):
                await log.append(chat, EPOCH, entries(seq, seq, size=size))
            assert await log.head(chat) == Head(EPOCH, 60)
        await log.seed("seeded", Head(EPOCH, 9), [])
        await log.seed("seeded-full", Head(EPOCH, 99), entries(10, 99, size=500))
    with redis.Redis(port=server.port, protocol=2) as raw:
        keys = list(raw.scan_iter(count=100))
        assert len(keys) >= 8
        for key in keys:
            assert 0 < raw.pttl(key) <= 60_000, key
            if raw.type(key) == b"list":
                records = raw.lrange(key, 0, -1)
                assert len(records) <= 20
                assert sum(map(len, records)) <= 8_000
                meta = key.replace(b":log", b":meta")
                assert int(raw.hget(meta, "bytes")) == sum(map(len, records))
            else:
                assert raw.hlen(key) == 3


async def test_every_use_renews_the_time_to_live_of_both_keys(server: RedisServer, open_log) -> None:
    uses = {
        "append": lambda log: log.append(CHAT, EPOCH, entries(3, 3)),
        "nothing new": lambda log: log.append(CHAT, EPOCH, entries(1, 2)),
        "gap": lambda log: log.append(CHAT, EPOCH, entries(9, 9)),
        "seed": lambda log: log.seed(CHAT, Head(EPOCH, 2), entries(1, 2)),
        "head": lambda log: log.head(CHAT),
        "read": lambda log: log.read(CHAT, EPOCH, 0, 10),
        "refused read": lambda log: log.read(CHAT, EPOCH, 99, 10),
    }
    async with open_log() as log:
        await log.append(CHAT, EPOCH, entries(1, 2))
        with redis.Redis(port=server.port, protocol=2) as raw:
            for name, use in uses.items():
                for key in raw.scan_iter():
                    raw.pexpire(key, 10_000)
                await use(log)
                assert [raw.pttl(key) > 3_000_000 for key in raw.scan_iter()] == [True, True], name


async def test_an_idle_log_expires_and_is_then_absent(open_log) -> None:
    async with open_log(log_options=RedisLogOptions(idle_ttl_s=0.05)) as log:
        await log.append(CHAT, EPOCH, entries(1, 2))

        async def is_absent() -> bool:  # Redis's clock cannot be moved; each look keeps the log for another 0.05 s
            return await log.head(CHAT) is None

        await until(is_absent, step_s=0.2)
        assert await log.read(CHAT, EPOCH, 0, 10) == CannotReplay(None)


async def test_the_eviction_of_one_key_never_causes_a_partial_replay(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        await log.append(CHAT, EPOCH, entries(1, 5))
        server.command("DEL", "roomcast:{chat-1}:log")
        assert await log.read(CHAT, EPOCH, 3, 10) == CannotReplay(Head(EPOCH, 5))
        assert await log.read(CHAT, EPOCH, 5, 10) == Replay((), Head(EPOCH, 5))
        assert await log.append(CHAT, EPOCH, entries(6, 7)) == Appended(Head(EPOCH, 7))
        assert await log.read(CHAT, EPOCH, 5, 10) == Replay(tuple(entries(6, 7)), Head(EPOCH, 7))
        server.command("DEL", "roomcast:{chat-1}:meta")
        assert await log.read(CHAT, EPOCH, 5, 10) == CannotReplay(None)
        assert await log.append(CHAT, EPOCH, entries(1, 1)) == Appended(Head(EPOCH, 1))
        assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 1)), Head(EPOCH, 1))


async def test_large_batches_are_split_and_arrive_complete(open_log) -> None:
    bounds = RedisLogOptions(batch_entries=7, batch_bytes=3_000)
    async with open_log(log_options=bounds) as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        given = entries(1, 40, size=500)
        assert await log.append(CHAT, EPOCH, given) == Appended(Head(EPOCH, 40))
        assert await log.seed(CHAT, Head(EPOCH, 80), entries(21, 80)) == Head(EPOCH, 80)
        assert await sink.reached(80) == list(range(1, 81))
        assert log.counters.frames >= 12


async def test_an_entry_that_is_too_large_is_stored_without_its_arguments(open_log) -> None:
    async with open_log(log_options=RedisLogOptions(max_entry_bytes=2_000)) as log:
        received: list[LogEntry] = []
        sink = Sink()
        await log.subscribe(CHAT, lambda _epoch, new: received.extend(new))
        await log.subscribe(CHAT, sink)
        await log.append(CHAT, EPOCH, [*entries(1, 1), *entries(2, 2, size=5_000), *entries(3, 3)])
        await sink.reached(3)
        assert [(entry.seq, entry.version, bool(entry.args)) for entry in received] == [
            (1, 1, True),
            (2, 0, False),
            (3, 1, True),
        ]
        assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(received), Head(EPOCH, 3))
        assert log.counters.cut == 1


async def test_chat_ids_with_special_characters_do_not_collide(server: RedisServer, open_log) -> None:
    chats = ["a", "a}", "{a}", "a b", "a:log", "a%7D", "ä", "😀" * 40, "a\n", "*", "?"]
    async with open_log() as log:
        for number, chat in enumerate(chats, 1):
            await publish(log, chat, EPOCH, number)
        for number, chat in enumerate(chats, 1):
            assert await log.head(chat) == Head(EPOCH, number)
    with redis.Redis(port=server.port, protocol=2) as raw:
        for key in raw.scan_iter():
            assert key.isascii()
            assert key.count(b"{") == key.count(b"}") == 1
