"""One classic channel, while its server freezes, is replaced or refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from roomcast.eventlog.redis.channel_listener import ChannelListener
from roomcast.redis_client import Commands, RedisAddress, RedisOptions, RedisUnavailable, Topology
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
    """The masters that a test sets; None: the look-up fails."""

    def __init__(self, *servers: RedisServer) -> None:
        self.servers: tuple[RedisServer, ...] | None = servers
        self.asked = 0
        self.bug: Exception | None = None

    async def topology(self) -> Topology:
        self.asked += 1
        if self.bug is not None:
            raise self.bug
        if self.servers is None:
            raise RedisUnavailable("no sentinel answered")
        return Topology(frozenset(address(server) for server in self.servers))


class Listening:
    """A listener, and the messages that it has delivered."""

    def __init__(self, options: RedisOptions) -> None:
        self.messages: list[bytes] = []
        self.commands = Commands(options)
        self.listener = ChannelListener(options, self.commands, CHANNEL, self.messages.append)

    async def subscribed(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            await self.listener.subscribed.wait()

    async def receives_from(self, server: RedisServer) -> None:
        """Return when a message that is published there is delivered."""

        def received() -> bool:
            server.command("PUBLISH", CHANNEL, str(server.port))
            return str(server.port).encode() in self.messages

        await until(received, limit_s=LIMIT_S)


def address(server: RedisServer) -> RedisAddress:
    return RedisAddress("127.0.0.1", server.port)


def use(monkeypatch: pytest.MonkeyPatch, masters: Masters) -> None:
    monkeypatch.setattr(Commands, "topology", lambda _commands: masters.topology())


@contextlib.asynccontextmanager
async def listening(*servers: RedisServer, sentinel_master: str | None = None) -> AsyncIterator[Listening]:
    addresses = tuple(address(server) for server in servers)
    active = Listening(RedisOptions(addresses=addresses, sentinel_master=sentinel_master, **FAST))  # type: ignore[arg-type]  # all are floats
    task = asyncio.create_task(active.listener.run())
    try:
        yield active
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait_for(task, LIMIT_S)
        await active.commands.close()


@contextlib.contextmanager
def paused(server: RedisServer) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


async def test_messages_of_the_channel_are_delivered_in_order_and_no_others(server: RedisServer) -> None:
    async with listening(server) as active:
        await active.subscribed()
        for number in range(100):
            server.command("PUBLISH", "another", "no")
            server.command("PUBLISH", CHANNEL, f"{number}")
        await until(lambda: len(active.messages) >= 100)
        assert active.messages == [b"%d" % number for number in range(100)]


async def test_a_server_that_accepts_but_never_answers_is_left_when_another_is_master(
    server: RedisServer, other: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters(server)
    use(monkeypatch, masters)
    with paused(server):
        async with listening(server) as active:
            await until(lambda: masters.asked > 0)
            masters.servers = (other,)
            await active.receives_from(other)


async def test_a_server_that_freezes_is_used_again_when_it_resumes(server: RedisServer) -> None:
    async with listening(server) as active:
        await active.subscribed()
        with paused(server):
            await until(lambda: not active.listener.subscribed.is_set())
        await active.receives_from(server)


async def test_a_new_master_is_used_although_the_old_one_answers(
    server: RedisServer, other: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters(server)
    use(monkeypatch, masters)
    async with listening(server) as active:
        await active.receives_from(server)
        masters.servers = (other,)
        await active.receives_from(other)
        assert server.command("PUBLISH", CHANNEL, "left") == b":0"


async def test_a_master_that_answers_is_kept_while_the_look_up_fails(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters(server)
    use(monkeypatch, masters)
    async with listening(server) as active:
        await active.receives_from(server)
        masters.servers = None
        known = masters.asked
        await until(lambda: masters.asked >= known + 3)
        assert active.listener.subscribed.is_set()
        assert server.command("PUBLISH", CHANNEL, "last") == b":1"


async def test_of_several_masters_one_that_answers_is_used(
    server: RedisServer, other: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen, well = sorted((server, other), key=address)
    use(monkeypatch, Masters(frozen, well))
    with paused(frozen):
        async with listening(frozen) as active:
            await active.receives_from(well)


async def test_a_topology_without_masters_is_looked_up_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    masters = Masters()
    use(monkeypatch, masters)
    async with listening(server) as active:
        await until(lambda: masters.asked >= 2)
        masters.servers = (server,)
        await active.receives_from(server)


async def test_an_unexpected_error_ends_neither_the_listener_nor_its_process(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    masters = Masters(server)
    use(monkeypatch, masters)
    async with listening(server) as active:
        await active.receives_from(server)
        masters.bug = RuntimeError("unexpected")
        await until(lambda: caplog.text.count("RuntimeError: unexpected") >= 2)
        masters.bug = None
        active.messages.clear()
        await active.receives_from(server)


async def test_a_lost_connection_is_noticed_and_replaced(server: RedisServer) -> None:
    async with listening(server) as active:
        await active.subscribed()
        lost = watch_loss(active.listener)
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lost)
        await active.receives_from(server)


async def test_a_channel_that_the_acl_forbids_is_subscribed_once_it_is_allowed(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.command("ACL", "SETUSER", "default", "resetchannels")
    try:
        async with listening(server) as active:
            await until(lambda: "NOPERM" in caplog.text)
            assert not active.listener.subscribed.is_set()
            server.command("ACL", "SETUSER", "default", "allchannels")
            await active.receives_from(server)
    finally:
        server.command("ACL", "SETUSER", "default", "allchannels")


async def test_a_frozen_master_is_left_for_the_promoted_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with sentinel_group(tmp_path, sentinels_wanted=1) as group:
        (sentinel,) = group.sentinels
        # No automatic failover: the listener has to try the frozen master again first.
        sentinel.command("SENTINEL", "SET", MASTER_NAME, "down-after-milliseconds", "60000")
        asked = 0
        topology = Commands.topology

        async def counted(commands: Commands) -> Topology:
            nonlocal asked
            found = await topology(commands)
            asked += found.masters == {address(old)}
            return found

        monkeypatch.setattr(Commands, "topology", counted)
        old = group.master()
        async with listening(sentinel, sentinel_master=MASTER_NAME) as active:
            await active.receives_from(old)
            with paused(old):
                await until(lambda: not active.listener.subscribed.is_set())
                known = asked
                await until(lambda: asked > known)
                await until(lambda: sentinel.command("SENTINEL", "FAILOVER", MASTER_NAME) == b"+OK")
                await until(lambda: group.master() is not old)
                await active.receives_from(group.master())


def watch_loss(listener: ChannelListener) -> Callable[[], bool]:
    """Return a check for a loss of the subscription since now, however short."""
    cleared = False
    clear = listener.subscribed.clear

    def noted() -> None:
        nonlocal cleared
        cleared = True
        clear()

    listener.subscribed.clear = noted  # type: ignore[method-assign]  # an Event keeps no history
    return lambda: cleared
