"""Idle subscribers stay connected; redis-py's own would time out after five seconds by default."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from roomcast.eventlog.redis import RedisEventLog
from roomcast.redis_client import RedisAddress, RedisOptions
from support.log_watch import Sink, publish
from support.redis_server import RedisServer, running

IDLE_S = 65.0


@pytest.mark.chaos
@pytest.mark.timeout(IDLE_S + 30)
async def test_a_minute_without_traffic_costs_no_connection_and_no_message(tmp_path: Path) -> None:
    with running(RedisServer(tmp_path)) as server:
        async with RedisEventLog(RedisOptions(addresses=(RedisAddress("127.0.0.1", server.port),))) as log:
            sink = Sink()
            await log.subscribe("chat", sink)
            await publish(log, "chat", "e1", 1)
            await asyncio.sleep(IDLE_S)
            assert log.healthy
            await publish(log, "chat", "e1", 2)
            assert await sink.reached(2) == [1, 2]
            assert log.counters.connects == 1
            assert log.counters.losses.total() == 0
