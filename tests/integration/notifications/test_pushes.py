"""Web Push with real processes, a real database and a push service that decrypts."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from roomcast.push.vapid import new_key
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.push_service import Device, PushService, Received, push_service
from support.redis_server import RedisServer

SECRET = "a secret of more than thirty-two bytes"
#: Long enough for a device that is reading, short enough for a test.
ENV = {
    "ROOMCAST_SECRET": SECRET,
    "ROOMCAST_RESPONDER": "none",
    "ROOMCAST_VAPID_SUBJECT": "mailto:ops@example.com",
    "ROOMCAST_PUSH_NETWORKS": "127.0.0.0/8",
    "ROOMCAST_PUSH_DELAY_S": "0.5",
}
LIMIT_S = 20.0


def client_of(server: Roomcast, user_id: str, tenant: str = "") -> httpx.AsyncClient:
    issuer = TokenIssuer(AuthOptions(SECRET))
    qualified = f"{tenant}\x1f{user_id}" if tenant else user_id
    token = issuer.issue(qualified, ttl_s=600, service=user_id == "crm")
    return httpx.AsyncClient(base_url=server.api_url, headers={"Authorization": f"Bearer {token}"}, timeout=20)


class People:
    """Clients of users, and their devices."""

    def __init__(self, service: PushService, servers: list[Roomcast]) -> None:
        self.service = service
        self.servers = servers
        self._clients: dict[tuple[str, str], httpx.AsyncClient] = {}
        self._turn = 0
        # A chat for markers: tests share servers.
        self.begin = secrets.token_hex(4)

    def __call__(self, user_id: str, tenant: str = "") -> httpx.AsyncClient:
        if (user_id, tenant) not in self._clients:
            # Users are spread over the processes.
            self._turn += 1
            self._clients[user_id, tenant] = client_of(self.servers[self._turn % len(self.servers)], user_id, tenant)
        return self._clients[user_id, tenant]

    async def chat(self, chat_id: str, *members: str, tenant: str = "", title: str | None = None) -> None:
        body = {"id": chat_id, "members": members, "title": title}
        (await self("crm", tenant).post("/api/chats", json=body)).raise_for_status()

    async def device(self, user_id: str, tenant: str = "") -> Device:
        device = self.service.device()
        answer = await self(user_id, tenant).put("/api/push/devices", json=device.subscription())
        answer.raise_for_status()
        return device

    async def say(self, user_id: str, chat_id: str, content: str, tenant: str = "") -> dict[str, Any]:
        body = {"chatId": chat_id, "role": "USER", "content": content}
        answer = await self(user_id, tenant).post("/api/chat/messages", json=body)
        sent: dict[str, Any] = answer.raise_for_status().json()
        return sent

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()


@asynccontextmanager
async def people_at(*servers: Roomcast) -> AsyncIterator[People]:
    async with push_service() as service:
        people = People(service, list(servers))
        # The cursor begins behind the events that exist when the first device is added.
        await people.chat(people.begin, people.begin, "zero")
        await people.device(people.begin)
        await begun(people)
        try:
            yield people
        finally:
            await people.close()


async def begun(people: People) -> None:
    """Wait until pushes are sent."""
    for _ in range(20):
        await people.say("zero", people.begin, "begin")
        try:
            async with asyncio.timeout(2):
                await people.service.received.get()
        except TimeoutError:
            continue
        await pushed(people)
        return
    pytest.fail("no push is sent")


async def pushed(people: People) -> list[Received]:
    """What devices receive of the messages so far.

    The pushes of one batch of events are sent side by side, so those of a message may arrive after those of a later
    one. At the second marker, those of the batch of the first one have arrived.
    """
    found = []
    async with asyncio.timeout(LIMIT_S):
        for _ in range(2):
            marker = await people.say("zero", people.begin, "marker")
            while True:
                push = await people.service.received.get()
                if push.payload["chatId"] != people.begin:
                    found.append(push)
                elif push.payload["seq"] >= marker["seq"]:
                    break
    return found


async def until(people: People, matches: Callable[[Received], bool]) -> Received:
    """The next push that matches."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            push = await people.service.received.get()
            if matches(push):
                return push


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roomcast]:
    with Roomcast.up(tmp_path_factory.mktemp("pushes") / "data", env=ENV) as running:
        yield running


async def test_a_message_is_pushed_to_the_devices_of_members_that_do_not_see_it(server: Roomcast) -> None:
    async with people_at(server) as people:
        await people.chat("c", "ann", "bob", "cid", "dan", title="Team 隊")
        ann, bob = [await people.device("ann"), await people.device("ann")], await people.device("bob")
        reading = await people.device("cid")
        await people.device("eve")
        sent = await people.say("bob", "c", "Hello   @ann,\nlook")
        # On any device: the cursor is the user's.
        (await people("cid").put("/api/chats/c/read", json={"seq": sent["seq"]})).raise_for_status()
        found = await pushed(people)
        assert {push.device.endpoint for push in found} == {device.endpoint for device in ann}
        assert bob.endpoint != reading.endpoint
        for push in found:
            assert push.payload == {
                "chatId": "c",
                "title": "Team 隊",
                "direct": False,
                "role": "USER",
                "userId": "bob",
                "text": "Hello @ann, look",
                "mentioned": True,
                "seq": sent["seq"],
            }
            assert (push.headers["Urgency"], push.headers["TTL"]) == ("high", "86400")
        await people.say("ann", "c", "no mention")
        ((one,),) = ([push for push in await pushed(people) if push.device is bob],)
        assert one.headers["Urgency"] == "normal"


