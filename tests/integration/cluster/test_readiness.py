"""``/ready`` of real processes: it is judged by what they need, and a wrong setting is named and keeps them unready."""

from __future__ import annotations

import asyncio
import re
import resource
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil

from support.clients import send
from support.metrics import metrics
from support.ports import free_port
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.redis_server import RedisServer, environment
from support.waiting import until

SECRET = "a secret of more than thirty-two bytes"
LIMIT_S = 15.0
#: Long enough for a process that becomes ready by mistake: its checks run every second.
WRONG_FOR_S = 2.0


async def ready(url: str) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - loopback, and loading authorities takes long
        answer = await client.get(f"{url}/ready", timeout=5)
        return answer.status_code, answer.json()


async def until_ready(url: str, **causes: str) -> None:
    """Wait until a process is ready, and degraded by exactly these services for these causes."""
    body = {"status": "ready", "degraded": list(causes), **({"causes": causes} if causes else {})}

    async def answers() -> bool:
        return await ready(url) == (200, body)

    await until(answers, limit_s=LIMIT_S, step_s=0.1)


async def until_unready(url: str) -> None:
    """Wait until a process has checked Redis and is not ready for that reason alone."""

    async def answers() -> bool:
        code, body = await ready(url)
        return code == 503 and [reason.partition(":")[0] for reason in body["reasons"]] == ["redis"]

    await until(answers, limit_s=LIMIT_S, step_s=0.1)


async def until_degraded(url: str) -> None:
    """Wait until a process is ready without Redis."""

    async def answers() -> bool:
        code, body = await ready(url)
        return code == 200 and body["degraded"] == ["redis"]

    await until(answers, limit_s=LIMIT_S, step_s=0.1)


async def stays_unready(url: str, reason: str) -> None:
    """Check that a process never becomes ready. No event says that something does not happen."""
    async with asyncio.timeout(LIMIT_S):
        seen = 0
        while seen < WRONG_FOR_S / 0.5:
            code, body = await ready(url)
            assert code == 503, body
            seen += body["reasons"] == [reason]
            await asyncio.sleep(0.5)


