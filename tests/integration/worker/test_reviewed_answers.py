"""Answers that pass the moderation hook, over real processes: workers, an API, two gateways, PostgreSQL and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from support.answer_view import AnswerView
from support.clients import ChatClient, get
from support.postgres_server import PostgresServer
from support.processes import Roomcast
from support.redis_server import RedisServer
from support.waiting import until
from support.worker_processes import Deployment, outcome, running_deployment

LIMIT_S = 20.0
#: Questions pass. Its verdict about an answer waits for the file ``go-on``, if the question says so.
HOOK = """
import asyncio
import pathlib

FOLDER = pathlib.Path(__file__).parent

async def review(text):
    if text.kind != "answer":
        return None
    (FOLDER / "asked").write_text(text.content)
    while "slow" in text.content and not (FOLDER / "go-on").exists():
        await asyncio.sleep(0.05)
    if "casino" in text.content:
        return {"action": "refuse", "reason": "No advertisements, please."}
    return {"action": "mask", "content": "masked: damn"} if "darn" in text.content else {"action": "pass"}
"""


@pytest.fixture
async def deployment(postgres: PostgresServer, redis: RedisServer) -> AsyncIterator[Deployment]:
    async with running_deployment(postgres, redis) as running:
        yield running


@pytest.fixture
def gateways(deployment: Deployment) -> Iterator[list[Roomcast]]:
    env = {**deployment.env, "API_URL": deployment.api.internal_url}
    with Roomcast.gateway(env=env) as first, Roomcast.gateway(env=env) as second:
        yield [first, second]


def reviewing_worker(deployment: Deployment, folder: Path, answers: str) -> Roomcast:
    (folder / "answer_hook.py").write_text(HOOK)
    return deployment.worker(
        ROOMCAST_MODERATION="answer_hook:review",
        ROOMCAST_MODERATION_ANSWERS=answers,
        ROOMCAST_MODERATION_DEADLINE_S="60",
        PYTHONPATH=str(folder),
    )


class Viewer:
    """A client that shows the answers of chat ``c``, as `@roomcast/client` does, and all that it was shown."""

    def __init__(self, client: ChatClient, api_url: str) -> None:
        self.client = client
        self.api_url = api_url
        self.shown: list[str] = []

    async def follow(self, turn_id: str) -> str | None:
        """The text that is shown at the end of a turn; None: the turn failed."""
        view = AnswerView()
        while True:
            name, data = await self.client.next_event(LIMIT_S)
            if name == "ai-chunk" and data["turnId"] == turn_id and not view.accept(data):
                ack = await self.client.call("ai-resume", {"chatId": "c", "turnId": turn_id})
                assert ack["ok"] is True, ack
                view.replace(ack)
            self.shown.append(view.text)
            if name == "ai-status" and data["turn"]["id"] == turn_id and data["turn"]["status"] == "failed":
                return None
            if name == "ai-end" and data["id"] == turn_id:
                return view.text if view.last == data["turn"]["last"] else await self._fetch(data["place"])

    async def _fetch(self, place: int) -> str:
        page = await get(f"{self.api_url}/api/chats/c/messages", after=place - 1, limit=1)
        return str(page["messages"][0]["content"])


@pytest.mark.parametrize("answers", ["streamed", "withheld"])
async def test_viewers_on_all_gateways_end_with_what_the_hook_left(
    deployment: Deployment, gateways: list[Roomcast], tmp_path: Path, answers: str
) -> None:
    api_url = deployment.api.api_url
    async with AsyncExitStack() as stack:
        stack.enter_context(reviewing_worker(deployment, tmp_path, answers))
        await deployment.ended("c", await deployment.ask("c", "first"))
        viewers = []
        for gateway in gateways:
            client = await stack.enter_async_context(ChatClient(gateway.gateway_url))
            assert (await client.call("join-chat", {"chatId": "c", "stream": True}))["ok"] is True
            viewers.append(Viewer(client, api_url))
        plain = await stack.enter_async_context(ChatClient(gateways[1].gateway_url))
        await plain.join("c")

        for question, expected in (("darn /long 60", "masked: damn"), ("casino /long 60", None), ("fine", "fine")):
            turn_id = await deployment.ask("c", question)
            texts = await asyncio.gather(*(viewer.follow(turn_id) for viewer in viewers))
            stored = await deployment.ended("c", turn_id)
            streamed = await deployment.streamed("c", turn_id)
            if expected is None:
                assert outcome(stored) == ("failed", "refused")
                assert (texts, stored["content"], stored["parts"], streamed) == ([None, None], "", None, "")
            else:
                assert outcome(stored) == ("complete", None)
                assert expected in stored["content"]
                assert texts == [stored["content"]] * 2
                assert streamed == stored["content"]

        shown = [text for viewer in viewers for text in viewer.shown]
        unreviewed = [text for text in shown if "darn" in text or "casino" in text]
        assert bool(unreviewed) == (answers == "streamed")
        events = await deployment.events("c")
        by_ai = [event["data"] for event in events if event["data"].get("role") == "AI"]
        assert not [data for data in by_ai if "darn" in data["content"] or "casino" in data["content"]]
        found: list[str] = []
        while not found or "fine" not in found[-1]:
            name, data = await plain.next_event(LIMIT_S)
            found += [data["content"]] if name == "new-msg" and data["role"] == "AI" else []
        assert [text for text in found if "casino" in text or "darn" in text] == []


@pytest.mark.parametrize("answers", ["streamed", "withheld"])
async def test_a_worker_that_is_killed_during_the_review_leaves_the_turn_to_another_one(
    deployment: Deployment, tmp_path: Path, answers: str
) -> None:
    with reviewing_worker(deployment, tmp_path, answers) as killed:
        turn_id = await deployment.ask("c", "slow casino")
        await until((tmp_path / "asked").exists, limit_s=LIMIT_S)
        killed.kill()
    (tmp_path / "go-on").touch()
    with reviewing_worker(deployment, tmp_path, answers):
        message = await deployment.ended("c", turn_id)
    assert outcome(message) == ("failed", "refused")
    assert message["content"] == ""
    assert await deployment.streamed("c", turn_id) == ""


async def test_a_stop_through_the_api_and_a_regeneration_are_reviewed(deployment: Deployment, tmp_path: Path) -> None:
    with reviewing_worker(deployment, tmp_path, "streamed"):
        turn_id = await deployment.ask("c", "darn /long 3000")
        await deployment.grows("c", turn_id, 60)
        async with httpx.AsyncClient(base_url=deployment.api.api_url) as http:
            (await http.post(f"/api/chats/c/turns/{turn_id}/stop")).raise_for_status()
            message = await deployment.ended("c", turn_id)
            assert (outcome(message), message["content"]) == (("stopped", "by-user"), "masked: damn")
            second = (await http.post(f"/api/chats/c/turns/{turn_id}/regenerate")).json()["id"]
            await deployment.grows("c", second, 60)
            (await http.post(f"/api/chats/c/turns/{second}/stop")).raise_for_status()
        message = await deployment.ended("c", second)
    assert (message["version"], message["content"]) == (2, "masked: damn")
