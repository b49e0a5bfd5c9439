"""The same as `test_isolation` among the integration tests: 100 users, 100 chats, two gateways, PostgreSQL."""

from __future__ import annotations

import os
import random

import pytest

from support.isolation import ENV, TENANTS, Isolation
from support.ports import free_port
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.redis_server import RedisServer, running

pytestmark = pytest.mark.chaos


async def test_random_use_by_three_tenants_shows_nothing_to_others_than_members(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seed = int(os.environ.get("SEED") or random.randrange(1_000_000))
    print(f"SEED={seed}")  # noqa: T201 - to reproduce a failure
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as redis:
        internal = str(free_port())
        env = {**ENV, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port), "ROOMCAST_INTERNAL_PORT": internal}
        gateway_env = {**env, "API_URL": f"http://127.0.0.1:{internal}"}
        del gateway_env["ROOMCAST_INTERNAL_PORT"]
        with (
            Roomcast.api(None, env={**env, "DATABASE_URL": postgres.url(postgres.create_database())}) as api,
            Roomcast.gateway(env=gateway_env) as first,
            Roomcast.gateway(env=gateway_env) as second,
        ):
            gateways = (first.gateway_url, second.gateway_url)
            run = Isolation(api.api_url, gateways, seed, users=100, chats=100, sockets=40)
            await run.run(int(os.environ.get("OPERATIONS") or 20_000))
    print(len(TENANTS), dict(run.done))  # noqa: T201 - figures of the run
