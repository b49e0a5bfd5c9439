"""``chat-activity`` across processes: an API and two gateways over a real Redis, with authentication on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.clients import ChatClient, send
from support.ports import free_port
from support.processes import Roomcast
from support.redis_server import RedisServer, running

SECRET = "a secret of more than thirty-two bytes"
LIMIT_S = 15.0


def token(user_id: str, *, service: bool = False) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=300, service=service)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


def environment(redis: RedisServer) -> dict[str, str]:
    return {
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(redis.port),
        "ROOMCAST_RESPONDER": "none",
        "ROOMCAST_SECRET": SECRET,
    }


class Deployment:
    """An API, two gateways, and clients that sent ``join-user`` and join no chat."""

    def __init__(self, api: Roomcast, gateways: tuple[Roomcast, Roomcast], stack: AsyncExitStack) -> None:
        self.api = api
        self._gateways = gateways
        self._stack = stack
        self._http = httpx.AsyncClient(base_url=api.api_url, timeout=LIMIT_S)
        stack.push_async_callback(self._http.aclose)

    async def device(self, user_id: str, gateway: int) -> ChatClient:
        client = ChatClient(self._gateways[gateway].gateway_url, auth={"token": token(user_id)})
        await self._stack.enter_async_context(client)
        assert (await client.call("join-user", user_id))["ok"] is True
        return client

    async def ask(self, method: str, path: str, user_id: str, *, service: bool = False, **body: Any) -> None:
        headers = {"Authorization": f"Bearer {token(user_id, service=service)}"}
        answer = await self._http.request(method, path, headers=headers, json=body or None)
        answer.raise_for_status()

    async def create(self, chat_id: str, *members: str, devices: Sequence[ChatClient] = ()) -> None:
        """Create a chat, and wait until these devices of its members have received its last initial activity."""
        await self.ask("POST", "/api/chats", "backend", service=True, id=chat_id, members=members)
        for device in devices:
            await activities_until(device, chat_id, len(members))

    async def say(self, chat_id: str, user_id: str, content: str = "hello") -> int:
        return int((await send(self.api.api_url, chat_id, content, token=token(user_id)))["seq"])

    async def burst(self, chat_id: str, user_id: str, count: int) -> int:
        """Send many messages at once; the last seq of the chat."""
        headers = {"Authorization": f"Bearer {token(user_id)}"}

        async def one(number: int) -> int:
            body = {"chatId": chat_id, "role": "USER", "content": f"message {number}"}
            answer = await self._http.post("/api/chat/messages", headers=headers, json=body)
            answer.raise_for_status()
            return int(answer.json()["seq"])

        return max(await asyncio.gather(*(one(number) for number in range(count))))


@pytest.fixture(scope="module")
def services(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer
) -> Iterator[tuple[Roomcast, tuple[Roomcast, Roomcast]]]:
    env = environment(redis)
    with Roomcast.api(tmp_path_factory.mktemp("data"), env=env) as api:
        env |= {"API_URL": api.internal_url}
        with Roomcast.gateway(env=env) as one, Roomcast.gateway(env=env) as two:
            yield api, (one, two)


@pytest.fixture
async def deployment(services: tuple[Roomcast, tuple[Roomcast, Roomcast]]) -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        yield Deployment(*services, stack)


async def activities_until(client: ChatClient, chat_id: str, seq: int) -> list[int]:
    """Receive ``chat-activity`` of one chat up to this seq, and nothing else; the received seqs."""
    seqs: list[int] = []
    while not seqs or seqs[-1] < seq:
        name, activity = await client.next_event(LIMIT_S)
        assert (name, activity["chatId"]) == ("chat-activity", chat_id), (name, activity)
        seqs.append(activity["seq"])
    return seqs


async def test_each_device_of_each_member_is_notified_once_on_every_gateway_and_no_other_device(
    deployment: Deployment,
) -> None:
    members = [await deployment.device(user_id, gateway) for user_id in ("ann", "bob") for gateway in (0, 1)]
    eve = await deployment.device("eve", 1)
    await deployment.create("a-team", "ann", "bob", devices=members)
    await deployment.create("eves", "eve", devices=[eve])
    seq = await deployment.say("a-team", "ann")
    for device in members:
        name, activity = await device.next_event(LIMIT_S)
        assert name == "chat-activity"
        assert activity.items() >= {"chatId": "a-team", "seq": seq, "userId": "ann"}.items()
        assert set(activity) == {"chatId", "epoch", "seq", "userId", "time", "lastMessage"}
        assert activity["lastMessage"].items() >= {"seq": seq, "userId": "ann"}.items()
    # The other user receives the activity of her own chat only.
    assert await activities_until(eve, "eves", await deployment.say("eves", "eve")) == [2]
    # Each was notified once: the next event is that of the next message.
    seq = await deployment.say("a-team", "bob")
    for device in members:
        assert await activities_until(device, "a-team", seq) == [seq]


async def test_a_new_member_is_notified_and_a_removed_one_is_not(deployment: Deployment) -> None:
    ann, bob = await deployment.device("ann", 0), await deployment.device("bob", 1)
    await deployment.create("b-team", "ann", devices=[ann])
    await deployment.create("bobs", "bob", devices=[bob])
    await deployment.ask("PUT", "/api/chats/b-team/members/bob", "ann")
    assert await activities_until(bob, "b-team", 2) == [2]
    await activities_until(ann, "b-team", 2)
    await deployment.ask("DELETE", "/api/chats/b-team/members/bob", "ann")
    await activities_until(ann, "b-team", await deployment.say("b-team", "ann"))
    assert await activities_until(bob, "bobs", await deployment.say("bobs", "bob")) == [2]


async def test_a_burst_causes_few_notifications_and_the_last_one_has_the_last_seq(deployment: Deployment) -> None:
    await deployment.create("c-team", "ann", "bob")
    device = await deployment.device("bob", 1)
    began = time.monotonic()
    last = await deployment.burst("c-team", "ann", 200)
    seqs = await activities_until(device, "c-team", last)
    took_s = time.monotonic() - began
    assert last == 202
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == last
    assert len(seqs) <= took_s + 2


async def test_sends_succeed_while_redis_is_down_and_later_activity_is_notified(
    deployment: Deployment, redis: RedisServer
) -> None:
    await deployment.create("d-team", "ann")
    device = await deployment.device("ann", 0)
    redis.kill()
    try:
        began = time.monotonic()
        for _ in range(5):
            await deployment.say("d-team", "ann")
        assert time.monotonic() - began < 2.0  # less than the time limit of one Redis command
    finally:
        redis.start()
    async with asyncio.timeout(LIMIT_S):
        while not any(name == "chat-activity" and data["seq"] > 6 for name, data in device.received):
            await deployment.say("d-team", "ann")
            await asyncio.sleep(0.5)  # API and gateway reconnect independently, without an event to wait for


async def test_one_process_with_everything_notifies_the_users_of_other_gateways(
    tmp_path: Path, redis: RedisServer
) -> None:
    env = environment(redis)
    async with AsyncExitStack() as stack:
        internal = {"ROOMCAST_INTERNAL_PORT": str(free_port())}
        up = stack.enter_context(Roomcast.up(tmp_path / "data", env=env | internal))
        other = stack.enter_context(Roomcast.gateway(env=env | {"API_URL": up.internal_url}))
        deployment = Deployment(up, (up, other), stack)
        devices = [await deployment.device(user_id, gateway) for user_id in ("ann", "bob") for gateway in (0, 1)]
        await deployment.create("e-team", "ann", "bob", devices=devices)
        for _ in range(2):
            seq = await deployment.say("e-team", "ann")
            for device in devices:
                assert await activities_until(device, "e-team", seq) == [seq]
