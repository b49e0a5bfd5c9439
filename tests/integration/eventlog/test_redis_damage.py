"""A log whose keys another client has overwritten is replaced: it is a cache."""

from __future__ import annotations

import logging

import pytest

from roomcast.chat.ports import CannotReplay, Head, Replay
from support.log_watch import Sink, entries, publish
from support.redis_server import RedisServer

EPOCH, CHAT = "e1", "chat-1"
META, LIST = "roomcast:{chat-1}:meta", "roomcast:{chat-1}:log"
BAD_STATE = {
    **{
        f"{key} is a {kind}": [("DEL", key), command]
        for key in (META, LIST)
        for kind, command in {
            "string": ("SET", key, "x"),
            "set": ("SADD", key, "x"),
            "sorted set": ("ZADD", key, "1", "x"),
            "stream": ("XADD", key, "*", "x", "x"),
        }.items()
    },
    "meta is a list": [("DEL", META), ("RPUSH", META, "x")],
    "entries are a hash": [("DEL", LIST), ("HSET", LIST, "x", "x")],
    "no epoch": [("HDEL", META, "epoch")],
    "no last": [("HDEL", META, "last")],
    "no bytes": [("HDEL", META, "bytes")],
    "bytes are not a number": [("HSET", META, "bytes", "many")],
    "epoch is not a word": [("HSET", META, "epoch", "a b\n")],
    "epoch is empty": [("HSET", META, "epoch", "")],
    **{f"last is {last!r}": [("HSET", META, "last", last)] for last in ("x", "", "-1", "3.5", "1e3", "nan", "9" * 30)},
}
BAD_RECORDS = {
    "records are not records": [("LSET", LIST, "1", "junk")],
    "a record is missing": [("LPOP", LIST), ("LPUSH", LIST, "1 9 -\n[]")],
    "a record too many": [("RPUSH", LIST, "junk")],
}


def spoil(server: RedisServer, commands: list[tuple[str, ...]]) -> None:
    for command in commands:
        assert not server.command(*command).startswith(b"-")


@pytest.mark.parametrize("damage", BAD_STATE.values(), ids=BAD_STATE)
async def test_a_damaged_log_is_absent_and_the_next_append_replaces_it(
    server: RedisServer, open_log, damage: list[tuple[str, ...]]
) -> None:
    async with open_log() as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        await publish(log, CHAT, EPOCH, 3)
        spoil(server, damage)
        assert await log.read(CHAT, EPOCH, 1, 10) == CannotReplay(None)
        assert await log.head(CHAT) is None
        await publish(log, CHAT, EPOCH, 4)
        assert (await sink.reached(4))[-1] == 4
        assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 4)), Head(EPOCH, 4))
        assert int(server.command("PTTL", LIST)[1:]) > 0


@pytest.mark.parametrize("damage", BAD_RECORDS.values(), ids=BAD_RECORDS)
async def test_a_log_whose_records_cannot_be_decoded_is_deleted_by_the_read_that_finds_them(
    server: RedisServer, open_log, damage: list[tuple[str, ...]]
) -> None:
    async with open_log() as log:
        await publish(log, CHAT, EPOCH, 3)
        spoil(server, damage)
        assert await log.read(CHAT, EPOCH, 0, 10) == CannotReplay(None)
        await publish(log, CHAT, EPOCH, 4)
        assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 4)), Head(EPOCH, 4))


async def test_a_first_event_replaces_a_damaged_log(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        server.command("SET", META, "x")
        server.command("SET", LIST, "x")
        await log.append(CHAT, EPOCH, entries(1, 2))
        assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 2)), Head(EPOCH, 2))


async def test_a_key_with_the_name_of_the_channel_does_not_stop_appends(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        server.command("SADD", "roomcast:{chat-1}:live", "x")
        await log.append(CHAT, EPOCH, entries(1, 2))
        assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 2)), Head(EPOCH, 2))


async def test_damage_is_not_a_line_per_message(
    server: RedisServer, open_log, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_log() as log:
        with caplog.at_level(logging.INFO):
            for seq in range(1, 101):
                server.command("DEL", META)
                server.command("SET", META, "x")
                await publish(log, CHAT, EPOCH, seq)
                await log.read(CHAT, EPOCH, 0, 10)
        assert len(caplog.records) < 10
