"""The metrics of real processes, against the dashboard, the alerts and the document that name them."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import aiohttp
import httpx
import psutil
import psycopg
import pytest

from roomcast.push.vapid import new_key
from support import postgres_server
from support.clients import ChatClient, get, send
from support.ports import free_port
from support.processes import Roomcast
from support.prometheus import ROOT, alerts, dashboard_expressions, selectors
from support.redis_server import RedisServer, environment
from support.watch import Watch

#: A gateway with a bug: the handler of one event raises.
FAULTY_GATEWAY = f"""#!{sys.executable}
from roomcast.cli import main
from roomcast.gateway.handlers import Handlers

async def typing(self, *args):
    raise RuntimeError("planted")

Handlers.typing = typing
main()
"""
#: Series that must move, too.
MORE = (
    'roomcast_http_request_duration_seconds_count{method="POST",route="/api/chat/messages",status="2xx"}',
    'roomcast_http_request_duration_seconds_count{method="GET",route="unmatched",status="4xx"}',
    'roomcast_join_duration_seconds_count{outcome="recovered"}',
    'roomcast_database_duration_seconds_count{operation=~"read|write"}',
    'roomcast_database_connections{state="used"}',
    'roomcast_redis_duration_seconds_count{use="eventlog-append"}',
)
BIG = "x" * 500_000


def table(watch: Watch) -> list[str]:
    """The rows of ``docs/metrics.md``."""
    rows = []
    for name, family in sorted(watch.families.items()):
        if name.startswith("roomcast_"):
            labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
            suffix = "_total" if family.type == "counter" else ""
            named = ", ".join(f"`{label}`" for label in labels)
            rows.append(f"| `{name}{suffix}` | {family.type} | {named} | {family.documentation} |")
    return rows


class Deployment:
    """API, worker and gateway on PostgreSQL. Redis and the processes are not started yet."""

    def __init__(self, stack: ExitStack, directory: Path) -> None:
        self.redis = redis = RedisServer(directory / "redis")
        stack.callback(redis.kill)
        self.go_on = directory / "go-on"
        self.database = stack.enter_context(postgres_server.running())
        self.name = self.database.create_database()
        url = self.database.url(self.name)
        ports = {name: free_port() for name in ("api", "worker", "gateway")}
        env = environment(redis, DATABASE_URL=url, ROOMCAST_RESPONDER="support.faulty_responder:answer")
        env |= {"PYTHONPATH": str(ROOT / "tests"), "ROOMCAST_WORKER": "off", "ROOMCAST_WORKER_TURNS": "1"}
        env |= {"ROOMCAST_WEBHOOK_NETWORKS": "127.0.0.1", "ROOMCAST_WEBHOOK_GIVE_UP_S": "1"}
        env |= {"ROOMCAST_VAPID_KEY": new_key(), "ROOMCAST_FILES_URL": (directory / "files").as_uri()}
        envs = {name: {**env, "ROOMCAST_INTERNAL_PORT": str(port)} for name, port in ports.items()}
        self.api = Roomcast.api(None, env={**envs["api"], "ROOMCAST_MODERATION": "support.passing_hook:review"})
        worker = Roomcast.worker(env=envs["worker"])
        stopping = {"ALLOWED_HOSTS": "127.0.0.1", "ROOMCAST_UNREADY_S": "1", "ROOMCAST_DRAIN_S": "1"}
        self.gateway = Roomcast.gateway(
            env={**environment(redis), **stopping, "API_URL": self.api.internal_url}
            | {"ROOMCAST_INTERNAL_PORT": str(ports["gateway"])}
        )
        self.gateway.command = directory / "faulty-roomcast"
        self.gateway.command.write_text(FAULTY_GATEWAY)
        self.gateway.command.chmod(0o755)
        self.processes = (self.api, worker, self.gateway)
        for process in self.processes:
            stack.callback(process.kill)
        self.watch = Watch(ports)


@pytest.mark.timeout(120)
async def test_every_metric_of_dashboard_and_alerts_moves_under_a_real_cause(tmp_path: Path) -> None:
    with ExitStack() as stack:
        it = Deployment(stack, tmp_path)
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in it.processes))
        # None of them has reached Redis.
        await it.watch.until(lambda: it.watch.read("roomcast_ready") == [0, 0, 0])
        await asyncio.to_thread(it.redis.start)
        await it.watch.until(lambda: it.watch.read("roomcast_ready") == [1, 1, 1])
        for cause in (clients, webhooks, refusals, gaps, database, no_api, no_redis, descriptors, shutdown):
            await cause(it)
        watch = it.watch
    expressions = [*(rule["expr"] for rule in alerts()), *dashboard_expressions(), *MORE]
    named = {selector for expression in expressions for selector in selectors(expression)}
    assert "\n".join(sorted(problem for selector in named for problem in watch.still(selector))) == ""
    _, rows = (ROOT / "docs" / "metrics.md").read_text().split("|---|---|---|---|\n")
    assert rows.splitlines() == table(watch), "\n".join(table(watch))


async def clients(it: Deployment) -> None:
    """Messages, answers, joins and replays; a failing responder; a handler with a bug; a client that does not read."""
    watch = it.watch
    async with AsyncExitStack() as stack:
        ann = await stack.enter_async_context(ChatClient(it.gateway.gateway_url))
        ack = await ann.join("team")
        await watch.look()
        await send(it.api.api_url, "team", "hello")
        while (await ann.next_message())["role"] != "AI":
            pass
        await send(it.api.api_url, "team", "fail")
        ben = await stack.enter_async_context(ChatClient(it.gateway.gateway_url))
        assert (await ben.join("team", since={"epoch": ack["epoch"], "seq": 0}))["recovered"] is True
        assert (await ben.join("team", since={"epoch": "gone", "seq": 1}))["recovered"] is False
        await ben.emit("typing", {"chatId": "team", "isTyping": True})
        session = await stack.enter_async_context(aiohttp.ClientSession())
        address = f"{it.gateway.gateway_url}/socket.io/?EIO=4&transport=websocket"
        stalled = await stack.enter_async_context(session.ws_connect(address, max_msg_size=0))
        for packet in ("40", '420["join-chat","big"]'):
            await stalled.send_str(packet)
        while not str((await stalled.receive()).data).startswith("430"):
            pass
        event = f'{{"type":"MESSAGE_CREATED","chatId":"big","data":"{BIG}"}}'
        for _ in range(60):
            it.redis.command("PUBLISH", "chat:events", event)
        await watch.until(lambda: watch.rose("roomcast_slow_consumers_cut_total"))
        await watch.until(lambda: watch.rose("roomcast_ai_turns_ended_total", outcome="failed .*"))
        await watch.until(lambda: watch.rose("roomcast_handler_failures_total"))
    await watch.until(lambda: watch.fell("roomcast_connections", transport="websocket"))
    # The delay is measured with one clock here, so more than these seconds would be an error of unit or time zone.
    assert 0 < sum(watch.read("roomcast_delivery_delay_seconds_sum")) < 10


async def webhooks(it: Deployment) -> None:
    """A webhook whose receiver does not exist."""
    async with aiohttp.ClientSession(it.api.api_url) as session:
        created = await (await session.post("/api/webhooks", json={"url": f"http://127.0.0.1:{free_port()}"})).json()
        await send(it.api.api_url, "team", "without a receiver")
        await it.watch.until(lambda: it.watch.rose("roomcast_webhook_attempts_total", outcome="dead"))
        await session.delete(f"/api/webhooks/{created['id']}")


async def refusals(it: Deployment) -> None:
    """Handshakes of another page, and through another host name; a packet and a path that are none."""
    address = f"{it.gateway.gateway_url}/socket.io/?EIO=4&transport=polling"
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - loopback, and loading authorities takes long
        for header in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
            assert (await client.get(address, headers=header)).status_code in {400, 403}
        sid = (await client.get(address)).text.partition('"sid":"')[2].partition('"')[0]
        assert (await client.post(f"{address}&sid={sid}", content="9")).status_code == 400
        assert (await client.get(f"{it.api.api_url}/api/chats/%ff")).is_client_error
    await it.watch.until(lambda: it.watch.rose("roomcast_protocol_errors_total"))


async def gaps(it: Deployment) -> None:
    """The gateway missed events that the log does not have, and the API, which could publish them again, is away."""
    watch = it.watch
    async with ChatClient(it.gateway.gateway_url) as ann:
        await ann.join("gaps")
        for name in ("bridged", "open"):
            it.gateway.pause()
            it.redis.command("CLIENT", "KILL", "TYPE", "pubsub")
            await send(it.api.api_url, "gaps", name)
            if name == "open":
                it.redis.command("DEL", "roomcast:{gaps}:log")
                it.api.pause()
            it.gateway.resume()
            await watch.until(lambda name=name: watch.rose("roomcast_feed_gaps_total", outcome=name), "gateway")
        it.api.resume()
    await watch.until(lambda: watch.rose("roomcast_resyncs_total"))


async def database(it: Deployment) -> None:
    """A lock that makes reads wait, then the end of the database."""
    watch, address = it.watch, f"{it.api.api_url}/api/chats/team/messages"
    with psycopg.connect(it.database.url(it.name), autocommit=False) as connection:
        connection.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        reads = [asyncio.create_task(get(address)) for _ in range(10)]
        await watch.until(lambda: watch.rose("roomcast_database_connections", state="waiting"))
        connection.rollback()
        await asyncio.gather(*reads)
    await watch.until(lambda: watch.fell("roomcast_database_connections", state="waiting"))
    await asyncio.to_thread(it.database.kill)
    with pytest.raises(httpx.HTTPStatusError, match="503"):
        await send(it.api.api_url, "team", "lost")
    await watch.until(lambda: watch.fell("roomcast_service_up", service="database"))
    await asyncio.to_thread(it.database.start)
    await watch.until(lambda: watch.read("roomcast_service_up", service="database") == [1, 1])


async def no_api(it: Deployment) -> None:
    """The API ends, and starts again."""
    watch = it.watch
    await asyncio.to_thread(it.api.kill)
    async with ChatClient(it.gateway.gateway_url) as ann:
        assert (await ann.join("other"))["ok"] is False
    await watch.until(lambda: watch.fell("roomcast_service_up", service="api"))
    await asyncio.to_thread(it.api.start)
    await watch.until(lambda: watch.read("roomcast_service_up", service="api") == [1])


async def no_redis(it: Deployment) -> None:
    """Redis ends while the one worker is busy, so that events and questions wait."""
    watch = it.watch
    for chat in ("busy", "waiting"):
        await send(it.api.api_url, chat, f"wait {it.go_on}")
    await asyncio.to_thread(it.redis.kill)
    await send(it.api.api_url, "team", "later")
    backlogs = ("outbox_events", "outbox_oldest_seconds", "ai_turns_waiting", "ai_turns_oldest_waiting_seconds")
    await watch.until(lambda: all(watch.rose(f"roomcast_{name}") for name in backlogs))
    await watch.until(lambda: watch.fell("roomcast_service_up", service="redis"))
    await asyncio.to_thread(it.redis.start)
    it.go_on.touch()
    await watch.until(lambda: all(watch.fell(f"roomcast_{name}") for name in backlogs))
    await watch.until(lambda: set(watch.read("roomcast_service_up")) == {1})


async def descriptors(it: Deployment) -> None:
    """A lower limit of open files, which is raised again."""
    gateway = psutil.Process(it.gateway.pid)
    limits = gateway.rlimit(resource.RLIMIT_NOFILE)
    gateway.rlimit(resource.RLIMIT_NOFILE, (gateway.num_fds() + 10, limits[1]))
    await it.watch.until(lambda: it.watch.fell("process_max_fds"))
    gateway.rlimit(resource.RLIMIT_NOFILE, limits)
    await it.watch.until(lambda: it.watch.rose("process_max_fds"))


async def shutdown(it: Deployment) -> None:
    """The gateway drains and ends."""
    stopping = asyncio.create_task(asyncio.to_thread(it.gateway.stop, signal.SIGTERM))
    await it.watch.until(lambda: it.watch.fell("roomcast_ready"))
    await stopping
    await it.watch.look()
