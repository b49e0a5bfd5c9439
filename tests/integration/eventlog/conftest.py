"""One Redis for each module, and logs with short timeouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from roomcast.eventlog.redis import RedisEventLog, RedisLogOptions
from roomcast.redis_client import RedisAddress, RedisOptions
from support.redis_server import RedisServer, running


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Callable[[], Any]]:
    """uvloop, as in production; the contract suite runs on asyncio's own loop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    directory: Path = tmp_path_factory.mktemp("redis")
    with running(RedisServer(directory)) as server:
        yield server


@pytest.fixture
def server(shared_server: RedisServer) -> RedisServer:
    """Empty and running."""
    if shared_server.process is None:
        shared_server.start()
    shared_server.command("FLUSHALL")
    return shared_server


OpenLog = Callable[..., RedisEventLog]


@pytest.fixture
def open_log(server: RedisServer) -> OpenLog:
    """A function that makes a log on ``server`` or another port; enter it as a context."""

    def make(
        port: int | None = None,
        *,
        log_options: RedisLogOptions | None = None,
        on_reconnect: Callable[[], None] | None = None,
        **options: float,
    ) -> RedisEventLog:
        fast: dict[str, float] = {
            "probe_interval_s": 0.1,
            "probe_timeout_s": 0.4,
            "command_timeout_s": 0.8,
            "retry_min_s": 0.01,
            "retry_max_s": 0.1,
        }
        address = RedisAddress("127.0.0.1", server.port if port is None else port)
        redis_options = RedisOptions(addresses=(address,), **{**fast, **options})  # type: ignore[arg-type]
        return RedisEventLog(redis_options, log_options, on_reconnect=on_reconnect)

    return make
