"""The caller of a token, sign-out, and the end of all sessions of a user."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from roomcast.auth.scopes import ServiceScope
from support.api_client import bearer, open_api, problem

ADMIN = bearer("backend", scopes={ServiceScope.ADMIN})


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An API with authentication on."""
    async with open_api(tmp_path, auth=True) as (client, _):
        yield client


async def works(client: httpx.AsyncClient, headers: dict[str, str]) -> bool:
    answer = await client.get("/api/chats", headers=headers)
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


async def test_a_token_says_whom_it_belongs_to(guarded: httpx.AsyncClient) -> None:
    me = (await guarded.get("/api/me", headers=bearer("ann"))).json()
    assert me == {"userId": "ann", "name": None, "service": False}
    assert (await guarded.get("/api/me", headers=ADMIN)).json()["service"]
    assert problem(await guarded.get("/api/me"))["code"] == "unauthorized"


async def test_without_authentication_the_caller_is_nobody_and_sign_out_does_nothing(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, _):
        assert (await client.get("/api/me")).json() == {"userId": None, "name": None, "service": False}
        assert (await client.post("/api/logout", json={})).status_code == 204


async def test_a_sign_out_ends_this_token_only(guarded: httpx.AsyncClient) -> None:
    one, other = bearer("ann"), bearer("ann", scopes={ServiceScope.READ})
    assert (await guarded.post("/api/logout", json={}, headers=one)).status_code == 204
    assert not await works(guarded, one)
    assert await works(guarded, other)
    assert "has ended" in problem(await guarded.post("/api/logout", json={}, headers=one))["detail"]


async def test_a_sign_out_everywhere_ends_all_tokens_of_the_user_and_no_other(guarded: httpx.AsyncClient) -> None:
    one, other, ben = bearer("ann"), bearer("ann", scopes={ServiceScope.READ}), bearer("ben")
    answer = await guarded.post("/api/logout", json={"everywhere": True}, headers=one)
    assert answer.status_code == 204
    assert [await works(guarded, headers) for headers in (one, other, ben)] == [False, False, True]


async def test_only_an_administrator_ends_the_sessions_of_others(guarded: httpx.AsyncClient) -> None:
    ann, ben = bearer("ann"), bearer("ben/1")
    others = bearer("x", scopes=set(ServiceScope) - {ServiceScope.ADMIN})
    for headers in (ann, ben, others):
        assert problem(await guarded.post("/api/users/ben%2F1/logout", headers=headers))["code"] == "forbidden"
    assert await works(guarded, ben)
    assert (await guarded.post("/api/users/ben%2F1/logout", headers=ADMIN)).status_code == 204
    assert [await works(guarded, headers) for headers in (ann, ben)] == [True, False]
