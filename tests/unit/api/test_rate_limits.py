"""The limit of requests per address, which is applied before a body is read. Other limits: tests/integration/limits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from roomcast.api.app import create_api
from roomcast.api.options import ApiOptions
from roomcast.api.services import ApiServices
from roomcast.chat.policies.rates import LimitName, Rate
from roomcast.limits.memory import MemoryRateLimiter
from support.api_client import bearer, open_api, problem


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_requests_are_limited_per_address_and_loopback_has_no_limit(tmp_path: Path, method: str) -> None:
    limiter = MemoryRateLimiter({LimitName.ADDRESS_REQUESTS: Rate(3)})

    apps: list[FastAPI] = []

    def create(services: ApiServices, options: ApiOptions | None) -> FastAPI:
        apps.append(create_api(replace(services, limiter=limiter), options))
        return apps[0]

    async with open_api(tmp_path, create=create) as (loopback, _):
        clients = [
            httpx.AsyncClient(transport=httpx.ASGITransport(apps[0], client=(address, 1)), base_url="http://localhost")
            for address in ("203.0.113.1", "203.0.113.2")
        ]
        first, second = clients
        for _ in range(3):
            assert (await first.request(method, "/api/chats", json={"title": "t"})).status_code < 300
        refused = await first.request(method, "/api/chats", content=b"x" * 2_000_000)
        assert (refused.status_code, problem(refused)["limit"]) == (429, "address-requests")
        assert int(refused.headers["Retry-After"]) == 20
        assert (await second.request(method, "/api/chats", json={"title": "t"})).status_code < 300
        for _ in range(10):
            assert (await loopback.request(method, "/api/chats", json={"title": "t"})).status_code < 300
        for client in clients:
            await client.aclose()


@pytest.mark.parametrize(("method", "path"), [("GET", "/api/me"), ("POST", "/api/logout"), ("GET", "/api/chats")])
async def test_every_request_of_a_user_counts_and_those_of_services_do_not(
    tmp_path: Path, method: str, path: str
) -> None:
    limiter = MemoryRateLimiter({LimitName.REQUESTS: Rate(2)})

    def create(services: ApiServices, options: ApiOptions | None) -> FastAPI:
        return create_api(replace(services, limiter=limiter), options)

    async with open_api(tmp_path, auth=True, create=create) as (client, _):
        for _ in range(2):
            assert (await client.get("/api/me", headers=bearer("ann"))).status_code == 200
        refused = await client.request(method, path, json={}, headers=bearer("ann"))
        assert problem(refused)["limit"] == "requests"
        for _ in range(5):
            assert (await client.get("/api/me", headers=bearer("backend", service=True))).status_code == 200
