"""Where a process's internal address is."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.app.cluster import Cluster
from roomcast.app.plan import Plan, plan_api, plan_gateway, plan_up
from roomcast.app.process import running_process, shared_parts
from roomcast.settings import RedisSettings, Settings

# Nobody listens there: what is asked here needs no Redis.
REDIS = RedisSettings(addresses=(("127.0.0.1", 1),))
FACES_REDIS = "192.0.2.9"


async def internal_host(plan: Plan) -> str | None:
    async with running_process(plan, lambda: None) as process:
        await shared_parts(plan, process)
        return None if process.internal is None else process.internal.site.host


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("0.0.0.0", {}, FACES_REDIS),
        ("192.0.2.7", {}, "192.0.2.7"),
        ("127.0.0.1", {}, "127.0.0.1"),
        ("127.0.0.1", {"internal_host": "10.0.0.1"}, "10.0.0.1"),
        ("127.0.0.1", {"internal_host": "0.0.0.0"}, "0.0.0.0"),
    ],
)
@pytest.mark.parametrize("plan", [plan_api, plan_gateway, plan_up])
async def test_with_redis_it_faces_redis_in_every_process_unless_it_is_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, plan: Any, host: str, given: dict[str, Any], expected: str
) -> None:
    monkeypatch.setattr(Cluster, "own_host", lambda _cluster: FACES_REDIS)
    settings = Settings(redis=REDIS, internal_port=9100, **given)
    assert await internal_host(plan(settings, host=host, insecure=True)) == expected


@pytest.mark.parametrize("plan", [plan_api, plan_gateway, plan_up])
async def test_without_redis_it_is_on_this_machine_unless_it_is_told_otherwise(plan: Any) -> None:
    for given, expected in (({}, "127.0.0.1"), ({"internal_host": "10.0.0.1"}, "10.0.0.1")):
        settings = Settings(internal_port=9100, **given)
        assert await internal_host(plan(settings, host="0.0.0.0", insecure=True)) == expected
