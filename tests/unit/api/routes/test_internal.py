from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.api.app import create_internal_api
from roomcast.api.options import ApiOptions
from roomcast.auth.scopes import ServiceScope
from roomcast.chat.commands import ChangeMember, NewChat
from roomcast.chat.model import Caller
from roomcast.contract.events import MemberRole
from roomcast.contract.rest import SendMessage
from support.api_client import bearer, open_api, problem
from support.backend import START, Backend, new_message

SERVICE = bearer("gateway", service=True)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Backend]]:
    """The API for gateways, with authentication on."""
    async with open_api(tmp_path, auth=True, create=create_internal_api) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/api/internal/admissions", "/api/internal/nudges", "/api/internal/stops"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "unauthorized"),
        ({"Authorization": "Bearer a.b.c"}, "unauthorized"),
        (bearer("ann"), "forbidden"),
        (bearer("x", scopes=set(ServiceScope) - {ServiceScope.ADMIN}), "forbidden"),
    ],
)
async def test_only_a_service_token_is_accepted(
    guarded: tuple[httpx.AsyncClient, Backend], path: str, headers: dict[str, str], code: str
) -> None:
    assert problem(await guarded[0].post(path, json={}, headers=headers))["code"] == code


@pytest.mark.parametrize("path", ["/", "/api/chats", "/api/config", "/openapi.json", "/c/lobby"])
async def test_the_internal_address_serves_no_public_path(
    guarded: tuple[httpx.AsyncClient, Backend], path: str
) -> None:
    assert problem(await guarded[0].get(path, headers=SERVICE))["code"] == "not-found"


async def test_another_host_is_rejected_if_hosts_are_configured(tmp_path: Path) -> None:
    options = ApiOptions(allowed_hosts=("localhost",))
    async with open_api(tmp_path, options=options, create=create_internal_api) as (client, _):
        answers = [
            await client.post("/api/internal/nudges", json={"chatId": "c"}, headers={"Host": host})
            for host in ("localhost:3002", "evil.example")
        ]
    assert [answer.status_code for answer in answers] == [204, 421]


async def test_admissions_are_decided_in_batches(guarded: tuple[httpx.AsyncClient, Backend]) -> None:
    client, backend = guarded
    await backend.store.chats.commit(NewChat("c", None, None, START, "ann"))
    epoch = backend.reader.epoch

    async def admit(*asks: dict[str, Any], headers: dict[str, str] = SERVICE) -> httpx.Response:
        return await client.post("/api/internal/admissions", json={"asks": asks}, headers=headers)

    answer = await admit(
        {"chatId": "c", "userId": "ann"},
        {"chatId": "c", "userId": "eve"},
        {"chatId": "c", "userId": "ann", "since": {"epoch": "gone", "seq": 3}},
        {"chatId": "none", "userId": "eve"},
    )
    assert answer.json() == {
        "answers": [
            {"admitted": {"epoch": epoch, "seq": 1, "reset": False, "silentUntil": None}, "refused": None},
            {"admitted": None, "refused": "forbidden"},
            {"admitted": {"epoch": epoch, "seq": 1, "reset": True, "silentUntil": None}, "refused": None},
            {"admitted": None, "refused": "chat-not-found"},
        ]
    }
    assert problem(await admit({"chatId": "c", "userId": "ann"}, {"chatId": "c"}))["code"] == "invalid"
    # No question: a gateway checks that the API accepts its token.
    assert (await admit()).json() == {"answers": []}
    assert problem(await admit(headers={}))["code"] == "unauthorized"
    assert problem(await admit(*[{"chatId": "c", "userId": "ann"}] * 65))["code"] == "invalid"
    assert problem(await admit({"chatId": "c", "userId": "ann"}, headers=bearer("ann")))["code"] == "forbidden"


async def test_one_failed_admission_leaves_the_others_of_its_batch_intact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_api(tmp_path, create=create_internal_api) as (client, backend):
        await backend.store.chats.commit(new_message())
        admit = backend.admissions.admit

        async def fail_for_one(chat_id: str, *args: Any) -> Any:
            if chat_id == "spoiled":
                raise KeyError("not foreseen")
            return await admit(chat_id, *args)

        monkeypatch.setattr(backend.admissions, "admit", fail_for_one)
        asks = [{"chatId": "c"}, {"chatId": "spoiled"}]
        answers = (await client.post("/api/internal/admissions", json={"asks": asks})).json()["answers"]
    assert answers[0]["admitted"]["seq"] == 1
    assert answers[1] == {"admitted": None, "refused": "unavailable"}
    assert "not foreseen" in caplog.text


async def test_a_gateway_can_request_a_publish(tmp_path: Path) -> None:
    async with open_api(tmp_path, create=create_internal_api) as (client, backend):
        await backend.store.chats.commit(new_message())
        response = await client.post("/api/internal/nudges", json={"chatId": "c"})
        assert response.status_code == 204
        head = await backend.log.head("c")
        assert head is not None
        assert head.seq == 1


async def test_a_gateway_stops_turns_for_its_users(tmp_path: Path) -> None:
    async with open_api(tmp_path, auth=True, responder="demo", create=create_internal_api) as (client, backend):
        await backend.store.chats.commit(NewChat("c", None, None, START, "ann"))
        sent = await backend.writer.send(Caller("ann"), SendMessage(chatId="c", role="USER", content="why?"))
        turn_id = json.loads(sent.event.payload)["turn"]["id"]

        async def stop(
            user_id: str | None, turn_id: str, headers: dict[str, str] = SERVICE, chat_id: str = "c"
        ) -> httpx.Response:
            body = {"chatId": chat_id, "turnId": turn_id, "userId": user_id}
            return await client.post("/api/internal/stops", json=body, headers=headers)

        assert (await stop("eve", turn_id)).json() == {"refused": "chat-not-found"}
        assert (await stop("ann", "none")).json() == {"refused": "turn-not-found"}
        assert problem(await stop(None, turn_id))["code"] == "invalid"
        assert problem(await stop("ann", turn_id, bearer("ann")))["code"] == "forbidden"
        later = datetime.now(UTC) + timedelta(hours=1)
        reader = ChangeMember("forbidden", "bob", START, role=MemberRole.READER)
        muted = ChangeMember("muted", "bob", START, mutes=True, muted_until=later)
        for change in (reader, muted):
            code = change.chat_id
            await backend.store.chats.commit(NewChat(code, None, None, START, "ann", ("bob",)))
            await backend.store.chats.commit(change)
            decision = (await stop("bob", turn_id, chat_id=code)).json()
            assert (decision["refused"], "you" in decision["message"]) == (code, True)
        active = await backend.store.turns.active_turn("c")
        assert active is not None
        assert active.id == turn_id
        assert (await stop("ann", turn_id)).json() == {"refused": None}
        assert await backend.store.turns.active_turn("c") is None
