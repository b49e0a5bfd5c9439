"""Every service is restarted under load, in its own version and in that of the last release: `ClientPool.check`."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from chaos.cluster.client_pool import ClientPool, Plan
from chaos.cluster.deployment import new_seed, report, running_deployment, scaled
from support.packages import ROOT
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.redis_server import RedisServer, environment

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]
PLAN = Plan(members=scaled(300), chats=("a", "b", "c"))
PER_S = 40


def git(*args: str) -> str:
    return subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def release(tmp_path: Path) -> str:
    """The directory of the source of the last release: the newest tag or, without tags, the commit of a release."""
    tags = git("tag", "--list", "v*", "--sort=-v:refname").split()
    found = tags or git("log", "-1", "--format=%H", "--grep=^chore(release): ").split()
    assert found, "this checkout has no release in its history: fetch all of it"
    archive = subprocess.run(["git", "archive", found[0], "src"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", tmp_path], input=archive, check=True)
    return str(tmp_path / "src")


async def version(process: Roomcast) -> str:
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"{process.internal_url}/metrics")).text
    return metrics.partition('roomcast_build_info{version="')[2].partition('"')[0]


async def replace_all(pool: ClientPool, processes: list[Roomcast], source: str) -> set[str]:
    """Restart each process when the one before it is ready and all clients have joined; the versions that run then."""
    versions = set()
    for process in processes:
        code, _ = await asyncio.to_thread(process.stop, signal.SIGTERM)
        assert code == 0
        process.env["PYTHONPATH"] = source
        await asyncio.to_thread(process.start)
        await pool.ready(20)
        await pool.caught_up()
        versions.add(await version(process))
    return versions


async def roll(
    tmp_path: Path, redis: RedisServer, postgres: PostgresServer, first: str, sources: list[str]
) -> list[set[str]]:
    """Start in the version of ``first`` and replace all processes by each of ``sources`` under load; the versions."""
    env = {**environment(redis), "DATABASE_URL": postgres.url(postgres.create_database()), "PYTHONPATH": first}
    with running_deployment(tmp_path, env, api_envs=({}, {})) as deployment:
        processes = [*deployment.apis, *deployment.gateways]
        async with deployment.clients(PLAN, new_seed()) as pool:
            await pool.ready()
            rolled, stopped = list[set[str]](), asyncio.Event()

            async def send() -> None:
                while not stopped.is_set():
                    await pool.send(PER_S, PER_S)

            load = asyncio.create_task(send())
            for source in sources:
                rolled.append(await replace_all(pool, processes, source))
            stopped.set()
            await load
            await pool.caught_up()
            report(await pool.check())
            return rolled


async def test_a_rolling_restart_of_every_service_loses_and_repeats_nothing(
    tmp_path: Path, redis: RedisServer, postgres: PostgresServer
) -> None:
    (versions,) = await roll(tmp_path, redis, postgres, "", [""])
    assert len(versions) == 1


async def test_a_rolling_upgrade_from_the_last_release_and_back_loses_and_repeats_nothing(
    tmp_path: Path, redis: RedisServer, postgres: PostgresServer, release: str
) -> None:
    upgraded, back = await roll(tmp_path, redis, postgres, release, ["", release])
    assert len(upgraded) == len(back) == 1
    assert upgraded != back
