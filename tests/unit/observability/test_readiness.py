"""Readiness in virtual time: a silent listener alone makes a process unready, an outage of Redis only after a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from roomcast.observability.readiness import OUTAGE_LIMIT_S, SILENCE_LIMIT_S, Readiness
from support.virtual_time import run_in_virtual_time


class ProcessUnderTest:
    """A process with listeners and a Redis that a test switches on and off."""

    def __init__(self) -> None:
        self.receives = {"log": True, "bus": True}
        self.redis = True
        self.readiness = Readiness()
        self.readiness.watch_redis(self.reachable)
        for name in self.receives:
            self.readiness.add(name, lambda name=name: self.receives[name])  # type: ignore[misc]  # bound now
        self.ingress = True
        self.readiness.add("ingress", lambda: self.ingress, required=False)
        self.readiness.serving()

    async def reachable(self) -> bool:
        await asyncio.sleep(0.1)
        return self.redis

    def ready(self) -> tuple[int, dict[str, object]]:
        answer = self.readiness.ready()
        return int(answer.status), json.loads(answer.body)


def run(scenario: Callable[[ProcessUnderTest], Awaitable[None]]) -> None:
    async def main() -> None:
        process = ProcessUnderTest()
        task = asyncio.create_task(process.readiness.run())
        await asyncio.sleep(2)
        await scenario(process)
        assert json.loads(process.readiness.live().body) == {"status": "alive"}
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


def test_a_silent_listener_makes_the_process_unready_until_it_receives() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        process.receives["bus"] = False
        await asyncio.sleep(SILENCE_LIMIT_S - 0.5)
        assert process.ready() == (200, {"status": "ready", "degraded": ["redis"]})
        await asyncio.sleep(3)
        assert process.ready() == (503, {"status": "not ready", "reasons": ["not receiving: bus"]})
        process.receives["bus"] = True
        await asyncio.sleep(2)
        assert process.ready() == (200, {"status": "ready", "degraded": []})

    run(scenario)


def test_a_silent_optional_listener_only_degrades() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        process.ingress = False
        await asyncio.sleep(2)
        assert process.ready() == (200, {"status": "ready", "degraded": ["ingress"]})
        await asyncio.sleep(OUTAGE_LIMIT_S * 2)
        assert process.ready() == (200, {"status": "ready", "degraded": ["ingress"]})
        process.receives["log"] = False
        await asyncio.sleep(2)
        assert process.ready() == (200, {"status": "ready", "degraded": ["redis", "ingress"]})
        await asyncio.sleep(SILENCE_LIMIT_S)
        assert process.ready() == (503, {"status": "not ready", "reasons": ["not receiving: log"]})
        process.receives["log"] = process.ingress = True
        await asyncio.sleep(2)
        assert process.ready() == (200, {"status": "ready", "degraded": []})

    run(scenario)


def test_short_silences_do_not_add_up() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        for _ in range(10):
            process.receives["log"] = False
            await asyncio.sleep(SILENCE_LIMIT_S / 2)
            process.receives["log"] = True
            await asyncio.sleep(2)
            assert process.ready()[0] == 200

    run(scenario)


def test_an_outage_of_redis_degrades_and_makes_unready_only_after_a_minute() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        process.redis = False
        process.receives = dict.fromkeys(process.receives, False)
        await asyncio.sleep(OUTAGE_LIMIT_S - 5)
        assert process.ready() == (200, {"status": "ready", "degraded": ["redis"]})
        await asyncio.sleep(OUTAGE_LIMIT_S)
        assert process.ready() == (503, {"status": "not ready", "reasons": ["Redis is unreachable"]})
        process.redis = True
        await asyncio.sleep(2)
        # Reachable again; the listeners may take up to the silence limit to recover.
        assert process.ready() == (200, {"status": "ready", "degraded": ["redis"]})
        process.receives = dict.fromkeys(process.receives, True)
        await asyncio.sleep(2)
        assert process.ready() == (200, {"status": "ready", "degraded": []})

    run(scenario)
