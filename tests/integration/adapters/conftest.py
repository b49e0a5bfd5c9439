"""A mixed cluster: a Node server and servers of this package on one Redis, with clients of all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from roomcast.realtime.adapters.redis import RedisAdapter
from support.redis_server import RedisServer, running
from support.socketio_cluster import Cluster, redis_adapter
from support.waiting import until


class MixedCluster(Cluster):
    """Servers ``a`` and ``b`` of this package, ``node``, and Redis."""

    def __init__(self, redis: RedisServer, stack: AsyncExitStack) -> None:
        super().__init__(self._adapter, stack)
        self.redis = redis
        self.made: list[RedisAdapter] = []

    def _adapter(self) -> RedisAdapter:
        self.made.append(redis_adapter(self.redis.port))
        return self.made[-1]

    @property
    def node(self) -> Any:
        return self.nodes["node"]

    @property
    def adapters(self) -> dict[str, RedisAdapter]:
        return dict(zip(self.servers, self.made, strict=True))


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture
async def cluster(redis_server: RedisServer) -> AsyncIterator[MixedCluster]:
    async with AsyncExitStack() as stack:
        made = MixedCluster(redis_server, stack)
        await made.add_node("node", redis_server.port)
        await made.add("a")
        await made.add("b")
        yield made


@pytest.fixture(name="until")
def until_() -> Callable[..., Any]:
    """See `support.waiting`."""
    return until
