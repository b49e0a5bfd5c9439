"""The endpoints of AI answers: bodies, statuses and errors. The rules of turns are tested with the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from roomcast.chat.errors import StoreUnavailable
from roomcast.chat.model import Ending, Turn
from roomcast.contract.events import Message, TurnStatus
from roomcast.contract.events import Turn as SentTurn
from roomcast.contract.rest import Chat, MessageVersions
from support.api_client import bearer, open_api, problem
from support.backend import START, Backend

DEFAULTS = {
    "answers": "always",
    "whenActive": "queue",
    "responder": "demo",
    "model": None,
    "systemPrompt": None,
    "tokenBudget": None,
}
ANN, EVE, SERVICE = bearer("ann"), bearer("eve"), bearer("backend", service=True)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, Backend]]:
    """The API with authentication on, the responder ``demo``, and chat ``c`` of ann."""
    async with open_api(tmp_path, auth=True, responder="demo") as (client, backend):
        client.headers.update(ANN)
        created = await client.post("/api/chats", json={"id": "c", "members": ["ann", "bob"]}, headers=SERVICE)
        assert created.status_code == 201
        yield client, backend


async def ask(client: httpx.AsyncClient, content: str = "why?", **fields: Any) -> dict[str, Any]:
    sent = await client.post("/api/chat/messages", json={"chatId": "c", "role": "USER", "content": content, **fields})
    assert sent.status_code == 201, sent.text
    message: dict[str, Any] = sent.json()
    return message


async def start(backend: Backend) -> Turn:
    """Claim and start the next turn, as a worker does."""
    turn = await backend.store.turns.claim_turn(START, START + timedelta(seconds=30))
    assert turn is not None
    return await backend.turns.start(turn)


async def answer(backend: Backend, text: str = "because") -> Turn:
    """Answer the next turn."""
    turn = await start(backend)
    ending = Ending(TurnStatus.COMPLETE, content=text, parts=({"type": "text", "text": text},), last=4)
    await backend.turns.end(turn, ending)
    return turn


async def test_a_chat_shows_how_it_answers_and_every_member_may_change_it(
    guarded: tuple[httpx.AsyncClient, Backend],
) -> None:
    client, _ = guarded
    assert (await client.get("/api/chats/c")).json()["ai"] == DEFAULTS
    settings = {
        "answers": "mention",
        "whenActive": "reject",
        "model": "m-1",
        "systemPrompt": "Be brief.",
        "tokenBudget": 4096,
    }
    changed = await client.put("/api/chats/c/ai", json=settings)
    assert changed.status_code == 200
    assert changed.json()["ai"] == DEFAULTS | settings
    assert Chat.model_validate(changed.json())
    assert (await client.get("/api/chats")).json()["chats"][0]["ai"] == DEFAULTS | settings
    # Fields that are left out have their defaults.
    assert (await client.put("/api/chats/c/ai", json={})).json()["ai"] == DEFAULTS
    refused = problem(await client.put("/api/chats/c/ai", json={"answers": "never"}, headers=EVE))
    assert (refused["status"], refused["code"]) == (404, "chat-not-found")
    assert problem(await client.put("/api/chats/c/ai", json={"answers": "often"}))["code"] == "invalid"


async def test_a_chat_is_created_with_its_settings(guarded: tuple[httpx.AsyncClient, Backend]) -> None:
    client, _ = guarded
    created = await client.post("/api/chats", json={"title": "t", "ai": {"answers": "never", "model": "m-1"}})
    assert created.json()["ai"] == DEFAULTS | {"answers": "never", "model": "m-1"}
    unknown = await client.post("/api/chats", json={"ai": {"responder": "other"}})
    assert problem(unknown)["code"] == "invalid"


async def test_a_server_without_a_responder_shows_none(tmp_path: Path) -> None:
    async with open_api(tmp_path) as (client, _):
        await client.post("/api/chats", json={"id": "c"})
        assert (await client.get("/api/chats/c")).json()["ai"]["responder"] is None


async def test_an_edit_is_a_new_version_and_its_repeat_is_the_same_one(
    guarded: tuple[httpx.AsyncClient, Backend],
) -> None:
    client, backend = guarded
    question = await ask(client)
    await answer(backend)
    path = f"/api/chats/c/messages/{question['id']}"
    edit = {"content": "why not?", "clientMsgId": "e1"}
    edited = await client.put(path, json=edit)
    assert edited.status_code == 201
    message = Message.model_validate(edited.json())
    assert (message.place, message.version, message.content) == (question["place"], 2, "why not?")
    assert message.turn is not None
    again = await client.put(path, json=edit)
    assert (again.status_code, again.content) == (200, edited.content)
    found = await client.get(f"{path}/versions")
    assert found.status_code == 200
    versions = MessageVersions.model_validate(found.json()).versions
    assert [version.content for version in versions] == ["why?", "why not?"]
    assert found.json() == (await client.get(f"/api/chats/c/messages/{message.id}/versions")).json()


async def test_an_edit_of_another_users_message_or_of_none_is_refused(
    guarded: tuple[httpx.AsyncClient, Backend],
) -> None:
    client, _ = guarded
    question = await ask(client)
    path = f"/api/chats/c/messages/{question['id']}"
    edit = {"content": "mine now"}
    refusals = [
        problem(await client.put(path, json=edit, headers=bearer("bob"))),
        problem(await client.put(path, json=edit, headers=EVE)),
        problem(await client.put("/api/chats/c/messages/none", json=edit)),
        problem(await client.get("/api/chats/c/messages/none/versions")),
        problem(await client.get(f"{path}/versions", headers=EVE)),
        problem(await client.put(path, json={"content": ""})),
    ]
    assert [(refusal["status"], refusal["code"]) for refusal in refusals] == [
        (403, "forbidden"),
        (404, "chat-not-found"),
        (404, "message-not-found"),
        (404, "message-not-found"),
        (404, "chat-not-found"),
        (422, "invalid"),
    ]


async def test_a_queued_turn_is_stopped_at_once_and_an_ended_one_stays(
    guarded: tuple[httpx.AsyncClient, Backend],
) -> None:
    client, backend = guarded
    first = await ask(client)
    stopped = await client.post(f"/api/chats/c/turns/{first['turn']['id']}/stop", headers=bearer("bob"))
    assert stopped.status_code == 200
    turn = SentTurn.model_validate(stopped.json())
    assert (turn.message_id, turn.status, turn.reason) == (first["id"], "stopped", "by-user")
    await ask(client)
    complete = await answer(backend)
    ended = await client.post(f"/api/chats/c/turns/{complete.claim.turn_id}/stop")
    assert (ended.status_code, ended.json()["status"]) == (200, "complete")


async def test_a_stop_of_a_running_turn_is_stored_for_its_worker(guarded: tuple[httpx.AsyncClient, Backend]) -> None:
    client, backend = guarded
    await ask(client)
    turn = await start(backend)
    stopped = await client.post(f"/api/chats/c/turns/{turn.claim.turn_id}/stop")
    assert (stopped.status_code, stopped.json()["status"]) == (200, "streaming")
    renewal = await backend.store.turns.renew([turn.claim], START + timedelta(seconds=60))
    assert renewal.stopping == {turn.claim.turn_id}


async def test_an_answer_is_generated_again_as_a_new_version(guarded: tuple[httpx.AsyncClient, Backend]) -> None:
    client, backend = guarded
    question = await ask(client)
    first = await answer(backend)
    again = await client.post(f"/api/chats/c/turns/{first.claim.turn_id}/regenerate")
    assert again.status_code == 201
    turn = SentTurn.model_validate(again.json())
    assert (turn.message_id, turn.status) == (question["id"], "queued")
    active = await client.post(f"/api/chats/c/turns/{turn.id}/regenerate")
    refused = problem(active)
    assert (refused["status"], refused["code"], active.headers["retry-after"]) == (409, "answer-active", "1")
    await answer(backend, "since")
    versions = (await client.get(f"/api/chats/c/messages/{turn.id}/versions")).json()["versions"]
    assert [(version["version"], version["content"]) for version in versions] == [(1, "because"), (2, "since")]
    assert {version["place"] for version in versions} == {versions[0]["place"]}


async def test_a_question_is_refused_while_an_answer_is_active_if_the_chat_says_so(
    guarded: tuple[httpx.AsyncClient, Backend],
) -> None:
    client, _ = guarded
    await client.put("/api/chats/c/ai", json={"whenActive": "reject"})
    await ask(client)
    refused = await client.post("/api/chat/messages", json={"chatId": "c", "role": "USER", "content": "and?"})
    assert problem(refused)["code"] == "answer-active"
    assert refused.headers["retry-after"] == "1"


@pytest.mark.parametrize("action", ["stop", "regenerate"])
async def test_turns_of_other_chats_are_not_found(guarded: tuple[httpx.AsyncClient, Backend], action: str) -> None:
    client, _ = guarded
    question = await ask(client)
    unknown = problem(await client.post(f"/api/chats/c/turns/none/{action}"))
    assert (unknown["status"], unknown["code"]) == (404, "turn-not-found")
    path = f"/api/chats/c/turns/{question['turn']['id']}/{action}"
    hidden = problem(await client.post(path, headers=EVE))
    assert (hidden["status"], hidden["code"]) == (404, "chat-not-found")
    await client.post("/api/chats", json={"id": "other", "members": ["ann"]}, headers=SERVICE)
    elsewhere = problem(await client.post(f"/api/chats/other/turns/{question['turn']['id']}/{action}"))
    assert elsewhere["code"] == "turn-not-found"
    assert problem(await client.get(path))["code"] == "method-not-allowed"


async def test_a_stop_is_not_confirmed_while_the_database_is_unavailable(
    guarded: tuple[httpx.AsyncClient, Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, backend = guarded

    async def fail(*_args: object) -> None:
        raise StoreUnavailable("locked")

    monkeypatch.setattr(backend.turns, "stop", fail)
    assert problem(await client.post("/api/chats/c/turns/t1/stop"))["code"] == "unavailable"
