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

from roomcast.auth.tokens import AuthOptions, TokenIssuer
from support.clients import ChatClient, send
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


class Team:
    """An API, two gateways, and devices that follow no chat: they did ``join-user`` and nothing else."""

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

    async def ask(self, method: str, path: str, user_id: str, **body: Any) -> None:
        headers = {"Authorization": f"Bearer {token(user_id)}"}
        answer = await self._http.request(method, path, headers=headers, json=body or None)
        answer.raise_for_status()

    async def create(self, chat_id: str, *members: str, devices: Sequence[ChatClient] = ()) -> None:
        """A chat whose making these devices, its members' all, have heard of: what comes next is news."""
        await self.ask("POST", "/api/chats", members[0], id=chat_id, members=list(members[1:]))
        for device in devices:
            await told(device, chat_id, len(members))

    async def say(self, chat_id: str, user_id: str, content: str = "hello") -> int:
        return int((await send(self.api.api_url, chat_id, content, token=token(user_id)))["seq"])

    async def burst(self, chat_id: str, user_id: str, count: int) -> int:
        """Many messages at once; the chat's last seq."""
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
        env |= {"API_URL": api.api_url}
        with Roomcast.gateway(env=env) as one, Roomcast.gateway(env=env) as two:
            yield api, (one, two)


@pytest.fixture
async def team(services: tuple[Roomcast, tuple[Roomcast, Roomcast]]) -> AsyncIterator[Team]:
    async with AsyncExitStack() as stack:
        yield Team(*services, stack)


async def told(client: ChatClient, chat_id: str, seq: int) -> list[int]:
    """The seqs that a device is told of until it hears of this one; nothing else may come."""
    seqs: list[int] = []
    while not seqs or seqs[-1] < seq:
        name, activity = await client.next_event(LIMIT_S)
        assert (name, activity["chatId"]) == ("chat-activity", chat_id), (name, activity)
        seqs.append(activity["seq"])
    return seqs


async def test_each_device_of_each_member_is_told_once_on_whichever_gateway_and_nobody_else(team: Team) -> None:
    members = [await team.device(user_id, gateway) for user_id in ("ann", "bob") for gateway in (0, 1)]
    eve = await team.device("eve", 1)
    await team.create("a-team", "ann", "bob", devices=members)
    await team.create("eves", "eve", devices=[eve])
    seq = await team.say("a-team", "ann")
    for device in members:
        name, activity = await device.next_event(LIMIT_S)
        assert name == "chat-activity"
        assert activity.items() >= {"chatId": "a-team", "seq": seq, "userId": "ann"}.items()
        assert set(activity) == {"chatId", "epoch", "seq", "userId", "time"}
    # What came to the members before this came to both gateways.
    assert await told(eve, "eves", await team.say("eves", "eve")) == [2]
    # Each was told once: the next that comes is the next message.
    seq = await team.say("a-team", "bob")
    for device in members:
        assert await told(device, "a-team", seq) == [seq]


async def test_a_new_member_is_told_and_a_removed_one_is_not(team: Team) -> None:
    ann, bob = await team.device("ann", 0), await team.device("bob", 1)
    await team.create("b-team", "ann", devices=[ann])
    await team.create("bobs", "bob", devices=[bob])
    await team.ask("PUT", "/api/chats/b-team/members/bob", "ann")
    assert await told(bob, "b-team", 2) == [2]
    await told(ann, "b-team", 2)
    await team.ask("DELETE", "/api/chats/b-team/members/bob", "ann")
    await told(ann, "b-team", await team.say("b-team", "ann"))
    assert await told(bob, "bobs", await team.say("bobs", "bob")) == [2]


async def test_a_burst_is_told_in_few_announcements_and_the_last_one_tells_the_end(team: Team) -> None:
    await team.create("c-team", "ann", "bob")
    device = await team.device("bob", 1)
    began = time.monotonic()
    last = await team.burst("c-team", "ann", 200)
    seqs = await told(device, "c-team", last)
    took_s = time.monotonic() - began
    assert last == 202
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == last
    assert len(seqs) <= took_s + 2


async def test_sends_go_on_while_redis_is_away_and_news_after_it_are_told(team: Team, redis: RedisServer) -> None:
    await team.create("d-team", "ann")
    device = await team.device("ann", 0)
    redis.kill()
    try:
        began = time.monotonic()
        for _ in range(5):
            await team.say("d-team", "ann")
        assert time.monotonic() - began < 2.0  # less than one command to Redis may take
    finally:
        redis.start()
    async with asyncio.timeout(LIMIT_S):
        while not any(name == "chat-activity" and data["seq"] > 6 for name, data in device.received):
            await team.say("d-team", "ann")
            await asyncio.sleep(0.5)  # both sides come back in their own time; nothing tells of it


async def test_everything_in_one_process_tells_the_users_of_other_gateways_too(
    tmp_path: Path, redis: RedisServer
) -> None:
    env = environment(redis)
    async with AsyncExitStack() as stack:
        up = stack.enter_context(Roomcast.up(tmp_path / "data", env=env))
        other = stack.enter_context(Roomcast.gateway(env=env | {"API_URL": up.api_url}))
        team = Team(up, (up, other), stack)
        devices = [await team.device(user_id, gateway) for user_id in ("ann", "bob") for gateway in (0, 1)]
        await team.create("e-team", "ann", "bob", devices=devices)
        for _ in range(2):
            seq = await team.say("e-team", "ann")
            for device in devices:
                assert await told(device, "e-team", seq) == [seq]
