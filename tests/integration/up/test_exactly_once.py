"""Everything once and in order, while messages flow: joins in mid-stream, kills, and ends under load."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import httpx
import pytest

from support.clients import ChatClient, PollingClient, get
from support.processes import Roomcast

NO_ANSWERS = {"ROOMCAST_RESPONDER": "none", "LOG_LEVEL": "warning"}


class Follower:
    """Keeps a chat's messages over many connections, as an SDK does, and fails on a repeat or a hole."""

    def __init__(self, server: Roomcast, chat_id: str) -> None:
        self.server = server
        self.chat_id = chat_id
        self.cursor: dict[str, Any] | None = None
        self.contents: list[str] = []
        self.replayed = 0

    async def follow(self, until: asyncio.Event, rng: random.Random) -> None:
        """Connect, join, listen for a moment, cut; again and again."""
        while not until.is_set():
            await self.visit(rng.uniform(0.01, 0.2), by=rng.choice([ChatClient, PollingClient]))

    async def visit(self, stay_s: float, by: type[ChatClient | PollingClient] = ChatClient) -> None:
        """One connection."""
        async with by(self.server.gateway_url) as client:
            ack = await client.join(self.chat_id, since=self.cursor or await self._beginning())
            assert ack["ok"], ack
            assert ack["recovered"], ack
            before = [data for name, data in client.received[: self._ack_at(client)] if name == "new-msg"]
            self._take(before)
            self.replayed += len(before)
            assert self.cursor is not None
            assert self.cursor["seq"] == ack["seq"], "everything up to seq precedes the ack"
            await asyncio.sleep(stay_s)
            self._take([data for name, data in client.received[self._ack_at(client) :] if name == "new-msg"])

    def _ack_at(self, client: ChatClient | PollingClient) -> int:
        return [name for name, _ in client.received].index("ack:join-chat")

    async def _beginning(self) -> dict[str, Any]:
        page = await get(f"{self.server.api_url}/api/chats/{self.chat_id}/events", limit=1)
        self.cursor = {"epoch": page["epoch"], "seq": 0}
        return self.cursor

    def _take(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            assert self.cursor is not None
            assert message["seq"] == self.cursor["seq"] + 1, (message["seq"], self.cursor)
            self.cursor = {"epoch": message["epoch"], "seq": message["seq"]}
            self.contents.append(message["content"])


async def post(server: Roomcast, count: int, *, name: str = "m", limit_s: float = 20.0) -> list[str]:
    """Send until ``count`` messages were acknowledged or the server is gone; what was acknowledged."""
    acknowledged: list[str] = []
    async with httpx.AsyncClient(timeout=limit_s) as http:
        for number in range(count):
            content = f"{name}-{number}"
            body = {"chatId": "c1", "role": "USER", "content": content, "clientMsgId": content}
            try:
                answer = await http.post(f"{server.api_url}/api/chat/messages", json=body)
            except httpx.HTTPError:
                break
            if answer.status_code not in {200, 201}:
                break
            acknowledged.append(content)
    return acknowledged


async def test_joins_in_mid_stream_see_every_message_once_in_one_order(tmp_path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        followers = [Follower(server, "c1") for _ in range(6)]
        over = asyncio.Event()
        following = [
            asyncio.create_task(follower.follow(over, random.Random(seed))) for seed, follower in enumerate(followers)
        ]
        sent = await asyncio.gather(*(post(server, 60, name=f"sender-{number}") for number in range(4)))
        over.set()
        await asyncio.gather(*following)
        for follower in followers:
            await follower.visit(0.0)
        orders = [follower.contents for follower in followers]
        assert sorted(orders[0]) == sorted(content for contents in sent for content in contents)
        assert all(order == orders[0] for order in orders)
        assert sum(follower.replayed for follower in followers) > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path, seed) -> None:
    rng = random.Random(seed)
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        follower = Follower(server, "c1")
        await follower.visit(0.0)
        sending = [asyncio.create_task(post(server, 500, name=f"s{number}")) for number in range(4)]
        await asyncio.sleep(rng.uniform(0.1, 0.6))
        server.kill()
        acknowledged = {content for contents in await asyncio.gather(*sending) for content in contents}
        assert acknowledged
        server.start()
        # A repeat of what was not acknowledged changes nothing if it was stored all the same.
        await post(server, 5, name="after")
        await follower.visit(0.1)
        assert acknowledged <= set(follower.contents)
        assert len(set(follower.contents)) == len(follower.contents)
        assert follower.contents[-5:] == [f"after-{number}" for number in range(5)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_end_under_load_takes_less_than_five_seconds_and_loses_nothing(tmp_path, number) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with (
            ChatClient(server.gateway_url) as ada,
            ChatClient(server.gateway_url, transports=("polling",)) as bob,
        ):
            await ada.join("c1")
            await bob.join("c1")
            sending = [asyncio.create_task(post(server, 2_000, name=f"s{sender}")) for sender in range(4)]
            await asyncio.sleep(0.3)
            code, took = await asyncio.to_thread(server.stop, number)
            acknowledged = {content for contents in await asyncio.gather(*sending) for content in contents}
        assert code == 0, server.output
        assert took < 5
        assert "Traceback" not in server.output
        server.start()
        follower = Follower(server, "c1")
        while not acknowledged <= set(follower.contents):
            before = len(follower.contents)
            page = await get(f"{server.api_url}/api/chats/c1/messages", after=before, limit=200)
            follower.contents += [message["content"] for message in page["messages"]]
            assert len(follower.contents) > before, "acknowledged, and gone"
