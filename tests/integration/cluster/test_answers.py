"""Answers that grow, over real gateways and a real Redis; the test is the worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import Any

import aiohttp
import httpx
import pytest

from roomcast.app.redis_services import RedisServices
from roomcast.auth.options import AuthOptions
from roomcast.auth.tokens import TokenIssuer
from roomcast.chat.answers.answer import Answer
from roomcast.chat.answers.chunks import encode_chunks
from roomcast.chat.delivery.encoding import encode_message, event_args
from roomcast.chat.ids import new_id
from roomcast.chat.model import StoredEvent, StoredMessage, StoredTurn
from roomcast.chat.ports import EventLog, Head, LogEntry, TurnFrame, TurnStreams
from roomcast.contract.events import EventType, TurnStatus
from roomcast.redis_client import RedisAddress, RedisOptions
from support.answer_view import AnswerView
from support.clients import ChatClient, send
from support.processes import Roomcast
from support.redis_server import RedisServer, environment

SECRET = "a secret of more than thirty-two bytes"
LIMIT_S = 15.0
PARAGRAPHS = (
    "回答は少しずつ大きくなります。家族👨‍👩‍👧‍👦と旗🇹🇼、結合文字 é ñ も同じです。\n\n",
    '```python\ndef answer(text: str) -> dict[str, str]:\n    return {"role": "AI", "content": text}\n```\n\n',
    "Plain words of a plain answer, one after the other, as most of them are.\n\n",
)


class Worker:
    """Writes one answer, as a worker does: numbered frames, then the whole message as an event of the chat."""

    def __init__(self, streams: TurnStreams, log: EventLog, chat_id: str) -> None:
        self.streams = streams
        self.log = log
        self.chat_id = chat_id
        self.turn_id = new_id()
        self.answer = Answer()
        self.unsent = list(self.answer.begin(self.turn_id))
        self.last = -1
        self.frames = 0
        self.seq = 1

    async def write(self, text: str) -> None:
        self.unsent += self.answer.add(text)
        await self._flush()

    async def _flush(self) -> None:
        chunks, self.unsent = self.unsent, []
        first, self.last = self.last + 1, self.last + len(chunks)
        self.frames += 1
        frame = TurnFrame(self.turn_id, 1, first, self.last, encode_chunks(chunks))
        await self.streams.append(self.chat_id, frame)

    async def end(self) -> None:
        self.unsent += self.answer.end({"type": "finish"})
        await self._flush()
        self.seq += 1
        now = datetime.now(UTC)
        message = StoredMessage(
            id=self.turn_id,
            chat_id=self.chat_id,
            epoch="e1",
            seq=self.seq,
            role="AI",
            content=self.answer.content(),
            user_id=None,
            client_msg_id=None,
            created_at=now,
            place=1,
            turn=StoredTurn(self.turn_id, "q1", TurnStatus.COMPLETE, generation=1, last=self.last),
            parts=self.answer.parts(),
        )
        stored = StoredEvent(self.chat_id, self.seq, "e1", EventType.MESSAGE_CREATED, encode_message(message), now)
        await self.log.append(self.chat_id, "e1", [LogEntry(self.seq, event_args(stored))])


@asynccontextmanager
async def worker(redis: RedisServer, chat_id: str, *, api: bool = False) -> AsyncIterator[Worker]:
    """A worker; ``api``: the log of the chat is an API's."""
    options = RedisOptions(addresses=(RedisAddress("127.0.0.1", redis.port),))
    async with RedisServices(options) as services, services.event_log() as log:
        if not api:
            await log.seed(chat_id, Head("e1", 1), [])
        yield Worker(services.turn_streams(), log, chat_id)


class Viewer:
    """A client that shows the answer of one turn."""

    def __init__(self, client: ChatClient, chat_id: str, turn_id: str) -> None:
        self.client = client
        self.chat_id = chat_id
        self.turn_id = turn_id
        self.view = AnswerView()

    async def join(self) -> None:
        ack = await self.client.call("join-chat", {"chatId": self.chat_id, "stream": True})
        assert ack["ok"] is True, ack
        await self.resume()

    async def resume(self) -> None:
        ack = await self.client.call("ai-resume", {"chatId": self.chat_id, "turnId": self.turn_id})
        assert ack["ok"] is True, ack
        self.view.replace(ack)

    async def follow(self, *, until: int | None = None) -> dict[str, Any]:
        """Follow the answer to its end, and return its turn; or to the number of a chunk."""
        async with asyncio.timeout(LIMIT_S):
            while until is None or self.view.last < until:
                name, data = await self.client.next_event(LIMIT_S)
                if name == "ai-chunk" and not self.view.accept(data):
                    await self.resume()
                if name == "ai-end":
                    turn: dict[str, Any] = data["turn"]
                    assert turn["last"] == self.view.last
                    return turn
        return {}


