"""The services of the Compose files as plain processes, with the files' own commands, variables and secrets."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_py

from support.clients import ChatClient, send
from support.compose import DEPLOY, Cluster, Compose, first_answers, running_cluster
from support.postgres_server import PostgresServer
from support.processes import Roomcast, clean_environment
from support.redis_server import require_redis_server
from support.waiting import until


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("cluster"), postgres) as running:
        yield running


def healthcheck(cluster: Cluster, service: str) -> int:
    """The exit code of the service's healthcheck. In a container every address is also on loopback; here it is not."""
    test = cluster.compose.services[service]["healthcheck"]["test"]
    script = (DEPLOY / "docker" / Path(test[2]).name).read_text()
    script = script.replace("127.0.0.1", cluster.compose.hosts[service])
    env = clean_environment(cluster.compose.environment(service))
    return subprocess.run([sys.executable, "-c", script, *test[3:]], env=env, check=False).returncode


async def member_of(cluster: Cluster, chat_id: str, *users: str) -> None:
    """Create a chat as the application's back end does."""
    headers = {"Authorization": f"Bearer {cluster.token('backend', service=True)}"}
    async with httpx.AsyncClient(base_url=cluster.url, headers=headers) as http:
        (await http.post("/api/chats", json={"id": chat_id, "members": users})).raise_for_status()


async def test_the_flow_of_the_guide_passes_through_nginx(cluster: Cluster) -> None:
    await member_of(cluster, "team", "ann", "bob")
    origin = {"Origin": cluster.url}
    async with (
        ChatClient(cluster.url, auth={"token": cluster.token("ann")}, headers=origin) as ann,
        ChatClient(cluster.url, auth={"token": cluster.token("bob")}, headers=origin, transports=("polling",)) as bob,
    ):
        assert (ann.transport, bob.transport) == ("websocket", "polling")
        assert (await ann.call("join-user", "ann"))["ok"] is True
        for client in (ann, bob):
            assert (await client.join("team"))["ok"] is True
            assert await client.call("ping") is not None
        sent = await send(cluster.url, "team", "hello", token=cluster.token("ann"))
        for client in (ann, bob):
            question, answer = await until(
                lambda client=client: client.messages("team")[1:] and client.messages("team")
            )
            assert question["id"] == sent["id"]
            assert (answer["role"], answer["turn"]["status"]) == ("AI", "complete")
    async with httpx.AsyncClient(base_url=cluster.url) as http:
        assert (await http.get("/health")).status_code == 200
        page = await http.get("/")
        assert "text/html" in page.headers["content-type"]
        # Other processes and Prometheus only.
        for path in ("/metrics", "/internal/joins"):
            assert (await http.get(path)).status_code == 404


async def test_all_gateways_and_both_apis_get_connections(cluster: Cluster) -> None:
    clients = [ChatClient(cluster.url, auth={"token": cluster.token("ann")}) for _ in range(6)]
    async with clients[0], clients[1], clients[2], clients[3], clients[4], clients[5], httpx.AsyncClient() as http:
        for number in (1, 2, 3):
            metrics = (await http.get(f"{cluster.compose.url(f'gateway-{number}', 3002)}/metrics")).text
            connections = [line for line in metrics.splitlines() if line.startswith("roomcast_connections")]
            assert sum(float(line.rpartition(" ")[2]) for line in connections) > 0, number


async def test_every_healthcheck_of_the_file_says_that_its_service_is_ready(cluster: Cluster) -> None:
    for name in cluster.processes:
        await until(lambda name=name: healthcheck(cluster, name) == 0, step_s=0.1)


@pytest.mark.parametrize(
    ("service", "variable", "file", "value", "reason"),
    [
        ("gateway-1", "REDIS_PASSWORD_FILE", "redis-password", "wrong", "REDIS_PASSWORD"),
        ("gateway-1", "ROOMCAST_SECRET_FILE", "secret", "another secret, which has enough bytes", "ROOMCAST_SECRET"),
        ("api-1", "REDIS_PASSWORD_FILE", "redis-password", "wrong", "REDIS_PASSWORD"),
    ],
)
async def test_a_new_process_with_a_wrong_setting_is_never_ready_and_the_old_ones_serve(
    cluster: Cluster, tmp_path: Path, service: str, variable: str, file: str, value: str, reason: str
) -> None:
    compose = cluster.compose
    (tmp_path / file).write_text(value)
    old = compose.hosts[service]
    new = f"{old.rpartition('.')[0]}.200"
    env = {name: text.replace(old, new) for name, text in compose.environment(service).items()}
    env[variable] = str(tmp_path / file)
    # The update stops here: the old process of this service is stopped only when the new one is ready.
    with Roomcast(compose.services[service]["command"], api_port=None, gateway_port=None, env=env):
        async with httpx.AsyncClient() as http:

            async def refused() -> Any:
                ready = await http.get(f"http://{new}:3002/ready")
                return ready.status_code == 503 and reason in ready.text

            await until(refused, limit_s=20.0, step_s=0.1)
            assert (await http.get(f"{compose.url(service, 3002)}/ready")).status_code == 200


async def test_a_new_api_with_a_wrong_database_does_not_start(cluster: Cluster, tmp_path: Path) -> None:
    compose = cluster.compose
    (tmp_path / "database-url").write_text((compose.secrets / "database-url").read_text() + "_missing")
    old = compose.hosts["api-1"]
    env = compose.environment("api-1")
    env = {name: text.replace(old, f"{old.rpartition('.')[0]}.201") for name, text in env.items()}
    process = Roomcast(
        ["api"], api_port=None, gateway_port=None, env={**env, "DATABASE_URL_FILE": str(tmp_path / "database-url")}
    )
    with pytest.raises(RuntimeError, match="database"):
        process.start()


@pytest.fixture
def development(tmp_path: Path) -> Iterator[Compose]:
    """Redis of ``compose.yaml`` runs."""
    require_redis_server()
    compose = Compose("compose.yaml", tmp_path)
    with subprocess.Popen(compose.redis_command(), stdout=subprocess.DEVNULL, env=clean_environment()) as redis:
        try:
            first_answers(compose.hosts["redis"], 6379, redis)
            yield compose
        finally:
            redis.terminate()


async def test_the_variables_of_the_guides_own_file_are_enough(development: Compose) -> None:
    """Without a secret and `API_URL`; only ROOMCAST_INSECURE is added. The guide's application publishes itself."""
    guide = ("REDIS_HOST", "REDIS_PORT", "REDIS_PASSWORD", "ALLOWED_ORIGINS", "ROOMCAST_INSECURE", "ROOMCAST_HOST")
    declared = development.environment("websocket")
    gateway = Roomcast(["gateway"], api_port=None, gateway_port=None, env={name: declared[name] for name in guide})
    data = {"id": "m1", "chatId": "c1", "role": "USER", "content": "hi"}
    with gateway, redis_py.Redis(host=development.hosts["redis"], password="your_password") as publisher:
        url = development.url("websocket", 3001)
        async with ChatClient(url, headers={"Origin": "http://localhost:3000"}) as client:
            await client.join("c1")
            event = json.dumps({"type": "MESSAGE_CREATED", "chatId": "c1", "data": data})
            await until(lambda: publisher.publish("chat:events", event) > 0)
            assert (await client.next_message())["content"] == "hi"
