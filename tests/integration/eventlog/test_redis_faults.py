"""The log in Redis while Redis or the network fails."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Coroutine, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import redis

from roomcast.chat.ports import CannotReplay, Gap, Head, LogUnavailable
from roomcast.eventlog.redis import RedisEventLog
from roomcast.eventlog.redis.listener import _Subscriber
from roomcast.redis_client import RedisAddress, RedisOptions, RedisTls, RedisUnavailable
from support.log_watch import Sink, entries, publish, watching_loop
from support.ports import free_port
from support.redis_server import RedisServer
from support.stopwatch import Stopwatch
from support.tcp_proxy import TcpProxy
from support.waiting import until

EPOCH, CHAT = "e1", "chat-1"


async def test_after_a_restart_of_redis_the_log_reconnects_and_reports_it(server: RedisServer, open_log) -> None:
    reconnected = asyncio.Event()
    async with open_log(on_reconnect=reconnected.set) as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]
        server.kill()
        await until(lambda: not log.healthy)
        with pytest.raises(LogUnavailable):
            await log.append(CHAT, EPOCH, entries(2, 2))
        with pytest.raises(LogUnavailable):
            await log.subscribe("another", Sink())
        assert not reconnected.is_set()
        server.start()
        async with asyncio.timeout(5):
            await reconnected.wait()
        assert log.healthy
        assert await log.head(CHAT) is None
        await publish(log, CHAT, EPOCH, 2)
        # Seeding the empty log published its first entry again.
        assert await sink.reached(2) == [1, 1, 2]
        assert log.counters.losses["closed"] == 1


async def test_a_log_that_starts_before_redis_connects_to_it(server: RedisServer, open_log) -> None:
    server.kill()
    async with open_log() as log:
        with pytest.raises(LogUnavailable):
            await log.head(CHAT)
        assert not log.healthy
        server.start()
        sink = Sink()
        await log.subscribe(CHAT, sink)
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]


async def in_batches(work: Iterable[Coroutine[Any, Any, Any]], size: int = 100) -> None:
    """Await everything, few enough at a time that each finishes well within the time limit of a command."""
    rest = iter(work)
    while batch := list(islice(rest, size)):
        await asyncio.gather(*batch)


async def test_after_a_loss_of_its_connection_a_subscriber_resubscribes_all_channels(
    server: RedisServer, open_log
) -> None:
    reconnected = asyncio.Event()
    chats = [f"chat-{number}" for number in range(1_500)]
    async with open_log(on_reconnect=reconnected.set) as log:
        sinks = [Sink() for _ in chats]
        await in_batches(log.subscribe(chat, sink) for chat, sink in zip(chats, sinks, strict=True))
        server.command("CLIENT", "KILL", "TYPE", "pubsub")
        async with asyncio.timeout(5):
            await reconnected.wait()
        # Everything is resubscribed now: no later entry is missed.
        await in_batches(log.append(chat, EPOCH, entries(1, 1)) for chat in chats)
        for sink in sinks:
            assert await sink.reached(1) == [1]


async def test_a_loss_before_the_first_complete_subscription_is_reported_too(server: RedisServer, open_log) -> None:
    reconnected = asyncio.Event()
    log = open_log(on_reconnect=reconnected.set)
    await_confirmations = log._listener._await_confirmations

    async def lose(subscriber: _Subscriber) -> None:
        log._listener._await_confirmations = await_confirmations
        subscriber.connection.abort("deaf")
        raise RedisUnavailable("its subscriptions are confirmed, and then it stops answering")

    log._listener._await_confirmations = lose
    async with log:
        await log.subscribe(CHAT, Sink())
        async with asyncio.timeout(5):
            await reconnected.wait()
        assert log.counters.losses["deaf"] == 1


async def test_a_stalled_or_busy_process_does_not_drop_its_subscriber_connection(server: RedisServer, open_log) -> None:
    chats = [f"chat-{number}" for number in range(1_500)]
    async with open_log(probe_timeout_s=0.1, command_timeout_s=10) as log:
        sinks = [Sink() for _ in chats]
        await in_batches(log.subscribe(chat, sink) for chat, sink in zip(chats, sinks, strict=True))
        for seq in range(1, 4):
            # The canary waits behind all of these, and then the process stalls for longer than the probe timeout.
            appending = asyncio.gather(*(log.append(chat, EPOCH, entries(seq, seq)) for chat in chats))
            (subscriber,) = log._listener._subscribers.values()
            await until(lambda s=subscriber: s.echo is not None and not s.echo.received.done())
            asyncio.get_running_loop().call_soon(time.sleep, 0.3)
            await appending
        for sink in sinks:
            assert await sink.reached(3) == [1, 2, 3]
        await until(lambda: log.healthy)
        assert log.counters.losses.total() == 0


async def test_after_flushall_the_log_is_rebuilt_and_no_entry_is_missing(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        for seq in range(1, 61):
            if seq % 20 == 0:
                server.command("FLUSHALL")
                assert await log.append(CHAT, EPOCH, entries(seq, seq)) == Gap(None)
                assert await log.read(CHAT, EPOCH, seq - 1, 10) == CannotReplay(None)
            await publish(log, CHAT, EPOCH, seq)
        assert list(dict.fromkeys(await sink.reached(60))) == list(range(1, 61))


async def test_scripts_are_loaded_again_after_script_flush(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        await publish(log, CHAT, EPOCH, 1)
        server.command("SCRIPT", "FLUSH")
        await publish(log, CHAT, EPOCH, 2)
        assert await log.head(CHAT) == Head(EPOCH, 2)


async def test_a_stopped_redis_is_detected_without_blocking_the_loop_and_used_again(
    server: RedisServer, open_log
) -> None:
    reconnected = asyncio.Event()
    async with open_log(on_reconnect=reconnected.set) as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        server.pause()
        try:
            async with watching_loop() as watch:
                stopwatch = Stopwatch()
                with pytest.raises(LogUnavailable):
                    await log.append(CHAT, EPOCH, entries(1, 1))
                assert stopwatch.elapsed_s < 1.5
                await until(lambda: not log.healthy, limit_s=3)
                # A process that waits for a processor allows more time than the clock shows.
                await until(lambda: log.counters.losses["deaf"] == 1)
            assert watch.worst_s < 0.1
        finally:
            server.resume()
        async with asyncio.timeout(5):
            await reconnected.wait()
        # The server may have executed the first attempt when it resumed: appending is idempotent.
        await publish(log, CHAT, EPOCH, 2)
        assert (await sink.reached(2))[-1] == 2


async def test_a_stopped_redis_delays_only_the_callers_that_wait_for_it(server: RedisServer, open_log) -> None:
    async with open_log(command_timeout_s=0.3) as log:
        await publish(log, CHAT, EPOCH, 1)
        blocked_s: list[float] = []
        # Other load can only make it longer: the shortest of a few runs counts.
        while len(blocked_s) < 3 and min(blocked_s, default=1) >= 0.1:
            server.pause()
            try:
                async with watching_loop() as watch:
                    answers = await asyncio.gather(*(log.head(CHAT) for _ in range(200)), return_exceptions=True)
            finally:
                server.resume()
            assert all(isinstance(answer, LogUnavailable) for answer in answers)
            blocked_s.append(watch.worst_s)
            assert await log.head(CHAT) == Head(EPOCH, 1)
        assert min(blocked_s) < 0.1


async def test_a_subscriber_connected_to_another_server_is_detected_by_the_canary(
    server: RedisServer, open_log, tmp_path
) -> None:
    other = RedisServer(tmp_path / "other")
    other.start()
    reconnected = asyncio.Event()
    try:
        async with TcpProxy(server.port) as proxy, open_log(proxy.port, on_reconnect=reconnected.set) as log:
            sink = Sink()
            await log.subscribe(CHAT, sink)
            # The name resolves to another server now: commands follow, the subscriber stays and still answers pings.
            proxy.target_port = other.port
            server.command("CLIENT", "KILL", "TYPE", "normal")
            async with asyncio.timeout(5):
                await reconnected.wait()
            assert log.counters.losses["deaf"] == 1
            await publish(log, CHAT, EPOCH, 1)
            assert await sink.reached(1) == [1]
    finally:
        other.kill()


async def test_a_connection_without_traffic_is_detected_within_its_limit(server: RedisServer, open_log) -> None:
    async with TcpProxy(server.port) as proxy, open_log(proxy.port) as log:
        sink = Sink()
        await log.subscribe(CHAT, sink)
        proxy.stall()
        stopwatch = Stopwatch()
        await until(lambda: not log.healthy)
        assert stopwatch.elapsed_s < 1.5
        proxy.resume()
        await until(lambda: log.healthy)
        await publish(log, CHAT, EPOCH, 1)
        assert await sink.reached(1) == [1]


async def test_the_canary_measures_the_lag(open_log) -> None:
    async with open_log() as log:
        await until(lambda: log.counters.lag_s > 0)
        assert log.counters.lag_s < 0.5
        assert log.counters.losses.total() == 0


async def test_a_subscription_that_failed_leaves_nothing_behind(server: RedisServer, open_log) -> None:
    async with open_log(command_timeout_s=0.2) as log:
        server.kill()
        for number in range(3):
            with pytest.raises(LogUnavailable):
                async with asyncio.timeout(2):
                    await log.subscribe(f"chat-{number}", Sink())
        assert log._listener._channels == {}
        assert log._channels == {}


async def test_closing_and_subscribing_in_one_turn_keeps_the_subscription(open_log) -> None:
    async with open_log() as log:
        for _ in range(20):
            first = await log.subscribe(CHAT, Sink())
            await first.close()
            sink = Sink()
            second = await log.subscribe(CHAT, sink)
            head = await log.head(CHAT)
            seq = 1 if head is None else head.seq + 1
            await log.append(CHAT, EPOCH, entries(seq, seq))
            assert await sink.reached(seq) == [seq]
            await second.close()
        assert log._channels == {}


async def test_the_last_close_unsubscribes(server: RedisServer, open_log) -> None:
    async with open_log() as log:
        subscriptions = [await log.subscribe(CHAT, Sink()) for _ in range(3)]
        channels = server.command("PUBSUB", "SHARDCHANNELS", "*:live")
        assert b"roomcast:{chat-1}:live" in channels
        for subscription in subscriptions:
            await subscription.close()
        await log.subscribe("other", Sink())  # confirmed after the unsubscription
        assert server.command("PUBSUB", "SHARDCHANNELS", "roomcast:{chat-1}:live") == b"*0"


async def test_the_password_is_used_by_commands_and_subscribers(tmp_path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    try:
        server.command("CONFIG", "SET", "requirepass", "s3cret")
        options = RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),), password="s3cret")
        assert "s3cret" not in repr(options)
        async with RedisEventLog(options) as log:
            sink = Sink()
            await log.subscribe(CHAT, sink)
            await publish(log, CHAT, EPOCH, 1)
            assert await sink.reached(1) == [1]
        wrong = RedisOptions(addresses=options.addresses, password="wrong", command_timeout_s=0.3)
        async with RedisEventLog(wrong) as log:
            with pytest.raises(LogUnavailable, match="invalid username-password"):
                await log.head(CHAT)
            with pytest.raises(LogUnavailable):
                await log.subscribe(CHAT, Sink())
    finally:
        server.kill()


async def test_a_user_without_a_password_is_used_by_commands_and_subscribers(server: RedisServer) -> None:
    server.command("ACL", "SETUSER", "ann", "on", "nopass", "allkeys", "allchannels", "+@all")
    server.command("ACL", "SETUSER", "default", "off")
    try:
        async with RedisEventLog(
            RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),), username="ann")
        ) as log:
            sink = Sink()
            await log.subscribe(CHAT, sink)
            await publish(log, CHAT, EPOCH, 1)
            assert await sink.reached(1) == [1]
    finally:
        with redis.Redis(port=server.port, username="ann", protocol=2) as raw:
            raw.execute_command("ACL", "SETUSER", "default", "on")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: it makes the certificate")
async def test_the_certificate_is_verified_for_commands_and_subscribers(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    making = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject)
    await asyncio.to_thread(
        subprocess.run, [*making, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    tls_port = free_port()
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no")
    server = RedisServer(tmp_path / "tls", arguments=("--tls-port", str(tls_port), *files))
    server.start()
    try:
        addresses = (RedisAddress("127.0.0.1", tls_port),)
        trusting = RedisOptions(addresses=addresses, tls=RedisTls(ca_file=str(certificate)))
        async with RedisEventLog(trusting) as log:
            sink = Sink()
            await log.subscribe(CHAT, sink)
            await publish(log, CHAT, EPOCH, 1)
            assert await sink.reached(1) == [1]
        async with RedisEventLog(RedisOptions(addresses=addresses, tls=RedisTls(), command_timeout_s=0.3)) as log:

            async def is_refused() -> bool:  # the first command may end before the first handshake does
                with pytest.raises(LogUnavailable) as fault:
                    await log.head(CHAT)
                return "certificate verify failed" in str(fault.value)

            await until(is_refused)
            with pytest.raises(LogUnavailable):
                await log.subscribe(CHAT, Sink())
            assert log.counters.connects == 0
    finally:
        server.kill()