async def test_a_gateway_is_degraded_while_redis_refuses_appends_and_the_metrics_show_it(redis: RedisServer) -> None:
    port = free_port()
    with Roomcast.gateway(env=environment(redis, ROOMCAST_INTERNAL_PORT=str(port))) as gateway:
        await until_ready(gateway.gateway_url)
        assert (await metrics(port))["roomcast_log_failures_total", "append"] == 0
        for broken, mended, cause in (
            (("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0"), "OOM"),
            (
                ("CONFIG", "SET", "min-replicas-to-write", "1"),
                ("CONFIG", "SET", "min-replicas-to-write", "0"),
                "NOREPLICAS",
            ),
            (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"), "READONLY"),
        ):
            before = (await metrics(port))["roomcast_log_failures_total", "append"]
            redis.command(*broken)
            await until_ready(gateway.gateway_url, redis=cause)
            assert (await metrics(port))["roomcast_log_failures_total", "append"] > before
            redis.command(*mended)
            await until_ready(gateway.gateway_url)


async def test_a_gateway_whose_redis_setting_is_wrong_never_becomes_ready_and_names_it(redis: RedisServer) -> None:
    everything = ("on", ">right", "~*", "&*", "+@all")
    redis.command("ACL", "SETUSER", "roomcast", *everything)
    redis.command("ACL", "SETUSER", "low", *everything, "-eval", "-evalsha")
    redis.command("ACL", "SETUSER", "default", "off")
    place = f"127.0.0.1:{redis.port}"
    login = "the login is refused: correct REDIS_PASSWORD, or the user and password in REDIS_URL"
    causes = {
        f"redis://roomcast:wrong@{place}": login,
        f"redis://{place}": login,
        f"redis://roomcast:right@{place}/99": "the database number does not exist: correct REDIS_URL",
        f"redis+cluster://roomcast:right@{place}": "it is no cluster: use redis:// in REDIS_URL",
        f"redis://low:right@{place}": "the user lacks a permission: README.md lists the ACL rules",
    }
    with ExitStack() as stack:
        gateways = [stack.enter_context(Roomcast.gateway(env={"REDIS_URL": url})) for url in causes]
        checked = zip(gateways, causes.values(), strict=True)
        await asyncio.gather(*(stays_unready(one.gateway_url, f"redis: {cause}") for one, cause in checked))
        for gateway, cause in zip(gateways, causes.values(), strict=True):
            errors = [line for line in gateway.output.splitlines() if "[error " in line]
            assert len(errors) == 1, gateway.output
            assert cause in errors[0]
            assert not re.search("unreachable|does not answer|right|Traceback", gateway.output), gateway.output


async def test_a_process_that_never_heard_redis_is_not_ready_and_becomes_ready_with_it(
    tmp_path: Path, redis: RedisServer
) -> None:
    place = f"127.0.0.1:{redis.port}"
    late = RedisServer(tmp_path / "late")
    env = {"ROOMCAST_RESPONDER": "none"}
    with ExitStack() as stack:
        unheard = [
            stack.enter_context(Roomcast.gateway(env={"REDIS_URL": url}))
            for url in ("redis://roomcast.invalid", f"rediss://{place}", f"redis+sentinel://{place}/wrong")
        ]
        data = tmp_path / "data"
        api = stack.enter_context(Roomcast.api(data, env={"REDIS_URL": f"redis://127.0.0.1:{late.port}", **env}))
        urls = [*(gateway.gateway_url for gateway in unheard), api.api_url]
        for url in urls:
            await until_unready(url)
        for _ in range(3):
            assert {(await ready(url))[0] for url in urls} == {503}
            await asyncio.sleep(0.5)  # see `stays_unready`
        stack.callback(late.kill)
        late.start()
        await until_ready(api.api_url)
        # Heard once, its silence is an outage.
        late.kill()
        await until_degraded(api.api_url)


async def test_a_password_that_changes_while_a_gateway_runs_leaves_it_ready(redis: RedisServer) -> None:
    with Roomcast.gateway(env=environment(redis)) as gateway:
        await until_ready(gateway.gateway_url)
        redis.command("ACL", "SETUSER", "default", "resetpass", ">new")
        assert redis.command("PING").startswith(b"-NOAUTH")
        for _ in range(5):
            assert (await ready(gateway.gateway_url))[0] == 200
            await asyncio.sleep(0.5)  # see `stays_unready`


async def test_a_gateway_that_the_api_refuses_never_becomes_ready_and_names_the_setting(
    tmp_path: Path, redis: RedisServer
) -> None:
    def gateway(**env: str) -> Roomcast:
        return stack.enter_context(Roomcast.gateway(env=environment(redis, **env)))

    env = environment(redis, ROOMCAST_SECRET=SECRET, ROOMCAST_INTERNAL_PORT=str(free_port()))
    with ExitStack() as stack:
        api = stack.enter_context(Roomcast.api(tmp_path / "data", env=env))
        other = "another secret of more than thirty-two bytes"
        same = "start the API and the gateway with the same ROOMCAST_SECRET, and set both clocks"
        refused = {
            gateway(API_URL=api.internal_url, ROOMCAST_SECRET=other): same,
            gateway(API_URL=api.internal_url): same,
            gateway(
                API_URL=api.api_url
            ): "API_URL is not the internal address of the API: use its ROOMCAST_INTERNAL_PORT",
        }
        works = gateway(API_URL=api.internal_url, ROOMCAST_SECRET=SECRET)
        alone = gateway(API_URL="http://127.0.0.1:1")
        await until_ready(works.gateway_url)
        await until_ready(alone.gateway_url, api="no answer")
        await asyncio.gather(*(stays_unready(one.gateway_url, f"api: {cause}") for one, cause in refused.items()))
        for one, cause in refused.items():
            # From the client of the API, which logs without /ready, too, and from readiness. The reads of ended
            # sessions log their failures less and less.
            lines = [line for line in one.output.splitlines() if cause in line and "ended sessions" not in line]
            assert len(lines) == 2, one.output


async def test_an_api_without_its_postgresql_says_so_and_recovers(own_postgres: PostgresServer, tmp_path: Path) -> None:
    env = {"DATABASE_URL": own_postgres.url(), "ROOMCAST_RESPONDER": "none"}
    api = Roomcast(["api", "--api-port", str(port := free_port())], api_port=port, gateway_port=None, env=env)
    with api:
        await until_ready(api.api_url)
        await asyncio.to_thread(own_postgres.kill)
        await until_ready(api.api_url, database="no answer")
        await asyncio.to_thread(own_postgres.start)
        await until_ready(api.api_url)
        own_postgres.pause()
        try:
            await until_ready(api.api_url, database="no answer in time")
        finally:
            own_postgres.resume()
        await until_ready(api.api_url)
        assert "Traceback" not in api.output


async def test_an_api_whose_disk_is_full_says_so_and_recovers(tmp_path: Path) -> None:
    with Roomcast.api(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as api:
        await until_ready(api.api_url)
        await send(api.api_url, "chat", "one")
        # No file may become larger than the write-ahead log is.
        log = tmp_path / "data/roomcast.db-wal"
        process = psutil.Process(api.pid)
        process.rlimit(psutil.RLIMIT_FSIZE, (log.stat().st_size, resource.RLIM_INFINITY))
        await until_ready(api.api_url, database="no writes are accepted")
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await until_ready(api.api_url)
        await send(api.api_url, "chat", "two")


async def test_an_api_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    with Roomcast.api(tmp_path / "data", env={"ROOMCAST_RESPONDER": "none"}) as api:
        await until_ready(api.api_url)
        (tmp_path / "data/roomcast.db").unlink()
        await until_ready(api.api_url, database="damaged, deleted or replaced, as the log says")
        lines = [line for line in api.output.splitlines() if "deleted" in line]
        assert re.search(r"roomcast\.db .*start", lines[0])