async def test_preferences_mutes_deletions_and_the_end_of_a_membership_are_respected(server: Roomcast) -> None:
    async with people_at(server) as people:
        names = ("all", "mentions", "none", "muted", "gone", "banned", "out")
        await people.chat("p", "bob", *names)
        devices = {name: await people.device(name) for name in names}
        path = "/api/chats/p/notifications"
        await people("mentions").put("/api/notifications", json={"level": "mentions"})
        await people("none").patch(path, json={"level": "none"})
        await people("muted").patch(path, json={"mutedFor": 60})
        of = {id(device): name for name, device in devices.items()}
        await people.say("bob", "p", "for all, and gone leaves before it is pushed")
        await people("gone").delete("/api/chats/p/members/gone")
        await people("crm").put("/api/chats/p/bans/banned")
        await people("out").delete("/api/push/devices", params={"endpoint": devices["out"].endpoint})
        assert sorted(of[id(push.device)] for push in await pushed(people)) == ["all"]
        await people("muted").patch(path, json={"mutedFor": 0})
        await people.say("bob", "p", "@mentions @none")
        assert sorted(of[id(push.device)] for push in await pushed(people)) == ["all", "mentions", "muted"]
        deleted = await people.say("bob", "p", "a secret @mentions")
        await people("bob").delete(f"/api/chats/p/messages/{deleted['id']}")
        assert await pushed(people) == []


async def test_a_device_that_is_gone_is_deleted_and_a_failure_is_repeated(server: Roomcast) -> None:
    async with people_at(server) as people:
        await people.chat("g", "ann", "bob")
        await people.device("ann")
        service = people.service
        service.answers = [503, 429]
        await people.say("bob", "g", "in the end")
        push = await until(people, lambda push: push.payload["chatId"] == "g")
        assert push.payload["text"] == "in the end"
        service.answers = [410]
        before = service.requests
        await people.say("bob", "g", "gone")
        async with asyncio.timeout(LIMIT_S):
            while service.answers:
                service.asked.clear()
                await service.asked.wait()
        assert service.requests == before + 1
        await people.say("bob", "g", "to no device")
        assert await pushed(people) == []


async def test_a_push_service_that_does_not_answer_delays_no_other(server: Roomcast) -> None:
    async with people_at(server) as people, push_service() as dead:
        dead.silent = True
        await people.chat("d", "ann", "bob", "cid")
        for _ in range(6):
            answer = await people("ann").put("/api/push/devices", json=dead.device().subscription())
            answer.raise_for_status()
        cid = await people.device("cid")
        for number in range(3):
            await people.say("bob", "d", f"message {number}")
            found = await pushed(people)
            assert [push.payload["text"] for push in found if push.device is cid] == [f"message {number}"]
        # A few requests at a time, all of which wait.
        assert dead.requests == 4


async def test_two_processes_push_each_message_once(postgres: PostgresServer, redis: RedisServer) -> None:
    url = postgres.url(postgres.create_database())
    env = {**ENV, "DATABASE_URL": url, "REDIS_URL": f"redis://127.0.0.1:{redis.port}", "ROOMCAST_VAPID_KEY": new_key()}
    with Roomcast.api(None, env=env) as first, Roomcast.api(None, env=env) as second:
        async with people_at(first, second) as people:
            await asyncio.gather(*(people.chat(f"t{number}", "ann", "bob", "cid") for number in range(5)))
            devices = [await people.device(user) for user in ("ann", "ann", "cid")]
            for number in range(6):
                chats = [f"t{chat}" for chat in range(5)]
                await asyncio.gather(*(people.say("bob", chat, f"{number}") for chat in chats))
                found = await pushed(people)
                keys = [(push.device.endpoint, push.payload["chatId"], push.payload["seq"]) for push in found]
                assert len(set(keys)) == len(keys)
                assert {key[:2] for key in keys} == {(one.endpoint, chat) for one in devices for chat in chats}


async def test_a_user_with_the_same_name_in_another_tenant_receives_nothing(server: Roomcast) -> None:
    async with people_at(server) as people:
        for tenant in ("", "acme"):
            await people.chat("same", "ann", "bob", tenant=tenant)
        plain, acme = await people.device("ann"), await people.device("ann", "acme")
        await people.say("bob", "same", "for acme", tenant="acme")
        (push,) = await pushed(people)
        assert (push.device.endpoint, push.payload["userId"]) == (acme.endpoint, "bob")
        assert plain.endpoint != acme.endpoint
        assert "acme\x1f" not in json.dumps(push.payload)
