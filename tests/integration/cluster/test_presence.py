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


class PresenceClient:
    """A client that applies presence and typing events."""

    def __init__(self, client: ChatClient) -> None:
        self.client = client
        self.online: set[str] | None = None
        self.typing: list[tuple[str, bool]] = []
        self.presence_events = 0

    async def step(self) -> None:
        name, data = await self.client.next_event(LIMIT_S)
        if name == "typing":
            assert data["chatId"] == CHAT
            self.typing.append((data["userId"], data["typing"]))
        elif name == "presence":
            assert data["chatId"] == CHAT
            self.presence_events += 1
            known = set() if data["reset"] else self.online or set()
            self.online = (known | set(data["online"])) - set(data["offline"])

    async def until(self, online: set[str]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while self.online != online:
                await self.step()


async def join_as(stack: AsyncExitStack, gateway: Roomcast, user: str) -> PresenceClient:
    client = await stack.enter_async_context(ChatClient(gateway.gateway_url))
    assert (await client.call("join-user", user))["ok"] is True
    assert (await client.join(CHAT))["ok"] is True
    return PresenceClient(client)


async def test_every_gateway_has_the_same_presence_also_after_redis_lost_its_data(
    redis: RedisServer, gateways: list[Roomcast]
) -> None:
    async with AsyncExitStack() as stack:
        ann = await join_as(stack, gateways[0], "ann")
        await ann.until({"ann"})
        ben = await join_as(stack, gateways[1], "ben")
        await ben.until({"ann", "ben"})
        await ann.until({"ann", "ben"})
        for _ in range(2):
            await join_as(stack, gateways[1], "ann")
        redis.command("FLUSHALL")
        async with ChatClient(gateways[1].gateway_url) as client:
            assert (await client.call("join-user", "cleo"))["ok"] is True
            assert (await client.join(CHAT))["ok"] is True
            for one in (ann, ben):
                await one.until({"ann", "ben", "cleo"})
        for one in (ann, ben):
            await one.until({"ann", "ben"})
            # Each change once: a snapshot, two or three joins, one leave.
            assert one.presence_events <= 5


async def test_the_users_of_a_stopped_gateway_leave(gateways: list[Roomcast]) -> None:
    async with AsyncExitStack() as stack:
        ann = await join_as(stack, gateways[0], "ann")
        await join_as(stack, gateways[1], "ben")
        await ann.until({"ann", "ben"})
        await asyncio.to_thread(gateways[1].stop)
        await ann.until({"ann"})


async def test_typing_reaches_the_other_members_and_is_rejected_outside_the_chat(gateways: list[Roomcast]) -> None:
    async with AsyncExitStack() as stack:
        ann, ben = await join_as(stack, gateways[0], "ann"), await join_as(stack, gateways[1], "ben")
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
