"""The same as `test_isolation` among the integration tests: 100 users, 100 chats; two gateways with PostgreSQL."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from roomcast.push.vapid import new_key
from support.isolation import ENV, TENANTS, Isolation
from support.ports import free_port
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.redis_server import RedisServer, running

pytestmark = pytest.mark.chaos


@pytest.fixture(params=["sqlite", "postgresql"])
def addresses(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ...]]:
    """URLs of the API and of the gateways: one process with SQLite, or an API and two gateways."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            server = stack.enter_context(Roomcast.up(tmp_path_factory.mktemp("data"), env=ENV))
            yield server.api_url, server.gateway_url
            return
        postgres: PostgresServer = request.getfixturevalue("postgres")
        redis = stack.enter_context(running(RedisServer(tmp_path_factory.mktemp("redis"))))
        internal = str(free_port())
        env = {**ENV, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port)}
        gateway_env = {**env, "API_URL": f"http://127.0.0.1:{internal}"}
        env |= {"ROOMCAST_INTERNAL_PORT": internal, "ROOMCAST_VAPID_KEY": new_key()}
        env["ROOMCAST_FILES_URL"] = f"file://{tmp_path_factory.mktemp('files')}"
        env["DATABASE_URL"] = postgres.url(postgres.create_database())
        api = stack.enter_context(Roomcast.api(None, env=env))
        gateways = [stack.enter_context(Roomcast.gateway(env=gateway_env)) for _ in range(2)]
        yield api.api_url, *(gateway.gateway_url for gateway in gateways)


async def test_random_use_by_three_tenants_shows_nothing_to_others_than_members(addresses: tuple[str, ...]) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"SEED={seed}")  # noqa: T201 - to reproduce a failure
    api, *gateways = addresses
    run = Isolation(api, gateways, seed, users=100, chats=100, sockets=40)
    try:
        await run.run(int(os.environ.get("OPERATIONS") or 20_000))
    finally:
        print(len(TENANTS), dict(sorted(run.done.items())))  # noqa: T201 - figures of the run
