"""One plain channel, while the server that carries it freezes, moves or refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from roomcast.chat.ports import LogUnavailable
from roomcast.eventlog.redis import published
from roomcast.eventlog.redis.published import PublishedChannel
from roomcast.redis_client import Placement, RedisAddress, RedisOptions
from support.redis_server import RedisServer, running
from support.redis_topology import MASTER_NAME, sentinel_group
from support.waiting import until

CHANNEL = "chat:events"
LIMIT_S = 10.0
FAST = {
    "connect_timeout_s": 0.3,
    "command_timeout_s": 1.0,
    "probe_interval_s": 0.1,
    "probe_timeout_s": 0.4,
    "topology_interval_s": 0.2,
    "retry_min_s": 0.01,
    "retry_max_s": 0.1,
}


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RedisServer]:
    """A second server."""
    with running(RedisServer(tmp_path / "other")) as started:
        yield started


class Masters:
    """Who the masters are, as a test says it; None: nobody can be asked."""

    def __init__(self, *servers: RedisServer) -> None:
        self.servers: tuple[RedisServer, ...] | None = servers
        self.asked = 0
        self.bug: Exception | None = None

    async def locate(self) -> Placement:
        self.asked += 1
        if self.bug is not None:
            raise self.bug
        if self.servers is None:
            raise LogUnavailable("nobody answered")
        return Placement(frozenset(address(server) for server in self.servers))


class Heard:
    """A channel that is listened to, and what came."""

    def __init__(self, options: RedisOptions) -> None:
        self.messages: list[bytes] = []
        self.channel = PublishedChannel(options, CHANNEL, self.messages.append)

    async def subscribed(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            await self.channel.subscribed.wait()

    async def from_(self, server: RedisServer) -> None:
        """Return when a message that is published there is heard."""

        def heard() -> bool:
            server.command("PUBLISH", CHANNEL, str(server.port))
            return str(server.port).encode() in self.messages

        await until(heard, limit_s=LIMIT_S)


def address(server: RedisServer) -> RedisAddress:
    return RedisAddress("127.0.0.1", server.port)


def follow(monkeypatch: pytest.MonkeyPatch, masters: Masters) -> None:
    monkeypatch.setattr(published.Engine, "locate", lambda _engine: masters.locate())


@contextlib.asynccontextmanager
async def hearing(*servers: RedisServer, sentinel_master: str | None = None) -> AsyncIterator[Heard]:
    addresses = tuple(address(server) for server in servers)
    heard = Heard(RedisOptions(addresses=addresses, sentinel_master=sentinel_master, **FAST))  # type: ignore[arg-type]  # all are floats
    task = asyncio.create_task(heard.channel.run())
    try:
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, LIMIT_S)


@contextlib.contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


async def test_what_is_published_is_heard_in_order_and_nothing_else(server: RedisServer) -> None:
    async with hearing(server) as heard:
        await heard.subscribed()
        for number in range(100):
            server.command("PUBLISH", "another", "no")
            server.command("PUBLISH", CHANNEL, f"{number}")
        await until(lambda: len(heard.messages) >= 100)
        assert heard.messages == [b"%d" % number for number in range(100)]


async def test_a_server_that_accepts_but_never_answers_is_left_when_another_is_master(
    server: RedisServer, other: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters(server)
    follow(monkeypatch, masters)
    with paused(server):
        async with hearing(server) as heard:
            await until(lambda: masters.asked > 0)
            masters.servers = (other,)
            await heard.from_(other)


async def test_a_server_that_freezes_is_heard_again_when_it_goes_on(server: RedisServer) -> None:
    async with hearing(server) as heard:
        await heard.subscribed()
        with paused(server):
            await until(lambda: not heard.channel.subscribed.is_set())
        await heard.from_(server)


async def test_a_master_that_moved_is_followed_although_the_old_one_answers(
    server: RedisServer, other: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters(server)
    follow(monkeypatch, masters)
    async with hearing(server) as heard:
        await heard.from_(server)
        masters.servers = (other,)
        await heard.from_(other)
        assert server.command("PUBLISH", CHANNEL, "left") == b":0"


async def test_a_master_that_answers_is_kept_while_nobody_can_be_asked_who_it_is(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters(server)
    follow(monkeypatch, masters)
    async with hearing(server) as heard:
        await heard.from_(server)
        masters.servers = None
        known = masters.asked
        await until(lambda: masters.asked >= known + 3)
        assert heard.channel.subscribed.is_set()
        assert server.command("PUBLISH", CHANNEL, "last") == b":1"


async def test_of_several_masters_one_that_answers_is_found(
    server: RedisServer, other: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, well = sorted((server, other), key=address)
    follow(monkeypatch, Masters(frozen, well))
    with paused(frozen):
        async with hearing(frozen) as heard:
            await heard.from_(well)


async def test_a_placement_without_masters_is_asked_for_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters()
    follow(monkeypatch, masters)
    async with hearing(server) as heard:
        await until(lambda: masters.asked >= 2)
        masters.servers = (server,)
        await heard.from_(server)


async def test_a_bug_ends_neither_the_channel_nor_its_process(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    masters = Masters(server)
    follow(monkeypatch, masters)
    async with hearing(server) as heard:
        await heard.from_(server)
        masters.bug = RuntimeError("not foreseen")
        await until(lambda: caplog.text.count("RuntimeError: not foreseen") >= 2)
        masters.bug = None
        heard.messages.clear()
        await heard.from_(server)


async def test_a_lost_connection_is_known_and_comes_back(server: RedisServer) -> None:
    async with hearing(server) as heard:
        await heard.subscribed()
        lost = watch_loss(heard.channel)
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lost)
        await heard.from_(server)


async def test_a_channel_that_is_not_allowed_is_heard_once_it_is(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.command("ACL", "SETUSER", "default", "resetchannels")
    try:
        async with hearing(server) as heard:
            await until(lambda: "NOPERM" in caplog.text)
            assert not heard.channel.subscribed.is_set()
            server.command("ACL", "SETUSER", "default", "allchannels")
            await heard.from_(server)
    finally:
        server.command("ACL", "SETUSER", "default", "allchannels")


async def test_a_frozen_master_is_left_for_the_one_that_the_sentinels_promote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sentinel_group(tmp_path, sentinels_wanted=1) as group:
        (sentinel,) = group.sentinels
        # Not before it is told to: the channel is to come back to the frozen master first.
        sentinel.command("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", "60000")
        asked = 0
        locate = published.Engine.locate

        async def counted(engine: published.Engine) -> Placement:
            nonlocal asked
            placement = await locate(engine)
            asked += placement.nodes == {address(old)}
            return placement

        monkeypatch.setattr(published.Engine, "locate", counted)
        old = group.master()
        async with hearing(sentinel, sentinel_master=MASTER_NAME) as heard:
            await heard.from_(old)
            with paused(old):
                await until(lambda: not heard.channel.subscribed.is_set())
                known = asked
                await until(lambda: asked > known)
                await until(lambda: sentinel.command("SENTINEL", "FAILOVER", MASTER_NAME) == b"+OK")
                await until(lambda: group.master() is not old)
                await heard.from_(group.master())


def watch_loss(channel: PublishedChannel) -> Callable[[], bool]:
    """Tells whether the subscription was lost since now, however soon it was back."""
    cleared = False
    clear = channel.subscribed.clear

    def noted() -> None:
        nonlocal cleared
        cleared = True
        clear()

    channel.subscribed.clear = noted  # type: ignore[method-assign]  # the event itself does not tell
    return lambda: cleared
