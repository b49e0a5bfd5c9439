"""Readiness in virtual time: a silent listener alone makes a process unready, an outage of Redis only after a while."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from roomcast.observability.readiness import OUTAGE_LIMIT_S, SILENCE_LIMIT_S, Problem, Readiness
from support.virtual_time import run_in_virtual_time

AWAY = Problem("no answer")
WRONG = Problem("the login is refused: correct REDIS_PASSWORD", lasting=True)
SILENT = "events do not arrive"
Answer = tuple[int, dict[str, object]]


def degraded(**causes: str) -> Answer:
    return 200, {"status": "ready", "degraded": list(causes), **({"causes": causes} if causes else {})}


def not_ready(*reasons: str) -> Answer:
    return 503, {"status": "not ready", "reasons": list(reasons)}


class ProcessUnderTest:
    """A process with listeners and services that a test switches on and off."""

    def __init__(self, *, redis: Problem | None = None) -> None:
        self.receives = {"log": True, "bus": True}
        self.redis = redis
        self.database: Problem | None = None
        self.checks = 0
        self.delay_s = 0.1
        self.readiness = Readiness()
        self.readiness.watch_redis(self.check_redis)
        self.readiness.watch("database", self.check_database)
        for name in self.receives:
            self.readiness.add(name, lambda name=name: self.receives[name])  # type: ignore[misc]  # bound now
        self.ingress = True
        self.readiness.add("ingress", lambda: self.ingress, required=False)
        self.readiness.serving()

    async def check_redis(self) -> Problem | None:
        await asyncio.sleep(0.1)
        return self.redis

    async def check_database(self) -> Problem | None:
        self.checks += 1
        await asyncio.sleep(self.delay_s)
        return self.database

    async def ready(self) -> Answer:
        answer = await self.readiness.ready()
        return int(answer.status), json.loads(answer.body)


def run(scenario: Callable[[ProcessUnderTest], Awaitable[None]], *, redis: Problem | None = None) -> None:
    async def main() -> None:
        process = ProcessUnderTest(redis=redis)
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
        assert json.loads((await readiness.ready()).body) == {"status": "ready", "degraded": []}
        readiness.drain()
        assert readiness.reasons == ["draining"]
        assert int((await readiness.ready()).status) == 503

    run_in_virtual_time(main())


def test_a_process_is_not_ready_before_its_services_are_checked() -> None:
    async def main() -> None:
        process = ProcessUnderTest(redis=WRONG)
        assert process.readiness.reasons == ["starting"]
        assert await process.ready() == not_ready(f"redis: {WRONG.cause}")

    run_in_virtual_time(main())


def test_a_silent_listener_makes_the_process_unready_until_it_receives() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        assert await process.ready() == degraded()
        process.receives["bus"] = False
        await asyncio.sleep(SILENCE_LIMIT_S - 0.5)
        assert await process.ready() == degraded(redis=SILENT)
        await asyncio.sleep(3)
        assert await process.ready() == not_ready("not receiving: bus")
        process.receives["bus"] = True
        await asyncio.sleep(2)
        assert await process.ready() == degraded()

    run(scenario)


def test_a_listener_that_never_received_keeps_the_process_unready() -> None:
    async def main() -> None:
        process = ProcessUnderTest()
        process.receives["log"] = False
        assert await process.ready() == not_ready("not receiving: log")
        process.receives["log"] = True
        assert await process.ready() == degraded()

    run_in_virtual_time(main())


def test_a_silent_optional_listener_only_degrades() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        assert await process.ready() == degraded()
        process.ingress = False
        await asyncio.sleep(2)
        assert await process.ready() == degraded(ingress=SILENT)
        await asyncio.sleep(OUTAGE_LIMIT_S * 2)
        assert await process.ready() == degraded(ingress=SILENT)
        process.receives["log"] = False
        await asyncio.sleep(2)
        assert await process.ready() == degraded(redis=SILENT, ingress=SILENT)
        await asyncio.sleep(SILENCE_LIMIT_S)
        assert await process.ready() == not_ready("not receiving: log")
        process.receives["log"] = process.ingress = True
        await asyncio.sleep(2)
        assert await process.ready() == degraded()

    run(scenario)


def test_short_silences_do_not_add_up() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        for _ in range(10):
            process.receives["log"] = False
            await asyncio.sleep(SILENCE_LIMIT_S / 2)
            process.receives["log"] = True
            await asyncio.sleep(2)
            assert (await process.ready())[0] == 200

    run(scenario)


def test_an_outage_of_redis_degrades_and_makes_unready_only_after_a_minute() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        process.redis = AWAY
        process.receives = dict.fromkeys(process.receives, False)
        await asyncio.sleep(OUTAGE_LIMIT_S - 5)
        assert await process.ready() == degraded(redis="no answer")
        await asyncio.sleep(OUTAGE_LIMIT_S)
        assert await process.ready() == not_ready("redis: no answer")
        process.redis = None
        await asyncio.sleep(2)
        # Redis works again; the listeners may take up to the silence limit to recover.
        assert await process.ready() == degraded(redis=SILENT)
        process.receives = dict.fromkeys(process.receives, True)
        await asyncio.sleep(2)
        assert await process.ready() == degraded()

    run(scenario)


def test_a_setting_that_was_wrong_from_the_start_keeps_the_process_unready() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        for _ in range(100):
            assert await process.ready() == not_ready(f"redis: {WRONG.cause}")
            await asyncio.sleep(1)
        process.redis = None
        await asyncio.sleep(2)
        assert await process.ready() == degraded()
        # The password is changed while the process runs.
        process.redis = WRONG
        await asyncio.sleep(OUTAGE_LIMIT_S - 5)
        assert await process.ready() == degraded(redis=WRONG.cause)

    run(scenario, redis=WRONG)


def test_a_redis_that_is_away_at_the_start_and_then_refuses_the_login_makes_unready() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        assert await process.ready() == not_ready("redis: no answer")
        process.redis = WRONG
        await asyncio.sleep(2)
        assert await process.ready() == not_ready(f"redis: {WRONG.cause}")

    run(scenario, redis=AWAY)


def test_a_redis_that_never_answered_makes_unready_until_it_did_and_is_an_outage_later() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        for _ in range(5):
            assert await process.ready() == not_ready("redis: no answer")
            await asyncio.sleep(1)
        process.redis = None
        await asyncio.sleep(2)
        assert await process.ready() == degraded()
        process.redis = AWAY
        await asyncio.sleep(2)
        assert await process.ready() == degraded(redis="no answer")

    run(scenario, redis=AWAY)


def test_a_redis_that_is_full_at_the_start_did_answer() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        assert await process.ready() == degraded(redis="OOM")

    run(scenario, redis=Problem("OOM", partial=True))


def test_many_probes_share_one_check_per_second() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        await process.ready()
        before = process.checks
        for _ in range(50):
            await asyncio.gather(*(process.ready() for _ in range(100)))
            await asyncio.sleep(0.1)
        assert 4 <= process.checks - before <= 6

    run(scenario)


def test_a_check_that_hangs_delays_no_probe_for_long() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        await process.ready()
        await asyncio.sleep(1)
        process.delay_s = 1_000
        before, began = process.checks, asyncio.get_running_loop().time()
        for _ in range(5):
            assert await process.ready() == degraded(database="no answer in time")
        assert asyncio.get_running_loop().time() - began <= 3
        assert process.checks == before + 1

    run(scenario)


def test_a_database_that_fails_is_named_at_once_and_makes_unready_after_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        assert await process.ready() == degraded()
        process.database = Problem("no answer", detail="disk full")
        await asyncio.sleep(1)
        for _ in range(int(OUTAGE_LIMIT_S) - 10):
            assert await process.ready() == degraded(database="no answer")
            await asyncio.sleep(1)
        await asyncio.sleep(OUTAGE_LIMIT_S)
        assert await process.ready() == not_ready("database: no answer")
        process.database = None
        await asyncio.sleep(1)
        assert await process.ready() == degraded()

    caplog.set_level("INFO")
    run(scenario)
    assert caplog.messages == ["database: no answer", "database works again"]
    assert vars(caplog.records[0])["detail"] == "disk full"


def test_a_service_that_does_a_part_of_its_work_never_makes_unready() -> None:
    async def scenario(process: ProcessUnderTest) -> None:
        process.redis = Problem("OOM", partial=True)
        await asyncio.sleep(OUTAGE_LIMIT_S * 3)
        assert await process.ready() == degraded(redis="OOM")

    run(scenario)


def test_a_service_that_was_used_before_the_first_check_counts_as_one_that_worked() -> None:
    async def refuse() -> Problem | None:
        return WRONG

    async def main() -> None:
        readiness = Readiness()
        readiness.serving()
        readiness.watch("database", refuse, worked=True)
        assert json.loads((await readiness.ready()).body)["degraded"] == ["database"]

    run_in_virtual_time(main())


def test_a_check_that_raises_counts_as_a_failure_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> Problem | None:
        raise RuntimeError("a bug")

    async def main() -> None:
        readiness = Readiness()
        readiness.serving()
        readiness.watch("database", fail)
        assert json.loads((await readiness.ready()).body)["degraded"] == ["database"]

    run_in_virtual_time(main())
    assert "a bug" in caplog.text
