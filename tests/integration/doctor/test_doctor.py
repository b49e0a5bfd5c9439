"""`roomcast doctor`: planted faults on real servers, each found, with the remedy that names the setting."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from roomcast.app.doctor.database import check_database
from roomcast.app.doctor.examination import examine
from roomcast.app.doctor.findings import Finding, Role
from roomcast.app.doctor.redis import check_redis
from roomcast.redis_client import RedisAddress, RedisOptions
from support.ports import free_port
from support.postgres_server import PostgresServer
from support.processes import Roomcast, run_roomcast
from support.redis_server import RedisServer, environment, running
from support.redis_topology import redis_cluster

SECRET = "a secret of more than thirty-two bytes"
README = Path(__file__).parents[3] / "README.md"


async def findings(env: Mapping[str, str], role: Role = "up", *, origin: str | None = None) -> list[Finding]:
    env = {"ROOMCAST_RESPONDER": "none", **env}
    return [finding async for finding in examine(env, role, origin=origin)]


def problems(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.status != "ok"]


async def the_problem(env: Mapping[str, str], role: Role = "up", *, origin: str | None = None) -> Finding:
    (found,) = problems(await findings(env, role, origin=origin))
    return found


async def test_a_healthy_set_up_with_redis_and_postgresql_has_no_problem(
    tmp_path: Path, redis: RedisServer, postgres: PostgresServer
) -> None:
    port = free_port()
    base = environment(redis, ROOMCAST_SECRET=SECRET, DATABASE_URL=postgres.url(postgres.create_database()))
    with Roomcast.api(None, env=base | {"ROOMCAST_INTERNAL_PORT": str(port)}):
        for role in ("up", "api", "worker", "gateway"):
            env = base | {"API_URL": f"http://127.0.0.1:{port}"}
            found = await findings(env, role, origin="http://localhost:3000" if role == "gateway" else None)
            assert problems(found) == []
            assert {"configuration", "secret", "redis", "redis permissions"} <= {finding.check for finding in found}


async def test_a_healthy_set_up_on_sqlite_has_one_thing_to_do_at_most(tmp_path: Path) -> None:
    env = {"ROOMCAST_DATA": str(tmp_path / "data")}
    assert problems(await findings(env)) == []
    assert not (tmp_path / "data").exists()
    assert run_roomcast("migrate", "--data", str(tmp_path / "data")).returncode == 0
    assert problems(await findings(env)) == []


async def test_wrong_settings_of_redis_are_found(redis: RedisServer, tmp_path: Path) -> None:
    everything = ("on", ">right", "~*", "&*", "+@all")
    redis.command("ACL", "SETUSER", "roomcast", *everything)
    redis.command("ACL", "SETUSER", "low", *everything, "-hset", "-psubscribe")
    redis.command("ACL", "SETUSER", "default", "off")
    place = f"127.0.0.1:{redis.port}"
    planted = {
        f"redis://roomcast:wrong@{place}": "REDIS_PASSWORD",
        f"redis://roomcast:right@{place}/99": "correct REDIS_URL",
        f"redis+cluster://roomcast:right@{place}": "use redis:// in REDIS_URL",
        f"redis+sentinel://roomcast:right@{place}/master": "it is no sentinel",
        f"rediss://roomcast:right@{place}": "else redis://",
        "redis://roomcast.invalid": "correct REDIS_HOST",
        f"redis://127.0.0.1:{free_port()}": "start Redis",
        f"redis://low:right@{place}": "ACL SETUSER",
    }
    for url, remedy in planted.items():
        found = await the_problem({"REDIS_URL": url, "ROOMCAST_DATA": str(tmp_path)})
        assert (found.status, remedy in found.remedy) == ("fault", True), (url, found)
        assert "right" not in found.text
        if "low" in url:
            assert "hset, psubscribe socket.io#/#*" in found.text


async def test_the_documented_acl_rules_are_no_problem(redis: RedisServer, tmp_path: Path) -> None:
    rules = README.read_text().partition("\nACL SETUSER ")[2].partition("```")[0].replace("PASSWORD", "hidden").split()
    assert redis.command("ACL", "SETUSER", *rules) == b"+OK"
    url = f"redis://roomcast:hidden@127.0.0.1:{redis.port}"
    assert problems(await findings({"REDIS_URL": url, "ROOMCAST_DATA": str(tmp_path)})) == []


async def test_a_full_or_evicting_redis_is_found(redis: RedisServer, tmp_path: Path) -> None:
    env = environment(redis, ROOMCAST_DATA=str(tmp_path))
    redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    assert "maxmemory-policy to noeviction" in (await the_problem(env)).remedy
    redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    redis.command("CONFIG", "SET", "maxmemory", "1")
    assert (await the_problem(env)).remedy == "raise maxmemory"


async def test_wrong_settings_of_postgresql_are_found(postgres: PostgresServer, redis: RedisServer) -> None:
    name = postgres.create_database()
    env = environment(redis)
    gone = await the_problem(env | {"DATABASE_URL": postgres.url("missing")}, "api")
    assert (gone.status, "DATABASE_URL" in gone.remedy) == ("fault", True)
    away = await the_problem(env | {"DATABASE_URL": f"postgresql://u:p@127.0.0.1:{free_port()}/x"}, "api")
    assert (away.status, "start PostgreSQL" in away.remedy) == ("fault", True)
    env["DATABASE_URL"] = postgres.url(name)
    pending = await the_problem(env, "api")
    assert (pending.status, "roomcast migrate" in pending.remedy) == ("warning", True)
    assert run_roomcast("migrate", env=env).returncode == 0
    assert problems(await findings(env, "api")) == []
    postgres.execute("CREATE ROLE reader LOGIN", name)
    postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", name)
    reader = {"DATABASE_URL": env["DATABASE_URL"].replace("//roomcast", "//reader")}
    denied = await the_problem(env | reader, "api")
    assert (denied.status, "GRANT" in denied.remedy, "events" in denied.text) == ("fault", True, True)
    postgres.execute("UPDATE alembic_version SET version_num = '9999'", name)
    newer = await findings(env, "api")
    assert any(one.check == "schema" and one.status == "fault" and "update roomcast" in one.remedy for one in newer)


async def test_a_data_directory_that_cannot_be_used_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = await the_problem({"ROOMCAST_DATA": str(tmp_path / "file/data")})
    assert (found.status, "--data or ROOMCAST_DATA" in found.remedy) == ("fault", True)
    (tmp_path / "roomcast.db").write_bytes(b"no database, whatever its name may say" * 100)
    assert "restore a backup" in (await the_problem({"ROOMCAST_DATA": str(tmp_path)})).remedy


async def test_a_gateway_with_a_wrong_api_url_or_secret_is_found(tmp_path: Path, redis: RedisServer) -> None:
    base = environment(redis, ROOMCAST_SECRET=SECRET)
    with Roomcast.api(tmp_path / "data", env=base) as api:
        other = base | {"API_URL": api.internal_url, "ROOMCAST_SECRET": "another secret of more than thirty-two bytes"}
        assert "same ROOMCAST_SECRET" in (await the_problem(other, "gateway")).remedy
        public = await the_problem(base | {"API_URL": api.api_url}, "gateway")
        assert "ROOMCAST_INTERNAL_PORT" in public.remedy
        in_use = await the_problem(base | {"ROOMCAST_DATA": str(tmp_path / "data")})
        assert (in_use.status, "in use by another roomcast" in in_use.text) == ("warning", True)
    away = await the_problem(base | {"API_URL": f"http://127.0.0.1:{free_port()}"}, "gateway")
    assert "start the API" in away.remedy
    assert "set API_URL" in (await the_problem(environment(redis), "gateway")).remedy


@pytest.mark.parametrize(
    ("env", "role", "remedy"),
    [
        ({"ROOMCAST_SECRT": "x"}, "up", "correct or remove"),
        ({"ROOMCAST_SECRET": "short"}, "up", "correct this variable"),
        ({"PORT": "abc"}, "up", "correct this variable"),
        ({"ROOMCAST_HOST": "0.0.0.0"}, "up", "correct this variable"),
        ({"ROOMCAST_HOST": "0.0.0.0", "ROOMCAST_INSECURE": "on"}, "up", "set ROOMCAST_SECRET"),
        ({}, "worker", "correct this variable"),
        ({"ROOMCAST_RESPONDER": "no_such_module:reply"}, "up", "correct ROOMCAST_RESPONDER"),
    ],
)
async def test_a_wrong_setting_is_found_without_any_server(env, role, remedy, tmp_path) -> None:
    assert remedy in (await the_problem({"ROOMCAST_DATA": str(tmp_path), **env}, role)).remedy


async def test_an_origin_that_may_not_connect_is_found(tmp_path: Path) -> None:
    env = {"ROOMCAST_DATA": str(tmp_path)}
    found = await the_problem(env, origin="https://chat.example")
    assert found.remedy == "add https://chat.example to ALLOWED_ORIGINS"
    assert (
        problems(await findings(env | {"ALLOWED_ORIGINS": "https://chat.example"}, origin="https://chat.example")) == []
    )


async def test_a_clock_that_differs_from_those_of_the_servers_is_found(
    redis: RedisServer, postgres: PostgresServer
) -> None:
    options = RedisOptions(addresses=(RedisAddress("127.0.0.1", redis.port),))
    url = postgres.url(postgres.create_database())
    for ahead_s, expected in ((6.5, "fault"), (-6.5, "fault"), (1.0, "ok")):

        def now(ahead_s: float = ahead_s) -> float:
            return time.time() + ahead_s

        found = [finding async for finding in check_redis(options, guide_ingress=False, now=now)]
        found += await asyncio.to_thread(lambda now: list(check_database(url, now=now)), now)
        clocks = [finding for finding in found if finding.check == "clock"]
        assert [finding.status for finding in clocks] == [expected] * 2
        assert expected == "ok" or all("NTP" in finding.remedy for finding in clocks)


def sentinel(directory: Path) -> RedisServer:
    directory.mkdir()
    (directory / "sentinel.conf").touch()
    return RedisServer(directory, arguments=(str(directory / "sentinel.conf"),), sentinel=True)


async def test_faults_of_sentinels_are_found(tmp_path: Path, redis: RedisServer) -> None:
    with (
        running(RedisServer(tmp_path / "other", arguments=("--replicaof", f"127.0.0.1 {redis.port}"))) as replica,
        running(sentinel(tmp_path / "one")) as one,
        running(sentinel(tmp_path / "two")) as two,
    ):

        def monitor(where: RedisServer, name: str, server: RedisServer, quorum: int = 1) -> None:
            assert where.command("SENTINEL", "MONITOR", name, "127.0.0.1", str(server.port), str(quorum)) == b"+OK"

        def env(name: str, *sentinels: RedisServer) -> dict[str, str]:
            places = ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
            return {"REDIS_URL": f"redis+sentinel://{places}/{name}", "ROOMCAST_DATA": str(tmp_path)}

        monitor(one, "right", redis)
        healthy = await findings(env("right", one))
        assert problems(healthy) == []
        assert f"all 1 name 127.0.0.1:{redis.port}" in {finding.text for finding in healthy}
        monitor(one, "lonely", redis, quorum=2)
        lonely = await the_problem(env("lonely", one))
        assert (lonely.status, "start more sentinels" in lonely.remedy) == ("warning", True)
        monitor(one, "split", redis)
        monitor(two, "split", replica)
        split = {finding.check: finding for finding in problems(await findings(env("split", one, two)))}
        assert "SENTINEL MASTERS" in split["redis sentinels"].remedy
        monitor(two, "replica", replica)
        assert "it is a replica" in (await the_problem(env("replica", two))).remedy
        assert "name of the master" in (await the_problem(env("unknown", one))).remedy
        two.kill()
        silent = await the_problem(env("right", one, two))
        assert (silent.status, "1 of 2 do not answer" in silent.text) == ("warning", True)
        redis.kill()
        gone = await the_problem(env("right", one))
        assert (gone.status, "replica-announce-ip" in gone.remedy) == ("fault", True)


async def test_faults_of_a_cluster_are_found(tmp_path: Path) -> None:
    with redis_cluster(tmp_path / "redis", replicas=False) as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes.servers[0].port}"
        env = {"REDIS_URL": url, "ROOMCAST_DATA": str(tmp_path)}
        healthy = await findings(env)
        assert problems(healthy) == []
        assert sum(finding.check == "redis permissions" for finding in healthy) == 3
        third = nodes.servers[2]
        third.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        assert "maxmemory-policy to noeviction" in (await the_problem(env)).remedy
        third.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
        third.kill()
        gone = problems(await findings(env))
        assert any("cluster-announce-ip" in finding.remedy for finding in gone)


def test_the_command_prints_findings_and_its_exit_code_says_whether_there_is_a_fault(tmp_path: Path) -> None:
    env = {"ROOMCAST_DATA": str(tmp_path), "ROOMCAST_RESPONDER": "none"}
    done = run_roomcast("doctor", "--json", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert {one["status"] for one in json.loads(done.stdout)} == {"ok"}
    done = run_roomcast("doctor", "gateway", env=env | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}"})
    assert (done.returncode, done.stderr) == (1, "")
    assert "fault   redis: " in done.stdout
    assert "-> start Redis, or correct REDIS_HOST" in done.stdout
