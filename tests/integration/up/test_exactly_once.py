"""Each message once and in order while messages flow: joins, kills, and shutdowns under load."""

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
    """Collects the messages of a chat over many connections, as the SDK does, and fails on a repeat or a gap."""

    def __init__(self, server: Roomcast, chat_id: str) -> None:
        self.server = server
        self.chat_id = chat_id
        self.cursor: dict[str, Any] | None = None
        self.contents: list[str] = []
        self.replayed = 0

    async def follow(self, until: asyncio.Event, rng: random.Random) -> None:
        """Connect, join, receive for a moment, disconnect, and repeat."""
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


class Acknowledged:
    """The acknowledged contents, and an event for when there are enough of them."""

    def __init__(self, awaited: int = 0) -> None:
        self.contents: set[str] = set()
        self.reached = asyncio.Event()
        self._awaited = awaited

    def add(self, content: str) -> None:
        self.contents.add(content)
        if len(self.contents) >= self._awaited:
            self.reached.set()


async def post(server: Roomcast, count: int, acknowledged: Acknowledged, *, name: str = "m") -> None:
    """Send until ``count`` messages were acknowledged or the server is down."""
    async with httpx.AsyncClient(timeout=20.0) as http:
        for number in range(count):
            content = f"{name}-{number}"
            body = {"chatId": "c1", "role": "USER", "content": content, "clientMsgId": content}
            try:
                answer = await http.post(f"{server.api_url}/api/chat/messages", json=body)
            except httpx.HTTPError:
                return
            if answer.status_code not in {200, 201}:
                return
            acknowledged.add(content)


def senders(server: Roomcast, count: int, acknowledged: Acknowledged) -> list[asyncio.Task[None]]:
    """Four concurrent senders."""
    return [asyncio.create_task(post(server, count, acknowledged, name=f"sender-{n}")) for n in range(4)]


async def test_joins_while_messages_flow_receive_each_message_once_in_one_order(tmp_path) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        followers = [Follower(server, "c1") for _ in range(6)]
        over = asyncio.Event()
        following = [
            asyncio.create_task(follower.follow(over, random.Random(seed))) for seed, follower in enumerate(followers)
        ]
        sent = Acknowledged()
        await asyncio.gather(*senders(server, 40, sent))
        over.set()
        await asyncio.gather(*following)
        for follower in followers:
            await follower.visit(0.0)
        orders = [follower.contents for follower in followers]
        assert sorted(orders[0]) == sorted(sent.contents)
        assert len(sent.contents) == 160
        assert all(order == orders[0] for order in orders)
        assert sum(follower.replayed for follower in followers) > 0


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_acknowledged_messages_survive_a_kill_at_any_moment(tmp_path, seed) -> None:
    rng = random.Random(seed)
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        follower = Follower(server, "c1")
        await follower.visit(0.0)
        acknowledged = Acknowledged(awaited=rng.randint(1, 150))
        sending = senders(server, 500, acknowledged)
        await acknowledged.reached.wait()
        await asyncio.sleep(rng.uniform(0, 0.01))
        server.kill()
        await asyncio.gather(*sending)
        server.start()
        await post(server, 5, acknowledged, name="after")
        await follower.visit(0.1)
        assert acknowledged.contents <= set(follower.contents)
        assert len(set(follower.contents)) == len(follower.contents)
        assert follower.contents[-5:] == [f"after-{number}" for number in range(5)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_shutdown_under_load_takes_less_than_five_seconds_and_loses_nothing(tmp_path, number) -> None:
    with Roomcast.up(tmp_path / "data", env=NO_ANSWERS) as server:
        async with (
            ChatClient(server.gateway_url) as ada,
            ChatClient(server.gateway_url, transports=("polling",)) as bob,
        ):
            await ada.join("c1")
            await bob.join("c1")
            acknowledged = Acknowledged(awaited=50)
            sending = senders(server, 2_000, acknowledged)
            await acknowledged.reached.wait()
            code, took = await asyncio.to_thread(server.stop, number)
            await asyncio.gather(*sending)
        assert code == 0, server.output
        assert took < 5
        assert "Traceback" not in server.output
        server.start()
        follower = Follower(server, "c1")
        while not acknowledged.contents <= set(follower.contents):
            before = len(follower.contents)
            page = await get(f"{server.api_url}/api/chats/c1/messages", after=before, limit=200)
            follower.contents += [message["content"] for message in page["messages"]]
            assert len(follower.contents) > before, "acknowledged, but not stored"
