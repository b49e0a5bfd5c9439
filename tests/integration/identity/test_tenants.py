"""Two tenants that use the same ids, at a real `roomcast up`, and at an API with a gateway over Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from roomcast.auth.options import AuthOptions
from roomcast.auth.scopes import ServiceScope
from roomcast.auth.tokens import TokenIssuer
from roomcast.contract.tenants import qualify
from support.clients import ChatClient
from support.ports import free_port
from support.processes import Roomcast
from support.redis_server import RedisServer, running
from support.waiting import until

SECRET = "a secret of more than thirty-two bytes"
TENANTS = ("", "acme", "umbrella")
ENV = {"ROOMCAST_RESPONDER": "demo", "ROOMCAST_SECRET": SECRET, "ROOMCAST_TOKEN_LEEWAY_S": "0"}


def token(tenant: str, user_id: str, **options: Any) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(qualify(tenant, user_id), ttl_s=300, **options)


def headers(tenant: str, user_id: str, **options: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(tenant, user_id, **options)}"}


@pytest.fixture(scope="module", params=["up", "redis"])
def servers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, str]]:
    """The URLs of the API, of a gateway, and of the internal address."""
    data = tmp_path_factory.mktemp("data") / "data"
    internal = free_port()
    internal_env = {"ROOMCAST_INTERNAL_PORT": str(internal)}
    if request.param == "up":
        with Roomcast.up(data, env=ENV) as server:
            yield server.api_url, server.gateway_url, ""
        return
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as redis:
        env = {**ENV, "REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(redis.port)}
        with (
            Roomcast.api(data, env={**env, **internal_env}) as api,
            Roomcast.gateway(env={**env, "API_URL": f"http://127.0.0.1:{internal}"}) as gateway,
        ):
            yield api.api_url, gateway.gateway_url, f"http://127.0.0.1:{internal}"


async def check_removal(http: httpx.AsyncClient, clients: dict[tuple[str, str], ChatClient]) -> None:
    """A removal reaches the sockets of its tenant only."""
    removed = await http.delete("/api/chats/team/members/bob", headers=headers("acme", "ann"))
    assert removed.status_code == 204
    for tenant in TENANTS:
        body = {"chatId": "team", "role": "USER", "content": f"later {tenant}"}
        (await http.post("/api/chat/messages", json=body, headers=headers(tenant, "ann"))).raise_for_status()
    for (tenant, user), client in clients.items():
        if (tenant, user) != ("acme", "bob"):
            await until(lambda c=client, t=tenant: any(m["content"] == f"later {t}" for m in c.messages()), limit_s=10)
    assert not any(m["content"] == "later acme" for m in clients["acme", "bob"].messages())


async def test_tenants_share_ids_and_see_nothing_of_each_other(servers: tuple[str, str, str]) -> None:
    api, gateway, _ = servers
    async with httpx.AsyncClient(base_url=api, timeout=30) as http:
        for tenant in TENANTS:
            body = {"id": "team", "members": ["ann", "bob"]}
            created = await http.post("/api/chats", json=body, headers=headers(tenant, "backend", service=True))
            assert created.status_code == 201
            assert created.json()["id"] == "team"
        clients = {
            (tenant, user): ChatClient(gateway, auth={"token": token(tenant, user)})
            for tenant in TENANTS
            for user in ("ann", "bob")
        }
        for client in clients.values():
            await client.__aenter__()
        try:
            for (_, user), client in clients.items():
                assert (await client.call("join-user", user))["userId"] == user
                assert (await client.join("team"))["chatId"] == "team"
            for tenant in TENANTS:
                body = {"chatId": "team", "role": "USER", "content": f"hello {tenant} @ai"}
                sent = await http.post("/api/chat/messages", json=body, headers=headers(tenant, "ann"))
                assert sent.status_code == 201
                assert (sent.json()["chatId"], sent.json()["userId"]) == ("team", "ann")
                assert (await clients[tenant, "ann"].call("typing", {"chatId": "team", "typing": True}))["ok"]

            def answered() -> bool:
                return all(any(m["role"] == "AI" for m in client.messages()) for client in clients.values())

            await until(answered, limit_s=30)
            await until(
                lambda: all(any(n == "chat-activity" for n, _ in client.received) for client in clients.values()),
                limit_s=10,
            )
            for (tenant, user), client in clients.items():
                assert any(name == "typing" for name, _ in client.received) is (user == "bob")
                texts = [message["content"] for message in client.messages() if message["role"] == "USER"]
                assert texts == [f"hello {tenant} @ai"]
                boards = [data for name, data in client.received if name == "presence"]
                assert {online for data in boards for online in data["online"]} == {"ann", "bob"}
                assert "\\u001f" not in json.dumps(client.received)
            await check_removal(http, clients)
            # The end of a user's sessions closes the sockets of its tenant only.
            ended = await http.post("/api/users/bob/logout", headers=headers("umbrella", "backend", service=True))
            assert ended.status_code == 204
            await asyncio.wait_for(clients["umbrella", "bob"].disconnected.wait(), 10)
            assert not clients["", "bob"].disconnected.is_set()
            assert not clients["acme", "bob"].disconnected.is_set()
            mine = await http.get("/api/me", headers=headers("acme", "ann"))
            assert mine.json()["userId"] == "ann"
        finally:
            for client in clients.values():
                await client.__aexit__(None, None, None)


async def test_no_caller_reaches_a_chat_of_another_tenant(servers: tuple[str, str, str]) -> None:
    api, gateway, _ = servers
    async with httpx.AsyncClient(base_url=api, timeout=30) as http:
        service = headers("acme", "backend", service=True)
        (await http.post("/api/chats", json={"id": "secret", "members": ["ann"]}, headers=service)).raise_for_status()
        for tenant in ("", "umbrella"):
            for caller in (headers(tenant, "ann"), headers(tenant, "backend", service=True)):
                for path in ("", "/messages", "/events", "/members", "/pins"):
                    assert (await http.get(f"/api/chats/secret{path}", headers=caller)).status_code == 404, path
                    forged = f"/api/chats/acme%1Fsecret{path}"
                    assert (await http.get(forged, headers=caller)).status_code == 422
                body = {"chatId": "secret", "role": "USER", "content": "hello"}
                assert (await http.post("/api/chat/messages", json=body, headers=caller)).status_code == 404
                listed = (await http.get("/api/chats?limit=200", headers=caller)).json()["chats"]
                assert "secret" not in {chat["id"] for chat in listed}
            async with ChatClient(gateway, auth={"token": token(tenant, "ann")}) as client:
                assert (await client.join("secret"))["error"]["code"] == "forbidden"
                assert (await client.join("acme\x1fsecret"))["error"]["code"] == "invalid"
        mine = (await http.get("/api/chats", headers=service)).json()["chats"]
        assert "secret" in {chat["id"] for chat in mine}
        created = await http.post("/api/chats", json={"members": ["bob"]}, headers=headers("acme", "ann"))
        assert (await http.get(f"/api/chats/{created.json()['id']}", headers=headers("acme", "bob"))).status_code == 200


# One process has no internal address.
@pytest.mark.parametrize("servers", ["redis"], indirect=True)
async def test_a_service_of_a_tenant_is_no_gateway(servers: tuple[str, str, str]) -> None:
    _, _, internal = servers
    asked = {"asks": [{"chatId": "acme\x1fsecret", "userId": "acme\x1fann"}]}
    async with httpx.AsyncClient(base_url=internal, timeout=30) as http:
        for tenant, status in (("acme", 403), ("", 200)):
            caller = headers(tenant, "gateway", scopes=(ServiceScope.ADMIN,))
            for path, body in (("admissions", asked), ("ended-sessions", {"after": 0})):
                assert (await http.post(f"/api/internal/{path}", json=body, headers=caller)).status_code == status