def pieces(seed: int, paragraphs: int) -> Iterator[str]:
    """A text in pieces that cut words, code fences and combined characters anywhere."""
    random = Random(seed)
    text = "".join(PARAGRAPHS[number % len(PARAGRAPHS)] for number in range(paragraphs))
    while text:
        cut = random.randint(1, 9)
        yield text[:cut]
        text = text[cut:]


@pytest.fixture
def gateways(redis: RedisServer) -> Iterator[list[Roomcast]]:
    env = environment(redis)
    with Roomcast.gateway(env=env) as first, Roomcast.gateway(env=env) as second:
        yield [first, second]


async def test_every_viewer_on_every_gateway_has_the_text_whenever_it_joined_or_was_cut(
    redis: RedisServer, gateways: list[Roomcast]
) -> None:
    async with worker(redis, "team") as writer, AsyncExitStack() as stack:

        async def connect(number: int) -> Viewer:
            client = ChatClient(gateways[number % 2].gateway_url)
            return Viewer(await stack.enter_async_context(client), "team", writer.turn_id)

        guide = await stack.enter_async_context(ChatClient(gateways[1].gateway_url))
        assert (await guide.join("team"))["ok"] is True
        viewers = [await connect(number) for number in range(6)]
        following: list[asyncio.Task[None]] = []

        async def watch(viewer: Viewer) -> None:
            await viewer.join()
            await viewer.follow()

        async def watch_with_a_reconnect(viewer: Viewer, at: int) -> None:
            await viewer.join()
            await viewer.follow(until=at)
            await viewer.client._client.disconnect()
            replacement = await connect(1)
            viewer.client = replacement.client
            await watch(viewer)

        for number, piece in enumerate(pieces(1, 12)):
            if number % 20 == 0 and number // 20 < len(viewers):
                viewer = viewers[number // 20]
                work = watch(viewer) if number % 40 else watch_with_a_reconnect(viewer, writer.last + 15)
                following.append(asyncio.create_task(work))
            await writer.write(piece)
            await asyncio.sleep(0.002)
        await writer.end()
        await asyncio.gather(*following)
        content = writer.answer.content()
        assert {viewer.view.text for viewer in viewers} == {content}
        assert content == "".join(pieces(1, 12))
        # The guide's client: one whole message, and no chunk.
        assert (await guide.next_message())["content"] == content
        assert [name for name, _ in guide.received if name not in {"presence", "ack:join-chat"}] == ["new-msg"]


async def test_a_viewer_receives_little_more_than_the_text(redis: RedisServer, gateways: list[Roomcast]) -> None:
    chat_id = new_id()
    async with (
        worker(redis, chat_id) as writer,
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{gateways[0].gateway_url}/socket.io/?EIO=4&transport=websocket") as socket,
    ):
        await socket.receive_str()
        await socket.send_str("40")
        await socket.send_str(f'421["join-chat",{{"chatId":"{chat_id}","stream":true}}]')
        while not (await socket.receive_str()).startswith("431["):
            pass
        for piece in pieces(2, 30):
            await writer.write(piece)
        await writer.end()
        received = 0
        while True:
            packet = await socket.receive_str()
            # Of frames of up to 64 KB the header has 4 bytes.
            if packet.startswith('42["ai-'):
                received += len(packet.encode()) + 4
            if packet.startswith('42["ai-end"'):
                break
        text = len(writer.answer.content().encode())
        # One frame more for the end of the turn.
        assert received <= 1.3 * text + 200 * (writer.frames + 1) + 200
        assert received > text


def token(user_id: str, *, service: bool = False) -> str:
    return TokenIssuer(AuthOptions(SECRET)).issue(user_id, ttl_s=60.0, service=service)


async def request(server: Roomcast, method: str, path: str, body: dict[str, Any] | None = None) -> None:
    headers = {"Authorization": f"Bearer {token('backend', service=True)}"}
    async with httpx.AsyncClient(base_url=server.api_url, headers=headers) as http:
        (await http.request(method, path, json=body)).raise_for_status()


async def test_a_removed_member_gets_no_further_chunk_and_no_snapshot(tmp_path, redis: RedisServer) -> None:
    env = environment(redis, ROOMCAST_SECRET=SECRET)
    with Roomcast.up(tmp_path / "data", env=env) as server:
        await request(server, "POST", "/api/chats", {"id": "team", "members": ["ann", "bob"]})
        async with (
            ChatClient(server.gateway_url, auth={"token": token("ann")}) as ann,
            ChatClient(server.gateway_url, auth={"token": token("bob")}) as bob,
            worker(redis, "team", api=True) as writer,
        ):
            for client in (ann, bob):
                assert (await client.call("join-chat", {"chatId": "team", "stream": True}))["ok"] is True
            await writer.write("before ")
            await request(server, "DELETE", "/api/chats/team/members/bob")
            async with asyncio.timeout(LIMIT_S):
                while (await bob.next_event())[0] != "member-removed":
                    pass
            await writer.write("after")
            viewer = Viewer(ann, "team", writer.turn_id)
            await viewer.follow(until=writer.last)
            assert viewer.view.text == "before after"
            refused = await bob.call("ai-resume", {"chatId": "team", "turnId": writer.turn_id})
            assert refused["error"]["code"] == "forbidden"
            assert [data["last"] for name, data in bob.received if name == "ai-chunk"] == [2]


async def test_a_stop_through_another_gateway_ends_the_answer_with_the_same_text_for_all(
    tmp_path, redis: RedisServer
) -> None:
    secret = {"ROOMCAST_SECRET": SECRET}
    with Roomcast.api(tmp_path / "data", env=environment(redis, ROOMCAST_RESPONDER="demo", **secret)) as api:
        env = environment(redis, API_URL=api.internal_url, **secret)
        with Roomcast.gateway(env=env) as first, Roomcast.gateway(env=env) as second:
            await request(api, "POST", "/api/chats", {"id": "team", "members": ["ann", "bob"]})
            async with (
                ChatClient(first.gateway_url, auth={"token": token("ann")}) as ann,
                ChatClient(second.gateway_url, auth={"token": token("bob")}) as bob,
                ChatClient(second.gateway_url, auth={"token": token("eve")}) as eve,
            ):
                for client in (ann, bob):
                    assert (await client.call("join-chat", {"chatId": "team", "stream": True}))["ok"] is True
                sent = await send(api.api_url, "team", "/long 500", token=token("ann"))
                turn_id = sent["turn"]["id"]
                viewers = [Viewer(client, "team", turn_id) for client in (ann, bob)]
                await asyncio.gather(*(viewer.follow(until=12) for viewer in viewers))
                stop = {"chatId": "team", "turnId": turn_id}
                assert (await eve.call("ai-stop", stop))["error"]["code"] == "forbidden"
                unknown = await bob.call("ai-stop", {**stop, "turnId": "none"})
                assert unknown["error"]["code"] == "turn-not-found"
                for change, code in (({"mutedFor": 600}, "muted"), ({"role": "reader", "mutedFor": 0}, "forbidden")):
                    await request(api, "PATCH", "/api/chats/team/members/bob", change)
                    refused = (await bob.call("ai-stop", stop))["error"]
                    assert (refused["code"], change.get("role", "muted") in refused["message"]) == (code, True)
                await request(api, "PATCH", "/api/chats/team/members/bob", {"role": "member"})
                assert await bob.call("ai-stop", stop) == {"ok": True, "turnId": turn_id}
                turns = await asyncio.gather(*(viewer.follow() for viewer in viewers))
                assert [(turn["status"], turn["reason"]) for turn in turns] == [("stopped", "by-user")] * 2
                # A repeat changes nothing, and a late viewer reads the message.
                assert (await bob.call("ai-stop", stop))["ok"] is True
            headers = {"Authorization": f"Bearer {token('ann')}"}
            async with httpx.AsyncClient(base_url=api.api_url, headers=headers) as http:
                question, answer = (await http.get("/api/chats/team/messages")).json()["messages"]
            assert (question["id"], answer["id"]) == (sent["id"], turn_id)
            assert (answer["role"], answer["turn"]["status"]) == ("AI", "stopped")
            assert {viewer.view.text for viewer in viewers} == {answer["content"]}
            assert len(answer["content"].split()) < 500


async def test_requests_about_answers_that_cannot_be_served_say_why(gateways: list[Roomcast]) -> None:
    async with ChatClient(gateways[0].gateway_url) as client:
        for event in ("ai-resume", "ai-stop"):
            for payload in (None, "team", {"chatId": "team"}, {"chatId": "team", "turnId": "a b"}):
                assert (await client.call(event, payload))["error"]["code"] == "invalid"
        # A gateway without an API knows no turn.
        ack = await client.call("ai-stop", {"chatId": "team", "turnId": "t1"})
        assert ack["error"]["code"] == "turn-not-found"
        # A resume needs a join with ``stream``.
        assert (await client.join("team"))["ok"] is True
        ack = await client.call("ai-resume", {"chatId": "team", "turnId": "t1"})
        assert (ack["error"]["code"], "stream: true" in ack["error"]["message"]) == ("forbidden", True)
