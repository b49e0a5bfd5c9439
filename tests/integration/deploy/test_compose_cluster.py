"""The services of the Compose files as plain processes, with the files' own commands, variables and secrets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis as redis_py
import socketio

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


async def metric(cluster: Cluster, service: str, start: str) -> float:
    """The sum of the samples of a service whose lines start with this text."""
    async with httpx.AsyncClient() as http:
        metrics = (await http.get(f"{cluster.compose.url(service, 3002)}/metrics")).text
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if line.startswith(start))


async def test_all_gateways_and_both_apis_get_connections(cluster: Cluster) -> None:
    clients = [ChatClient(cluster.url, auth={"token": cluster.token("ann")}) for _ in range(6)]
    async with clients[0], clients[1], clients[2], clients[3], clients[4], clients[5], httpx.AsyncClient() as http:
        for number in (1, 2, 3):
            assert await metric(cluster, f"gateway-{number}", "roomcast_connections") > 0, number
        requests = 'roomcast_http_request_duration_seconds_count{method="GET",route="/api/config"'
        before = [await metric(cluster, api, requests) for api in ("api-1", "api-2")]
        for _ in range(6):
            assert (await http.get(f"{cluster.url}/api/config")).status_code == 200
        after = [await metric(cluster, api, requests) for api in ("api-1", "api-2")]
        assert sum(after) == sum(before) + 6
        assert all(now > then for now, then in zip(after, before, strict=True)), (before, after)


@dataclass
class Follower:
    """A user of a chat that connects again and continues after its last message.

    Attributes:
        earlier: The messages of its former connections.
        client: Its connection; None: it has not joined yet.
        joins: How often it has joined.
    """

    earlier: list[dict[str, Any]] = field(default_factory=list)
    client: ChatClient | None = None
    joins: int = 0

    def messages(self) -> list[dict[str, Any]]:
        """Everything that it was sent, in this order."""
        return self.earlier + ([] if self.client is None else self.client.messages())

    async def follow(self, cluster: Cluster, chat_id: str, user: str, transport: str) -> None:
        """Follow the chat until cancelled."""
        options: dict[str, Any] = {"auth": {"token": cluster.token(user)}, "headers": {"Origin": cluster.url}}
        while True:
            last = self.earlier[-1] if self.earlier else None
            # While the gateway ends, a connection may fail.
            with contextlib.suppress(socketio.exceptions.ConnectionError, TimeoutError):
                async with ChatClient(cluster.url, transports=(transport,), **options) as client:
                    self.client = client
                    since = None if last is None else {"epoch": last["epoch"], "seq": last["seq"]}
                    ack = await client.join(chat_id, since=since)
                    assert ack["ok"] is True
                    assert last is None or ack["recovered"] is True
                    self.joins += 1
                    await client.disconnected.wait()
            self.earlier, self.client = self.messages(), None


async def test_a_restart_of_a_gateway_under_load_loses_and_repeats_nothing(cluster: Cluster) -> None:
    await member_of(cluster, "roll", "ann", "bob")
    followers = [Follower() for _ in range(8)]
    token, sent, stopped = cluster.token("backend", service=True), list[str](), asyncio.Event()

    async def load() -> None:
        while not stopped.is_set():
            sent.append(f"message {len(sent)}")
            await send(cluster.url, "roll", sent[-1], role="AI", token=token)

    async with asyncio.TaskGroup() as group:
        following = [
            group.create_task(follower.follow(cluster, "roll", user, transport))
            for follower, (user, transport) in zip(
                followers, itertools.product(("ann", "bob"), ("websocket", "polling") * 2), strict=True
            )
        ]
        await until(lambda: all(follower.joins for follower in followers))
        sending = group.create_task(load())
        await until(lambda: len(sent) > 20)
        gateway = cluster.processes["gateway-2"]
        code, _ = await asyncio.to_thread(gateway.stop, signal.SIGTERM)
        assert code == 0
        await asyncio.to_thread(gateway.start)
        stopped.set()
        await sending
        await until(lambda: all(len(follower.messages()) >= len(sent) for follower in followers), limit_s=20)
        for task in following:
            task.cancel()
    for follower in followers:
        assert [message["content"] for message in follower.messages()] == sent
    assert sum(follower.joins for follower in followers) > len(followers)


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
