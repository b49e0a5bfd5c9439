"""The whole product with a Redis user that has exactly the ACL rules of README.md, and no other user enabled."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx

from roomcast.eventlog.redis import RedisEventLog
from support.clients import ChatClient, send
from support.log_watch import Sink, publish
from support.ports import free_port
from support.processes import Roomcast
from support.redis_server import RedisServer
from support.redis_topology import redis_cluster
from support.waiting import until

README = Path(__file__).resolve().parents[3] / "README.md"
CHAT = "team"
LIMIT_S = 15.0


def documented_rules() -> list[str]:
    """The command of README.md that creates the user, without its first two words."""
    found = re.search(r"^ACL SETUSER (roomcast .*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1].replace("PASSWORD", "hidden").split()


async def event(client: ChatClient, name: str) -> None:
    while (await client.next_event(LIMIT_S))[0] != name:
        pass


async def test_the_documented_acl_rules_suffice_for_every_part(tmp_path: Path, redis: RedisServer) -> None:
    rules = documented_rules()
    assert redis.command("ACL", "SETUSER", *rules) == b"+OK"
    # The test itself may do anything; the processes log in as the other user.
    url = f"redis://roomcast:hidden@127.0.0.1:{redis.port}"
    env = {"REDIS_URL": url, "ROOMCAST_INTERNAL_PORT": str(free_port())}
    async with AsyncExitStack() as stack:
        api = stack.enter_context(Roomcast.api(tmp_path / "data", env=env))
        env = {"REDIS_URL": url, "API_URL": api.internal_url}
        one, two = (stack.enter_context(Roomcast.gateway(env=env)) for _ in range(2))
        ada = await stack.enter_async_context(ChatClient(one.gateway_url))
        ben = await stack.enter_async_context(ChatClient(two.gateway_url))
        for client, user in ((ada, "ada"), (ben, "ben")):
            assert (await client.call("join-user", user))["ok"] is True
            assert (await client.join(CHAT))["ok"] is True
        # Live events, an answer of the worker, presence, typing and announced activity.
        await send(api.api_url, CHAT, "hello")
        for client in (ada, ben):
            assert [(await client.next_message(LIMIT_S))["role"] for _ in range(2)] == ["USER", "AI"]
        await ben.call("typing", {"chatId": CHAT, "typing": True})
        await event(ada, "typing")
        # A replay from the log, and a forwarded request.
        async with ChatClient(one.gateway_url) as late:
            ack = await late.join(CHAT, since={"epoch": (await ada.join(CHAT))["epoch"], "seq": 0})
            assert ack["recovered"] is True
        async with httpx.AsyncClient() as http:
            handshake = await http.get(f"{one.gateway_url}/socket.io/?EIO=4&transport=polling")
            session = re.search(r'"sid":"([^"]+)"', handshake.text)
            assert session is not None
            polled = f"{two.gateway_url}/socket.io/?EIO=4&transport=polling&sid={session[1]}"
            assert (await http.post(polled, content="40")).status_code == 200
        # The guide's channel, an emit of the adapter, and a log that is seeded and discarded.
        payload = f'{{"event":"MESSAGE_CREATED","chatId":"{CHAT}","message":{{"id":"m","role":"AI","content":"x"}}}}'
        redis.command("PUBLISH", "chat:events", payload)
        redis.command("FLUSHALL")
        await send(api.api_url, CHAT, "again")
        redis.command("DEL", f"roomcast:{{{CHAT}}}:log")
        redis.command("RPUSH", f"roomcast:{{{CHAT}}}:log", "damaged")
        await send(api.api_url, CHAT, "and again")
        for gateway in (one, two):
            ready = await until(lambda gateway=gateway: is_ready(gateway), limit_s=LIMIT_S, step_s=0.2)
            assert ready == {"status": "ready", "degraded": []}
        for process in (one, two, api):
            await asyncio.to_thread(process.stop)
    # Every denied command, key or channel since the start.
    assert redis.command("ACL", "LOG") == b"*0"


async def test_the_documented_acl_rules_suffice_in_a_redis_cluster(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, replicas=False) as nodes:
        for server in nodes.servers:
            assert server.command("ACL", "SETUSER", *documented_rules()) == b"+OK"
        async with RedisEventLog(replace(nodes.options(), username="roomcast", password="hidden")) as log:
            sinks = {f"chat-{number}": Sink() for number in range(9)}
            for chat, sink in sinks.items():
                await log.subscribe(chat, sink)
                await publish(log, chat, "e1", 1)
                assert await sink.reached(1) == [1]
            assert await log.check() is None
        for server in nodes.servers:
            assert server.command("ACL", "LOG") == b"*0"


async def is_ready(gateway: Roomcast) -> dict[str, object] | None:
    async with httpx.AsyncClient() as http:
        body: dict[str, object] = (await http.get(f"{gateway.gateway_url}/ready")).json()
        return body if body.get("degraded") == [] else None
