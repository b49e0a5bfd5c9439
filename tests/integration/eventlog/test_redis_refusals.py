"""The log while Redis refuses writes: entries are published, and stored later."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from roomcast.chat.delivery.relay import RelayOptions
from roomcast.chat.model import ANYONE
from roomcast.chat.ports import Appended, CannotReplay, Head, LogNotStored, Replay
from roomcast.contract.rest import SendMessage
from support.backend import open_backend
from support.log_watch import Sink, entries
from support.redis_server import RedisServer
from support.waiting import until

EPOCH, CHAT = "e1", "chat-1"
# What makes Redis refuse writes, and what ends that.
REFUSALS = {
    "OOM": (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
    "NOREPLICAS": (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
    "MISCONF": (("CONFIG", "SET", "save", "3600 1"), ("CONFIG", "SET", "save", "")),
}
refusals = pytest.mark.parametrize("code", REFUSALS)


@asynccontextmanager
async def refusing(server: RedisServer, code: str) -> AsyncIterator[None]:
    """Let the server refuse writes."""
    begin, end = REFUSALS[code]
    server.command(*begin)
    if code == "MISCONF":
        # A snapshot fails if its file is a directory.
        (server.directory / "dump.rdb").mkdir(exist_ok=True)

    def refuses() -> bool:
        if code == "MISCONF":
            server.command("BGSAVE")
        return server.command("SET", "probe", "x").startswith(b"-" + code.encode())

    await until(refuses)
    try:
        yield
    finally:
        server.command(*end)


@refusals
async def test_entries_that_are_refused_are_published_once_in_order(server: RedisServer, open_log, code: str) -> None:
    async with open_log() as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        await log.append(CHAT, EPOCH, entries(1, 2))
        async with refusing(server, code):
            for seq in range(3, 6):
                with pytest.raises(LogNotStored, match=code):
                    await log.append(CHAT, EPOCH, entries(seq, seq))
            assert await sink.reached(5) == [1, 2, 3, 4, 5]
            # The log is still read, ends where it ended, and has what is appended again.
            assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 2)), Head(EPOCH, 2))
            assert await log.append(CHAT, EPOCH, entries(1, 2)) == Appended(Head(EPOCH, 2))
            assert await log.head("absent") is None
            assert log.appends.error is None
            with pytest.raises(LogNotStored):
                await log.append(CHAT, EPOCH, entries(6, 6))
            assert log.appends.error is not None
            assert log.appends.error.code == code
            assert log.counters.unstored == 4
            await until(lambda: log.counters.lag_s > 0)
            assert log.live_feed.error is None
        assert await log.append(CHAT, EPOCH, entries(3, 7)) == Appended(Head(EPOCH, 7))
        assert log.appends.error is None
        assert await log.read(CHAT, EPOCH, 0, 10) == Replay(tuple(entries(1, 7)), Head(EPOCH, 7))


@refusals
async def test_a_log_that_cannot_be_created_publishes(server: RedisServer, open_log, code: str) -> None:
    async with open_log() as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        async with refusing(server, code):
            with pytest.raises(LogNotStored):
                await log.append(CHAT, EPOCH, entries(1, 1))
            with pytest.raises(LogNotStored):
                await log.append(CHAT, EPOCH, entries(7, 8))
            with pytest.raises(LogNotStored):
                await log.seed(CHAT, Head(EPOCH, 9), entries(9, 9))
            with pytest.raises(LogNotStored):
                await log.seed("other", Head(EPOCH, 9), [])
            assert await sink.reached(9) == [1, 7, 8, 9]
            assert await log.read(CHAT, EPOCH, 0, 10) == CannotReplay(None)


async def test_every_batch_of_a_refused_append_is_published(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        async with refusing(server, "OOM"):
            with pytest.raises(LogNotStored):
                await log.append(CHAT, EPOCH, entries(1, 600))
            assert await sink.reached(600) == list(range(1, 601))


@refusals
async def test_the_relay_publishes_what_is_refused_and_stores_it_later(
    server: RedisServer, open_log, tmp_path: Path, caplog: pytest.LogCaptureFixture, code: str
) -> None:
    options = RelayOptions(mark_delay_s=0, retry_min_s=0.05, retry_max_s=0.1, batch_entries=60)

    async def send(count: int) -> None:
        for _ in range(count):
            await backend.writer.send(ANYONE, SendMessage(chatId=CHAT, role="USER", content="x"))

    async with open_log() as log, open_backend(tmp_path, log=log, relay_options=options) as backend:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        await send(5)
        await sink.reached(5)
        await until(lambda: log.appends.error is None)
        with caplog.at_level(logging.INFO):
            async with refusing(server, code):
                await send(100)
                await until(lambda: set(sink.seqs) == set(range(1, 106)))
                # A feed that starts now, and waits for the newest event, gets it.
                late = Sink()
                await log.subscribe(CHAT, late)
                assert not await backend.relay.publish_now(CHAT)
                await late.reached(105)
            epoch = backend.reader.epoch

            async def is_stored() -> bool:
                return await log.head(CHAT) == Head(epoch, 105)

            await until(is_stored)
        lines = [message for message in caplog.messages if code in message]
        assert lines[0].startswith(f"redis: {code} ")
        # One line for the change, and the relay's at powers of two.
        assert len(lines) < 12

        async def all_marks_are_gone() -> bool:
            return not await backend.store.chats.unpublished(1)

        await until(all_marks_are_gone)


@pytest.mark.parametrize("code", ["OOM", "MISCONF", "NOPERM"])
async def test_an_error_that_new_connections_cannot_mend_opens_none(server: RedisServer, open_log, code: str) -> None:
    def connections() -> int:
        lines = server.command("INFO", "stats").splitlines()
        return next(int(line.split(b":")[1]) for line in lines if line.startswith(b"total_connections_received"))

    async with open_log(probe_interval_s=60.0) as log:
        assert await log.check() is None
        await until(lambda: log.healthy)
        async with AsyncExitStack() as stack:
            if code == "NOPERM":
                server.command("ACL", "SETUSER", "default", "-setrange")
                stack.callback(server.command, "ACL", "SETUSER", "default", "+setrange")
            else:
                await stack.enter_async_context(refusing(server, code))
            before = connections()
            error = await log.check()
            assert error is not None
            assert error.code == code
            # The second count is made through a connection of its own.
            assert connections() == before + 1
