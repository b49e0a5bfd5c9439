"""Several gateways over one Redis: real processes, real clients, one order for all, through kills."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from support.clients import ChatClient, get, send
from support.postgres_server import running as postgres
from support.processes import Roomcast
from support.redis_server import RedisServer, environment
from support.waiting import until

CHAT = "team"
LIMIT_S = 15.0


class Follower:
    """Follows a chat as the SDK does: drops repeats, and fetches events on a resync or a gap."""

    def __init__(self, client: ChatClient, api: Roomcast) -> None:
        self.client = client
        self.api = api
        self.contents: list[str] = []
        self.epoch = ""
        self.seq = 0

    async def join(self) -> dict[str, Any]:
        since = {"epoch": self.epoch, "seq": self.seq} if self.epoch else None
        ack = await self.client.join(CHAT, since=since)
        assert ack["ok"] is True, ack
        if ack.get("reset"):
            raise AssertionError("nothing was restored here")
        if not self.epoch:
            self.epoch, self.seq = ack["epoch"], ack["seq"]
        if not ack["recovered"]:
            await self.fetch()
        return ack

    async def fetch(self) -> None:
        while True:
            page = await get(f"{self.api.api_url}/api/chats/{CHAT}/events", after=self.seq, epoch=self.epoch)
            assert page["reset"] is False
            for event in page["events"]:
                self.apply(event["data"])
            if not page["more"]:
                return

    def apply(self, message: dict[str, Any]) -> None:
        if message["seq"] > self.seq:
            assert message["seq"] == self.seq + 1
            self.seq, self.epoch = message["seq"], message["epoch"]
            self.contents.append(message["content"])

    async def until(self, count: int) -> list[str]:
        """Follow until ``count`` messages were applied."""
        async with asyncio.timeout(LIMIT_S):
            while len(self.contents) < count:
                name, data = await self.client.next_event(LIMIT_S)
                if name == "resync" or (name == "new-msg" and data["seq"] > self.seq + 1):
                    await self.fetch()
                elif name == "new-msg":
                    self.apply(data)
        return self.contents


async def stored_contents(api: Roomcast) -> list[str]:
    page = await get(f"{api.api_url}/api/chats/{CHAT}/messages", limit=200)
    return [message["content"] for message in page["messages"]]


async def test_three_gateways_deliver_one_order_and_a_killed_one_loses_nothing(
    tmp_path: Path, redis: RedisServer
) -> None:
    with Roomcast.api(tmp_path / "data", env=environment(redis)) as api:
        env = environment(redis, API_URL=api.internal_url)
        with (
            Roomcast.gateway(env=env) as first,
            Roomcast.gateway(env=env) as second,
            Roomcast.gateway(env=env) as third,
        ):
            async with (
                ChatClient(first.gateway_url) as ann,
                ChatClient(second.gateway_url) as ben,
                ChatClient(third.gateway_url, transports=("polling",)) as cleo,
            ):
                followers = [Follower(client, api) for client in (ann, ben, cleo)]
                for follower in followers:
                    await follower.join()
                await asyncio.gather(*(send(api.api_url, CHAT, f"before {number}") for number in range(30)))
                for follower in followers:
                    await follower.until(30)
                first.kill()
                await asyncio.gather(*(send(api.api_url, CHAT, f"after {number}") for number in range(30)))
                async with ChatClient(third.gateway_url) as again:
                    followers[0].client = again
                    assert (await followers[0].join())["recovered"] is True
                    expected = await stored_contents(api)
                    assert len(expected) == 60
                    for follower in followers:
                        assert await follower.until(60) == expected


async def test_messages_sent_while_redis_is_down_are_delivered_afterwards(tmp_path: Path, redis: RedisServer) -> None:
    with Roomcast.api(tmp_path / "data", env=environment(redis)) as api:
        env = environment(redis, API_URL=api.internal_url)
        with Roomcast.gateway(env=env) as first, Roomcast.gateway(env=env) as second:
            async with ChatClient(first.gateway_url) as ann, ChatClient(second.gateway_url) as ben:
                followers = [Follower(ann, api), Follower(ben, api)]
                for follower in followers:
                    await follower.join()
                for number in range(10):
                    await send(api.api_url, CHAT, f"before {number}")
                redis.kill()
                for number in range(10):
                    await send(api.api_url, CHAT, f"without {number}")
                redis.start()
                for follower in followers:
                    assert await follower.until(20) == await stored_contents(api)
                await send(api.api_url, CHAT, "after")
                for follower in followers:
                    assert await follower.until(21) == await stored_contents(api)


async def test_a_flushed_redis_is_filled_again(tmp_path: Path, redis: RedisServer) -> None:
    with Roomcast.up(tmp_path / "data", env=environment(redis)) as server:
        async with ChatClient(server.gateway_url) as ann:
            follower = Follower(ann, server)
            await follower.join()
            for number in range(10):
                await send(server.api_url, CHAT, f"message {number}")
                if number == 4:
                    redis.command("FLUSHALL")
            assert await follower.until(10) == await stored_contents(server)


async def test_an_event_of_a_publisher_of_the_guide_reaches_each_member_once(
    tmp_path: Path, redis: RedisServer
) -> None:
    with Roomcast.gateway(env=environment(redis)) as first, Roomcast.gateway(env=environment(redis)) as second:
        async with ChatClient(first.gateway_url) as ann, ChatClient(second.gateway_url) as ben:
            for client in (ann, ben):
                assert (await client.join(CHAT))["ok"] is True
            event = {"type": "MESSAGE_CREATED", "chatId": CHAT, "userId": "u", "messageId": "m", "data": {"n": 1}}
            for malformed in (b"\x80\x04pickle", b"{", b"[]", b'{"type":"OTHER","chatId":"team","data":1}', b"\xff"):
                redis.command("PUBLISH", "chat:events", malformed)
            # PUBLISH returns the number of subscribers: wait until both gateways have subscribed.
            await until(lambda: redis.command("PUBLISH", "chat:events", json.dumps(event)) == b":2", step_s=0.05)
            for client in (ann, ben):
                while (await client.next_message())["n"] != 1:
                    pass
            seen = len(ann.messages()), len(ben.messages())
            last = {**event, "type": "AI_RESPONSE_GENERATED", "data": {"n": 2, "text": "再見"}}
            redis.command("PUBLISH", "chat:events", json.dumps(last))
            for client, before in zip((ann, ben), seen, strict=True):
                assert (await client.next_message())["n"] == 2
                assert len(client.messages()) == before + 1


async def test_the_ingress_of_the_guide_can_be_off(tmp_path: Path, redis: RedisServer) -> None:
    with Roomcast.gateway(env=environment(redis, ROOMCAST_INGRESS="off")):
        assert redis.command("PUBLISH", "chat:events", "{}") == b":0"


async def test_two_apis_on_postgresql_deliver_one_order(redis: RedisServer) -> None:
    with postgres() as database:
        env = environment(redis, DATABASE_URL=database.url(database.create_database()))
        with (
            Roomcast.api(None, env=env) as first,
            Roomcast.api(None, env=env) as second,
            Roomcast.gateway(env={**env, "API_URL": first.internal_url}) as here,
            Roomcast.gateway(env={**env, "API_URL": second.internal_url}) as there,
        ):
            async with ChatClient(here.gateway_url) as ann, ChatClient(there.gateway_url) as ben:
                followers = [Follower(ann, first), Follower(ben, second)]
                for follower in followers:
                    await follower.join()
                apis = (first, second)
                await asyncio.gather(*(send(apis[n % 2].api_url, CHAT, f"message {n}") for n in range(60)))
                expected = await stored_contents(first)
                assert sorted(expected) == sorted(f"message {n}" for n in range(60))
                for follower in followers:
                    assert await follower.until(60) == expected
                second.kill()
                await send(first.api_url, CHAT, "after")
                for follower in followers:
                    follower.api = first
                    assert (await follower.until(61))[-1] == "after"
