"""One answer, followed by clients of all dialects that are cut at random moments: every text is what is stored."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import socketio

from roomcast.chat.answers.answer import SEPARATOR
from roomcast.chat.answers.answer_state import AnswerState
from support.agui_client import AgUiClient
from support.dialect_clients import UiMessage, open_socket, question, read_events
from support.paced_responder import script
from support.processes import Roomcast

ROOT: Final = Path(__file__).parents[3]


#: Answers of the tests' pace.
ENVIRONMENT: Final = {"PYTHONPATH": str(ROOT / "tests"), "ROOMCAST_RESPONDER": "support.paced_responder:answer"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roomcast]:
    """One server for all tests."""
    with Roomcast.up(tmp_path_factory.mktemp("data"), env=ENVIRONMENT) as running:
        yield running


class Cuts:
    """When a client is cut: after a random number of events, and every time later than before."""

    def __init__(self, seed: str) -> None:
        self._chance = random.Random(seed)
        self._left = 0
        self.again()

    def again(self) -> None:
        """Connect again."""
        self._left = self._chance.randrange(1, 60)

    def now(self) -> bool:
        """Whether the client is cut after this event."""
        self._left -= 1
        return self._left == 0


async def follow_sse(server: Roomcast, body: dict[str, Any], cuts: Cuts) -> str:
    """``useChat`` over server-sent events: repeats its request after a cut."""
    async with httpx.AsyncClient(base_url=server.api_url, timeout=20) as http:
        while True:
            message = UiMessage()
            cuts.again()
            async with http.stream("POST", "/api/ai/chat", json=body) as response:
                async for event in read_events(response):
                    if event == "[DONE]":
                        return message.text
                    message.apply(event)
                    if cuts.now():
                        break


async def follow_websocket(server: Roomcast, body: dict[str, Any], cuts: Cuts) -> str:
    """``useChat`` over a websocket: repeats its request on another socket after a cut."""
    while True:
        message = UiMessage()
        cuts.again()
        async with open_socket(server.api_url) as socket:
            await socket.send("send", "r", **body)
            async for chunk in socket.chunks("r"):
                message.apply(chunk)
                if cuts.now():
                    break
            else:
                return message.text


async def follow_agui(server: Roomcast, body: dict[str, Any], cuts: Cuts) -> str:
    """A client of AG-UI: continues with the messages that it has after a cut."""
    asked = body["messages"][0]
    client = AgUiClient([{"id": asked["id"], "role": "user", "content": asked["parts"][0]["text"]}])
    turn_id = ""
    async with httpx.AsyncClient(base_url=server.api_url, timeout=20) as http:
        while client.outcome is None:
            client.begin()
            cuts.again()
            run = {"threadId": body["id"], "runId": "r", "messages": client.messages}
            async with http.stream("POST", "/api/ai/agui", json=run) as response:
                async for event in read_events(response):
                    turn_id = event.get("metadata", {}).get("turnId", turn_id)
                    client.apply([event])
                    if cuts.now():
                        break
    assert client.outcome == "success"
    return client.text(turn_id)


async def follow_socket_io(server: Roomcast, body: dict[str, Any], cuts: Cuts) -> str:
    """A client of the gateway: joins again after a cut, and asks for the chunks that it lacks."""
    since: dict[str, Any] | None = None
    while True:
        events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        cuts.again()
        async with socketio.AsyncSimpleClient() as simple:
            await simple.connect(server.gateway_url)
            simple.client.on("*", lambda name, data, events=events: events.put_nowait((name, data)))
            join = {"chatId": body["id"], "stream": True} | ({} if since is None else {"since": since})
            ack = await simple.call("join-chat", join)
            assert ack["ok"], ack
            since = since or {"epoch": ack["epoch"], "seq": ack["seq"]}
            answer = AnswerState()
            while True:
                name, data = await asyncio.wait_for(events.get(), 20)
                if name == "new-msg" and data["role"] == "AI":
                    return str(data["content"])
                if name == "ai-end":
                    if data["turn"]["last"] == answer.last:
                        return answer.content()
                    break  # joined too late for its chunks: the replay has the whole message
                if name == "ai-chunk" and data["last"] > answer.last:
                    if data["first"] != answer.last + 1:
                        data = await simple.call("ai-resume", {"chatId": body["id"], "turnId": data["turnId"]})
                        assert data["ok"], data
                        answer = AnswerState()
                    for chunk in data["chunks"]:
                        answer.apply(chunk)
                    answer.last = data["last"]
                if cuts.now():
                    break


@pytest.mark.parametrize("seed", range(3))
async def test_every_client_has_the_stored_text_after_random_cuts(server: Roomcast, seed: int) -> None:
    text = f"pieces=150 pause=0.01 seed={seed}"
    body = question(f"cuts-{seed}", "q", text)
    async with httpx.AsyncClient(base_url=server.api_url) as http:
        await http.post("/api/chats", json={"id": body["id"]})
        followers = {
            name: asyncio.create_task(follow(server, body, Cuts(f"{name} {seed}")))
            for name, follow in {
                "socket.io": follow_socket_io,
                "sse": follow_sse,
                "websocket": follow_websocket,
                "agui": follow_agui,
            }.items()
        }
        texts = dict(zip(followers, await asyncio.gather(*followers.values()), strict=True))
        messages = (await http.get(f"/api/chats/{body['id']}/messages")).json()["messages"]
    assert [message["content"] for message in messages][:1] == [text]
    content = messages[1]["content"]
    items = script(text)
    tool = next(number for number, item in enumerate(items) if isinstance(item, dict) and "toolCallId" in item)
    written = ["".join(item for item in half if isinstance(item, str)) for half in (items[:tool], items[tool:])]
    assert content == SEPARATOR.join(part.encode("utf-16", "surrogatepass").decode("utf-16") for part in written)
    assert texts == dict.fromkeys(followers, content)


async def _until_cut(events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """The events of a response that does not end."""
    try:
        async for event in events:
            yield event
    except httpx.RemoteProtocolError:
        return
    raise AssertionError("the response has ended")


async def test_a_stopped_process_cuts_its_streams_and_the_text_so_far_is_kept(tmp_path: Path) -> None:
    with Roomcast.up(tmp_path / "data", one_port=True, env=ENVIRONMENT) as server:
        body = question("c", "q", "pieces=2000 pause=0.02")
        shown = UiMessage()
        async with httpx.AsyncClient(base_url=server.api_url) as http, open_socket(server.api_url) as socket:
            async with http.stream("POST", "/api/ai/chat", json=body) as response:
                events = read_events(response)
                while len(shown.text) < 50:
                    shown.apply(await anext(events))
                await socket.send("resume", "r", id="c")
                assert (await socket.receive())["type"] == "start"
                code, _ = await asyncio.to_thread(server.stop)
                rest = [event async for event in _until_cut(events)]
            await asyncio.wait_for(socket.websocket.wait_closed(), 5)
            for event in rest:
                shown.apply(event)
            assert shown.ended is None
            assert (code, socket.websocket.close_code) == (0, 1012)
        server.start()
        text = await follow_sse(server, body, Cuts("again"))
        async with httpx.AsyncClient(base_url=server.api_url) as http:
            content = (await http.get("/api/chats/c/messages")).json()["messages"][1]["content"]
        assert text == content
        assert text.startswith(shown.text)
