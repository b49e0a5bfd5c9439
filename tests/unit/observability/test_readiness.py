"""Readiness, in virtual time: who is deaf alone is not ready; who is in the same boat as all is, for long."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from roomcast.observability.readiness import Readiness, ReadinessOptions
from support.virtual_time import run_in_virtual_time

OPTIONS = ReadinessOptions()


class World:
    """A process whose listeners and Redis a test switches."""

    def __init__(self) -> None:
        self.hears = {"log": True, "bus": True}
        self.redis = True
        self.readiness = Readiness(reachable=self.reachable)
        for name in self.hears:
            self.readiness.add(name, lambda name=name: self.hears[name])  # type: ignore[misc]  # bound now
        self.ingress = True
        self.readiness.add("ingress", lambda: self.ingress, vital=False)
        self.readiness.serving()

    async def reachable(self) -> bool:
        await asyncio.sleep(0.1)
        return self.redis

    def told(self) -> tuple[int, dict[str, object]]:
        answer = self.readiness.ready()
        return int(answer.status), json.loads(answer.body)


def run(scenario: Callable[[World], Awaitable[None]]) -> None:
    async def main() -> None:
        world = World()
        task = asyncio.create_task(world.readiness.run())
        await asyncio.sleep(2)
        await scenario(world)
        assert json.loads(world.readiness.live().body) == {"status": "alive"}
        task.cancel()

    run_in_virtual_time(main())


def test_a_process_is_ready_from_its_start_to_its_drain() -> None:
    async def main() -> None:
        readiness = Readiness()
        assert readiness.reasons == ["starting"]
        readiness.serving()
        assert readiness.reasons == []
        assert json.loads(readiness.ready().body) == {"status": "ready", "degraded": []}
        readiness.drain()
        assert readiness.reasons == ["draining"]
        assert int(readiness.ready().status) == 503

    run_in_virtual_time(main())


def test_one_listener_that_is_deaf_for_long_makes_it_unready_until_it_hears() -> None:
    async def scenario(world: World) -> None:
        world.hears["bus"] = False
        await asyncio.sleep(OPTIONS.deaf_limit_s - 0.5)
        assert world.told() == (200, {"status": "ready", "degraded": ["redis"]})
        await asyncio.sleep(3)
        assert world.told() == (503, {"status": "not ready", "reasons": ["deaf: bus"]})
        world.hears["bus"] = True
        await asyncio.sleep(2)
        assert world.told() == (200, {"status": "ready", "degraded": []})

    run(scenario)


def test_a_listener_that_is_not_vital_is_told_of_however_long_it_is_deaf() -> None:
    async def scenario(world: World) -> None:
        world.ingress = False
        await asyncio.sleep(2)
        assert world.told() == (200, {"status": "ready", "degraded": ["ingress"]})
        await asyncio.sleep(OPTIONS.away_limit_s * 2)
        assert world.told() == (200, {"status": "ready", "degraded": ["ingress"]})
        world.hears["log"] = False
        await asyncio.sleep(2)
        assert world.told() == (200, {"status": "ready", "degraded": ["redis", "ingress"]})
        await asyncio.sleep(OPTIONS.deaf_limit_s)
        assert world.told() == (503, {"status": "not ready", "reasons": ["deaf: log"]})
        world.hears["log"] = world.ingress = True
        await asyncio.sleep(2)
        assert world.told() == (200, {"status": "ready", "degraded": []})

    run(scenario)


def test_short_spells_do_not_add_up() -> None:
    async def scenario(world: World) -> None:
        for _ in range(10):
            world.hears["log"] = False
            await asyncio.sleep(OPTIONS.deaf_limit_s / 2)
            world.hears["log"] = True
            await asyncio.sleep(2)
            assert world.told()[0] == 200

    run(scenario)


def test_a_redis_that_is_away_is_told_and_makes_nobody_unready_for_a_minute() -> None:
    async def scenario(world: World) -> None:
        world.redis = False
        world.hears = dict.fromkeys(world.hears, False)
        await asyncio.sleep(OPTIONS.away_limit_s - 5)
        assert world.told() == (200, {"status": "ready", "degraded": ["redis"]})
        await asyncio.sleep(OPTIONS.away_limit_s)
        assert world.told() == (503, {"status": "not ready", "reasons": ["redis is away"]})
        world.redis = True
        await asyncio.sleep(2)
        # It is back, and the listeners have the time that they need.
        assert world.told() == (200, {"status": "ready", "degraded": ["redis"]})
        world.hears = dict.fromkeys(world.hears, True)
        await asyncio.sleep(2)
        assert world.told() == (200, {"status": "ready", "degraded": []})

    run(scenario)
