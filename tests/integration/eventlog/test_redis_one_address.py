"""A failover behind one address: open connections stay at the demoted server, and new ones lead to the new master."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from roomcast.app.redis_services import RedisServices
from roomcast.eventlog.redis import RedisEventLog
from roomcast.realtime.adapters.redis import RedisAdapter
from roomcast.realtime.cluster.commands import Leave, Selection
from roomcast.realtime.cluster.nodes import NodeAddress
from roomcast.redis_client import RedisAddress, RedisOptions
from support.log_watch import Sink, publish, publish_until_received
from support.ports import free_port
from support.recording_node import RecordingNode
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy
from support.waiting import until

EPOCH, CHAT = "e1", "chat-1"


@dataclass
class Pair:
    """A master, its replica, and an address that leads to the master."""

    master: RedisServer
    replica: RedisServer
    proxy: TcpProxy

    def options(self, server: RedisServer | None = None) -> RedisOptions:
        """Options with short timeouts for the address, or for a server."""
        return RedisOptions(
            addresses=(RedisAddress("127.0.0.1", self.proxy.port if server is None else server.port),),
            probe_interval_s=0.1,
            probe_timeout_s=0.4,
            command_timeout_s=0.8,
            retry_min_s=0.01,
            retry_max_s=0.2,
        )

    def fail_over(self, *, replication: bool) -> None:
        """Promote the replica, demote the master, and let the address lead to the promoted server.

        Args:
            replication: Whether the demoted server replicates from the promoted one.
        """
        self.replica.command("REPLICAOF", "NO", "ONE")
        self.master.command("REPLICAOF", "127.0.0.1", str(self.replica.port if replication else free_port()))
        self.proxy.target_port = self.replica.port


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    master = RedisServer(tmp_path / "a")
    master.start()
    replica = RedisServer(tmp_path / "b", arguments=("--replicaof", f"127.0.0.1 {master.port}"))
    try:
        replica.start()
        await until(lambda: b"master_link_status:up" in replica.command("INFO", "replication"))
        async with TcpProxy(master.port) as proxy:
            yield Pair(master, replica, proxy)
    finally:
        replica.kill()
        master.kill()


@asynccontextmanager
async def services(options: RedisOptions) -> AsyncIterator[tuple[RedisServices, RedisEventLog]]:
    async with RedisServices(options) as redis, redis.event_log() as log:
        yield redis, log


replications = pytest.mark.parametrize("replication", [True, False], ids=["replicating", "detached"])


@replications
async def test_a_process_that_appends_and_subscribes_follows(pair: Pair, replication: bool) -> None:
    reconnected = asyncio.Event()
    async with RedisEventLog(pair.options(), on_reconnect=reconnected.set) as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        await publish(log, CHAT, EPOCH, 1)
        await sink.reached(1)
        pair.fail_over(replication=replication)
        await publish(log, CHAT, EPOCH, 2)
        await publish_until_received(log, CHAT, EPOCH, sink, 3)
        assert int(pair.replica.command("EXISTS", "roomcast:{chat-1}:meta")[1:]) == 1
        if not replication:
            await asyncio.wait_for(reconnected.wait(), 10)
        await until(lambda: log.healthy and log.live_feed.error is None and log.appends.error is None)


async def test_a_process_that_only_subscribes_follows(pair: Pair) -> None:
    async with RedisEventLog(pair.options()) as gateway, RedisEventLog(pair.options(pair.replica)) as api:
        sink = Sink()
        await gateway.subscribe(CHAT, sink)
        await until(lambda: gateway.counters.lag_s > 0)
        pair.fail_over(replication=False)
        await until(lambda: api.healthy)
        await publish_until_received(api, CHAT, EPOCH, sink, 1)


async def test_one_error_reply_replaces_the_connections_and_the_command_succeeds(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async with RedisEventLog(pair.options()) as log:
        await log.subscribe(CHAT, Sink())
        # Several connections, all of them at the server that is demoted.
        await asyncio.gather(*(publish(log, f"chat-{number}", EPOCH, 1) for number in range(20)))
        with caplog.at_level(logging.WARNING):
            pair.fail_over(replication=True)
            await asyncio.gather(*(log.head(f"chat-{number}") for number in range(20)))
        assert log.reads.failures == 0


async def test_a_replica_that_refuses_reads_is_left(pair: Pair) -> None:
    pair.master.command("CONFIG", "SET", "replica-serve-stale-data", "no")
    async with RedisEventLog(pair.options()) as log:
        await publish(log, CHAT, EPOCH, 1)
        pair.fail_over(replication=False)
        await until(lambda: pair.master.command("GET", "x").startswith(b"-MASTERDOWN"))
        await publish(log, CHAT, EPOCH, 2)
        assert log.appends.failures == 0


async def test_while_the_address_still_leads_to_the_demoted_server_there_is_one_line(
    pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async with RedisEventLog(pair.options()) as log:
        await publish(log, CHAT, EPOCH, 1)
        pair.replica.command("REPLICAOF", "NO", "ONE")
        pair.master.command("REPLICAOF", "127.0.0.1", str(pair.replica.port))
        waiting = asyncio.create_task(publish(log, CHAT, EPOCH, 2))
        await until(lambda: log.appends.failures > 20)
        assert log.appends.error is not None
        assert log.appends.error.code == "READONLY"
        pair.proxy.target_port = pair.replica.port
        await asyncio.wait_for(waiting, 10)
    lines = [message for message in caplog.messages if "; append: " in message]
    assert len(lines) == 1
    assert lines[0].startswith("redis: READONLY You can't write against a read only replica")


async def test_the_emitter_and_the_directory_of_the_process_follow(pair: Pair) -> None:
    listener, node = RedisAdapter(pair.options(pair.replica)), RecordingNode()
    listener.bind(node)
    async with services(pair.options()) as (redis, _log), redis.node_services() as (directory, _board):
        directory.announce(NodeAddress("127.0.0.1", 1001, "secret"))
        renewing = asyncio.create_task(directory.run())
        emitter = redis.emitter()
        await emitter.emit("warm-up")
        pair.fail_over(replication=False)
        await listener.start()

        async def emitted() -> bool:
            await emitter.emit("news")
            return bool(node.commands)

        await until(emitted)
        directory.renew_soon()
        await until(lambda: pair.replica.command("ZCARD", "roomcast:{nodes}:leases") == b":1")
        renewing.cancel()
    await listener.stop()


async def test_both_adapters_follow(pair: Pair) -> None:
    adapters = [RedisAdapter(pair.options()) for _ in range(2)]
    node = RecordingNode()
    for adapter, bound in zip(adapters, (RecordingNode(), node), strict=True):
        adapter.bind(bound)
        await adapter.start()
    pair.fail_over(replication=False)
    await until(lambda: pair.replica.command("PUBSUB", "NUMSUB", "socket.io-request#/#").endswith(b":2"))
    await until(lambda: all(adapter.healthy for adapter in adapters))
    adapters[0].publish(Leave(Selection("/", ("1",)), ("r",)))
    await until(lambda: len(node.commands) == 1)
    assert adapters[0].counters.dropped.total() == 0
    for adapter in adapters:
        await adapter.stop()


async def test_the_channel_of_other_programs_is_subscribed_at_the_new_master(pair: Pair) -> None:
    messages: list[bytes] = []
    async with services(pair.options()) as (redis, log):
        channel = redis.channel_listener("chat:events", messages.append)
        log.on_reconnect(channel.reconnect)
        listening = asyncio.create_task(channel.run())
        await asyncio.wait_for(channel.subscribed.wait(), 10)
        await until(lambda: log.counters.lag_s > 0)
        pair.fail_over(replication=False)

        def received() -> bool:
            pair.replica.command("PUBLISH", "chat:events", "x")
            return bool(messages)

        await until(received)
        listening.cancel()


async def test_a_server_that_forbids_commands_that_are_not_needed_is_used(pair: Pair) -> None:
    pair.master.command("ACL", "SETUSER", "default", "-client", "-hello", "-config", "-info", "-role", "-command")
    async with RedisEventLog(pair.options()) as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]
        await until(lambda: log.healthy and log.counters.lag_s > 0)
