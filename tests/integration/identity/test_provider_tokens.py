"""Tokens of an identity provider, at a real `roomcast up`: REST, sockets, the rotation of keys."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import socketio

from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from support.clients import ChatClient, http_session, send
from support.key_server import AUDIENCE, ISSUER, KeyServer, sign
from support.processes import Roomcast

SECRET = "a secret of more than thirty-two bytes"


async def ask(server: Roomcast, token: str) -> httpx.Response:
    async with httpx.AsyncClient() as client:
        return await client.get(f"{server.api_url}/api/chats", headers={"Authorization": f"Bearer {token}"})


async def test_a_users_token_of_a_provider_works_everywhere_and_its_keys_may_rotate(tmp_path) -> None:
    async with KeyServer("RS256-a").running() as provider:
        env = {
            "ROOMCAST_RESPONDER": "none",
            "ROOMCAST_SECRET": SECRET,
            "ROOMCAST_JWT_ISSUER": ISSUER,
            "ROOMCAST_JWT_AUDIENCE": f"other, {AUDIENCE}",
            "ROOMCAST_JWT_JWKS_URL": provider.url,
        }
        with Roomcast.up(tmp_path / "data", env=env) as server:
            own = TokenIssuer(AuthOptions(SECRET)).issue("backend", ttl_s=60, service=True)
            async with httpx.AsyncClient(headers={"Authorization": f"Bearer {own}"}) as client:
                body = {"id": "team", "members": ["ann"]}
                (await client.post(f"{server.api_url}/api/chats", json=body)).raise_for_status()
            assert provider.requests == 0  # own tokens need no key of the provider
            async with ChatClient(server.gateway_url, auth={"token": sign("RS256-a")}) as ann:
                assert (await ann.join("team"))["ok"]
                await send(server.api_url, "team", "hello", token=sign("RS256-a"))
                assert (await ann.next_message())["userId"] == "ann"
                provider.names = ("RS256-a", "ES256-b")
                assert (await ask(server, sign("ES256-b"))).status_code == 200
            assert (await ask(server, sign("RS256-evil", header={"kid": "RS256-a"}))).status_code == 401
            async with http_session() as session:
                client = socketio.AsyncClient(reconnection=False, http_session=session)
                refusals: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
                client.on("connect_error", refusals.put)
                with pytest.raises(socketio.exceptions.ConnectionError):
                    await client.connect(server.gateway_url, auth={"token": sign("RS256-a", aud="shop")})
                assert (await refusals.get())["data"]["code"] == "unauthorized"
