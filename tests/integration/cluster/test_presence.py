"""Presence and typing over real gateways and a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.clients import ChatClient
from support.processes import Roomcast
from support.redis_server import RedisServer, environment

CHAT = "team"
LIMIT_S = 10.0


@pytest.fixture
def gateways(redis: RedisServer) -> Iterator[list[Roomcast]]:
    env = environment(redis)
    with Roomcast.gateway(env=env) as first, Roomcast.gateway(env=env) as second:
        yield [first, second]


class Person:
    """A client that keeps the picture that it is told."""

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        self.online: set[str] | None = None
        self.typing: list[tuple[str, bool]] = []
        self.told = 0

    async def step(self) -> None:
        name, data = await self.client.next_event(LIMIT_S)
        if name == "typing":
            assert data["chatId"] == CHAT
            self.typing.append((data["userId"], data["typing"]))
        elif name == "presence":
            assert data["chatId"] == CHAT
            self.told += 1
            known = set() if data["reset"] else self.online or set()
            self.online = (known | set(data["online"])) - set(data["offline"])

    async def until(self, online: set[str]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.online != online:
                await self.step()


async def person(stack: AsyncExitStack, gateway: Roomcast, user: str) -> Person:
    client = await stack.enter_async_context(ChatClient(gateway.gateway_url))
    assert (await client.call("join-user", user))["ok"] is True
    assert (await client.join(CHAT))["ok"] is True
    return Person(client)


async def test_who_is_here_is_known_on_every_gateway_and_a_redis_that_forgets_changes_nothing(
    redis: RedisServer, gateways: list[Roomcast]
) -> None:
    async with AsyncExitStack() as stack:
        ann = await person(stack, gateways[0], "ann")
        await ann.until({"ann"})
        ben = await person(stack, gateways[1], "ben")
        await ben.until({"ann", "ben"})
        await ann.until({"ann", "ben"})
        for _ in range(2):
            await person(stack, gateways[1], "ann")
        redis.command("FLUSHALL")
        async with ChatClient(gateways[1].gateway_url) as client:
            assert (await client.call("join-user", "cleo"))["ok"] is True
            assert (await client.join(CHAT))["ok"] is True
            for one in (ann, ben):
                await one.until({"ann", "ben", "cleo"})
        for one in (ann, ben):
            await one.until({"ann", "ben"})
            # Each change once: a picture, two or three arrivals, one departure.
            assert one.told <= 5


async def test_a_gateway_that_is_stopped_takes_its_users_along(gateways: list[Roomcast]) -> None:
    async with AsyncExitStack() as stack:
        ann = await person(stack, gateways[0], "ann")
        await person(stack, gateways[1], "ben")
        await ann.until({"ann", "ben"})
        await asyncio.to_thread(gateways[1].stop)
        await ann.until({"ann"})


async def test_typing_reaches_the_others_and_strangers_are_refused(gateways: list[Roomcast]) -> None:
    async with AsyncExitStack() as stack:
        ann, ben = await person(stack, gateways[0], "ann"), await person(stack, gateways[1], "ben")
        assert await ann.client.call("typing", CHAT) == {"ok": True, "chatId": CHAT}
        assert (await ann.client.call("typing", {"chatId": CHAT, "typing": False}))["ok"] is True
        async with asyncio.timeout(LIMIT_S):
            while len(ben.typing) < 2:
                await ben.step()
        assert ben.typing == [("ann", True), ("ann", False)]
        bad: list[Any] = [None, 1, {}, {"chatId": CHAT, "typing": "yes"}, {"chatId": ""}]
        codes = [(await ben.client.call("typing", payload))["error"]["code"] for payload in bad]
        assert codes == ["invalid"] * len(bad)
        assert (await ben.client.call("typing", "elsewhere"))["error"]["code"] == "forbidden"
        assert ann.typing == []
