"""Expiry, sign-out and removal at the sockets of two gateways: a real API, Redis and SQLite."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.clients import ChatClient, send
from support.ports import free_port
from support.processes import Roomcast
from support.redis_server import RedisServer, running
from support.waiting import until

SECRET = "a secret of more than thirty-two bytes"
LIMIT_S = 5.0


def token(user_id: str, *, ttl_s: float = 300, service: bool = False) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=ttl_s, service=service)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Roomcast, Roomcast, Roomcast]]:
    """An API and two gateways. Clocks are those of one machine, so tokens have no leeway."""
    internal = free_port()
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as redis:
        env = {
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis.port),
            "ROOMCAST_RESPONDER": "none",
            "ROOMCAST_SECRET": SECRET,
            "ROOMCAST_TOKEN_LEEWAY_S": "0",
        }
        data = tmp_path_factory.mktemp("api") / "data"
        gateway_env = {**env, "API_URL": f"http://127.0.0.1:{internal}"}
        with (
            Roomcast.api(data, env={**env, "ROOMCAST_INTERNAL_PORT": str(internal)}) as api,
            Roomcast.gateway(env=gateway_env) as first,
            Roomcast.gateway(env=gateway_env) as second,
        ):
            yield api, first, second


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=pytest.mark.chaos)])
async def test_expiry_sign_out_and_removal_reach_every_socket_within_five_seconds(
    servers: tuple[Roomcast, Roomcast, Roomcast], count: int
) -> None:
    api, *gateways = servers
    chat, each = f"club-{count}", count // 4
    headers = {"Authorization": f"Bearer {token('backend', service=True)}"}
    groups = ("kept", "expired", "ended", "removed")
    users = {group: [f"{group}-{count}-{number}" for number in range(each)] for group in groups}
    async with httpx.AsyncClient(base_url=api.api_url, headers=headers, timeout=30) as http, AsyncExitStack() as stack:
        members = [user for group in users.values() for user in group]
        (await http.post("/api/chats", json={"id": chat, "members": ["ann"]})).raise_for_status()
        for start in range(0, count, 20):
            added = (http.put(f"/api/chats/{chat}/members/{user}") for user in members[start : start + 20])
            for answer in await asyncio.gather(*added):
                answer.raise_for_status()
        sockets: dict[str, list[ChatClient]] = {}
        lifetime_s = 4.0 + count / 20
        for group, names in users.items():
            ttl_s = lifetime_s if group in {"kept", "expired"} else 300.0
            clients = [
                ChatClient(gateways[number % 2].gateway_url, auth={"token": token(user, ttl_s=ttl_s)})
                for number, user in enumerate(names)
            ]
            sockets[group] = list(await asyncio.gather(*(stack.enter_async_context(client) for client in clients)))
        ends_at = time.time() + lifetime_s  # all tokens have expired by then
        every = [client for group in sockets.values() for client in group]
        assert all(ack["ok"] for ack in await asyncio.gather(*(client.join(chat) for client in every)))
        kept = zip(sockets["kept"], users["kept"], strict=True)
        acks = [client.call("auth-refresh", {"token": token(user)}) for client, user in kept]
        assert all(ack["ok"] and ack["expiresIn"] > 290 for ack in await asyncio.gather(*acks))

        # Sign-out, half of them by the user and half by a back end; and removal.
        for number, user in enumerate(users["ended"]):
            own = {"Authorization": f"Bearer {token(user)}"}
            path, body, sent = f"/api/users/{user}/logout", None, headers
            if number % 2:
                path, body, sent = "/api/logout", {"everywhere": True}, own
            (await http.post(path, json=body, headers=sent)).raise_for_status()
        await until(lambda: all(client.disconnected.is_set() for client in sockets["ended"]), limit_s=LIMIT_S)
        assert (await http.get("/api/chats", headers={"Authorization": f"Bearer {token('x')}"})).status_code == 200
        for user in users["removed"]:
            (await http.delete(f"/api/chats/{chat}/members/{user}")).raise_for_status()
        # Expiry.
        await asyncio.sleep(max(0.0, ends_at - time.time()))
        await until(lambda: all(client.disconnected.is_set() for client in sockets["expired"]), limit_s=LIMIT_S)

        for group in ("expired", "ended"):
            assert all("unauthorized" in str(client.received[-1]) for client in sockets[group])
        await send(api.api_url, chat, "after", token=token("ann"))
        for client in sockets["kept"]:
            await until(lambda client=client: [each["content"] for each in client.messages()] == ["after"])
            assert not client.disconnected.is_set()
        await asyncio.gather(*(client.call("ping") for client in sockets["removed"]))
        for group in ("expired", "ended", "removed"):
            assert [client.messages() for client in sockets[group]] == [[]] * each


async def test_an_ended_token_is_refused_by_every_process_and_signs_nobody_else_out(
    servers: tuple[Roomcast, Roomcast, Roomcast],
) -> None:
    api, first, second = servers
    one, other = token("zoe"), token("zoe", ttl_s=299)
    async with (
        httpx.AsyncClient(base_url=api.api_url) as http,
        ChatClient(first.gateway_url, auth={"token": one}) as here,
        ChatClient(second.gateway_url, auth={"token": other}) as there,
    ):
        answer = await http.post("/api/logout", json={}, headers={"Authorization": f"Bearer {one}"})
        assert answer.status_code == 204
        refused = await http.get("/api/me", headers={"Authorization": f"Bearer {one}"})
        assert (refused.status_code, "has ended" in refused.json()["detail"]) == (401, True)
        assert (await http.get("/api/me", headers={"Authorization": f"Bearer {other}"})).json()["userId"] == "zoe"
        await asyncio.wait_for(here.disconnected.wait(), LIMIT_S)
        assert await there.call("ping") == "pong"


@pytest.mark.parametrize("count", [24, pytest.param(200, marks=pytest.mark.chaos)])
async def test_a_ban_and_a_removal_reach_every_socket_of_two_gateways_within_five_seconds(
    servers: tuple[Roomcast, Roomcast, Roomcast], count: int
) -> None:
    api, *gateways = servers
    chat, groups = f"team-{count}", ("kept", "banned", "removed")
    users = [f"{groups[number % 3]}-{number}" for number in range(count)]
    headers = {"Authorization": f"Bearer {token('backend', service=True)}"}
    async with httpx.AsyncClient(base_url=api.api_url, headers=headers, timeout=30) as http, AsyncExitStack() as stack:
        (await http.post("/api/chats", json={"id": chat, "members": ["ann"]})).raise_for_status()
        for start in range(0, count, 20):
            added = (http.put(f"/api/chats/{chat}/members/{user}") for user in users[start : start + 20])
            for answer in await asyncio.gather(*added):
                answer.raise_for_status()
        clients = {
            user: ChatClient(gateways[number // 3 % 2].gateway_url, auth={"token": token(user)})
            for number, user in enumerate(users)
        }
        await asyncio.gather(*(stack.enter_async_context(client) for client in clients.values()))
        assert all(ack["ok"] for ack in await asyncio.gather(*(client.join(chat) for client in clients.values())))

        kept = [client for user, client in clients.items() if user.startswith("kept")]
        gone = {user: client for user, client in clients.items() if not user.startswith("kept")}
        few = asyncio.Semaphore(20)

        async def end(user: str, client: ChatClient) -> None:
            """End the membership; the socket leaves the room, where it could send typing, in time."""
            banned = user.startswith("banned")
            path = f"/api/chats/{chat}/{'bans' if banned else 'members'}/{user}"
            async with few:
                (await (http.put(path) if banned else http.delete(path))).raise_for_status()
            await until(lambda: refuses_typing(client, chat), limit_s=LIMIT_S)

        await asyncio.gather(*(end(user, client) for user, client in gone.items()))
        before = {user: len(client.received) for user, client in gone.items()}
        await send(api.api_url, chat, "after", token=token("ann"))
        await kept[0].call("typing", {"chatId": chat, "typing": True})
        for client in kept:
            await until(lambda client=client: [each["content"] for each in client.messages()] == ["after"])
        await until(lambda: any(name == "typing" for name, _ in kept[1].received))
        refused = await asyncio.gather(*(client.join(chat) for client in gone.values()))
        assert {ack["error"]["code"] for ack in refused} == {"forbidden"}
        later = [name for user, client in gone.items() for name, _ in client.received[before[user] :]]
        assert set(later) == {"ack:join-chat"}


async def test_the_typing_of_a_muted_member_and_of_a_reader_reaches_nobody(
    servers: tuple[Roomcast, Roomcast, Roomcast],
) -> None:
    api, first, second = servers
    headers = {"Authorization": f"Bearer {token('backend', service=True)}"}
    async with (
        httpx.AsyncClient(base_url=api.api_url, headers=headers) as http,
        ChatClient(first.gateway_url, auth={"token": token("ann")}) as ann,
        ChatClient(second.gateway_url, auth={"token": token("ben")}) as ben,
    ):
        (await http.post("/api/chats", json={"id": "quiet", "members": ["ann", "ben"]})).raise_for_status()
        (await http.patch("/api/chats/quiet/members/ben", json={"role": "reader"})).raise_for_status()
        assert (await ann.join("quiet"))["ok"]
        assert (await ben.join("quiet"))["ok"]

        def shown() -> int:
            return sum(name == "typing" and data["typing"] for name, data in ann.received)

        assert await refuses_typing(ben, "quiet")
        for change, allowed in (({"role": "member"}, True), ({"mutedFor": 600}, False), ({"mutedFor": 0}, True)):
            (await http.patch("/api/chats/quiet/members/ben", json=change)).raise_for_status()
            before = shown()
            if allowed:
                await until(lambda before=before: types(ben, "quiet", shown, before), limit_s=LIMIT_S)
            else:
                await until(lambda: refuses_typing(ben, "quiet"), limit_s=LIMIT_S)
                before = shown()
                assert await refuses_typing(ben, "quiet")
                await ann.call("ping")
                assert shown() == before


async def refuses_typing(client: ChatClient, chat: str) -> bool:
    """Whether the gateway refuses typing in a chat, for another reason than its rate limit."""
    ack = await client.call("typing", {"chatId": chat, "typing": True})
    return bool(ack.get("error", {}).get("code") == "forbidden")


async def types(client: ChatClient, chat: str, shown: Callable[[], int], before: int) -> bool:
    """Begin to type anew, and return whether that is shown more often than before."""
    for typing in (False, True):
        await client.call("typing", {"chatId": chat, "typing": typing})
    return shown() > before
