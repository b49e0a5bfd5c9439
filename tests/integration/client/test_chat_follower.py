"""`ChatFollower` against a server that is written here, whose gateway misbehaves as no real one does on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from roomcast.client.api import Api
from roomcast.client.chat_follower import ChatFollower, Event, Reset
from roomcast.client.errors import Refused, Unreachable
from roomcast.contract.errors import ErrorCode

CHAT = "team"
Script = Callable[["Gateway"], Awaitable[None]]


class Gateway:
    """One connection, as the script of the server sees it."""

    def __init__(self, socket: ServerConnection, server: ScriptedServer) -> None:
        self.socket = socket
        self.server = server
        self.join: dict[str, Any] = {}

    async def hand_shake(self) -> None:
        """Up to the join of the client."""
        await self.socket.send(f"0{json.dumps(self.server.times)}")
        assert str(await self.socket.recv()).startswith("40")
        await self.socket.send('40{"sid":"s"}')
        frame = str(await self.socket.recv())
        assert frame.startswith("421[")
        self.join = json.loads(frame[3:])[1]

    async def ack(self, seq: int, *, recovered: bool = True, **fields: Any) -> None:
        """Answer the join."""
        answer = {"ok": True, "chatId": CHAT, "epoch": self.server.epoch, "seq": seq, "recovered": recovered, **fields}
        await self.socket.send(f"431{json.dumps([answer])}")

    async def emit(self, name: str, **data: Any) -> None:
        """Send an event of the chat."""
        await self.socket.send(f"42{json.dumps([name, {'chatId': CHAT, 'epoch': self.server.epoch, **data}])}")


class ScriptedServer:
    """An API with stored events, and a gateway that follows one script for each connection, in order.

    Attributes:
        last: The stored events are 1 to this.
        epoch: The current epoch; a cursor of another one is reset unless it is in ``lineage``.
        pages: The seq after which each page of events began.
    """

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.last = 0
        self.epoch = "e1"
        self.lineage = {"e1"}
        self.times = {"sid": "s", "pingInterval": 25_000, "pingTimeout": 20_000}
        self.joins: list[dict[str, Any]] = []
        self.pages: asyncio.Queue[int] = asyncio.Queue()
        self.url = ""

    def message(self, seq: int) -> dict[str, Any]:
        """A stored message."""
        return {"chatId": CHAT, "epoch": self.epoch, "seq": seq, "content": f"{self.epoch}:{seq}"}

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The API; None: the gateway answers."""
        parts = urlsplit(request.path)
        if parts.path.startswith("/socket.io/"):
            return None
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        after, limit = int(query["after"]), int(query["limit"])
        reset = query.get("epoch", self.epoch) not in self.lineage
        seqs = [] if reset else list(range(after + 1, self.last + 1))[:limit]
        events = [
            {"seq": seq, "type": "message-created", "event": "new-msg", "data": self.message(seq)} for seq in seqs
        ]
        more = bool(seqs) and seqs[-1] < self.last
        self.pages.put_nowait(after)
        page = {"epoch": self.epoch, "events": events, "seq": self.last, "more": more, "reset": reset}
        body = json.dumps(page).encode()
        headers = Headers({"Content-Length": str(len(body)), "Content-Type": "application/json"})
        return Response(200, "OK", headers, body)

    async def connected(self, socket: ServerConnection) -> None:
        """The gateway. After the last script it keeps the connection open."""
        gateway = Gateway(socket, self)
        script = self.scripts.pop(0)
        if script in {not_a_gateway, refusing}:
            await script(gateway)
            return
        await gateway.hand_shake()
        self.joins.append(gateway.join)
        await script(gateway)
        if not self.scripts:
            await socket.wait_closed()


async def not_a_gateway(gateway: Gateway) -> None:
    await gateway.socket.send("hello")


async def refusing(gateway: Gateway) -> None:
    await gateway.socket.send(f"0{json.dumps(gateway.server.times)}")
    assert await gateway.socket.recv() == '40{"token": "t"}'
    await gateway.socket.send('44{"message":"the token has expired","data":{"code":"unauthorized"}}')
    await gateway.socket.wait_closed()


@asynccontextmanager
async def running(server: ScriptedServer) -> AsyncIterator[Server]:
    async with serve(server.connected, "127.0.0.1", 0, process_request=server.answer) as listener:
        server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        yield listener


class Following:
    """What a follower returns: contents of messages, ``reset`` and names of other events; and the causes it names."""

    def __init__(self, server: ScriptedServer) -> None:
        self.causes: list[str] = []
        self._server = server

    async def items(self, count: int) -> list[str]:
        """So many items, from the first event on."""

        async def begin(_head: int) -> int:
            return 0

        found: list[str] = []
        async with asyncio.timeout(10), running(self._server), Api(self._server.url, lambda: "t") as api:
            follower = ChatFollower(api, self._server.url, CHAT, begin, changed=self._changed)
            for items in (follower.history(), follower.follow()):
                async with aclosing(items):
                    while len(found) < count:
                        item = await anext(items, None)
                        if item is None:
                            break
                        found.append(self._text(item))
        return found

    def _changed(self, error: Unreachable | None) -> None:
        self.causes.append("joined" if error is None else str(error))

    @staticmethod
    def _text(item: Event | Reset) -> str:
        if isinstance(item, Reset):
            return "reset"
        return str(item.data.get("content", item.name))


async def test_repeats_are_dropped_and_a_gap_is_fetched() -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.ack(2)
        await gateway.emit("new-msg", seq=2, content="again")
        await gateway.emit("new-msg", seq=3, content="live 3")
        server.last = 5
        await gateway.emit("new-msg", seq=5, content="live 5")
        await gateway.emit("new-msg", seq=4, content="again")
        await gateway.emit("new-msg", seq=6, content="live 6")

    server = ScriptedServer(script)
    server.last = 2
    assert await Following(server).items(6) == ["e1:1", "e1:2", "live 3", "e1:4", "e1:5", "live 6"]


async def test_after_a_lost_connection_the_replay_continues_at_the_cursor() -> None:
    async def first(gateway: Gateway) -> None:
        await gateway.ack(1)
        await gateway.emit("new-msg", seq=2, content="live 2")

    async def second(gateway: Gateway) -> None:
        await gateway.emit("new-msg", seq=3, content="replayed 3")
        await gateway.ack(3)
        await gateway.emit("new-msg", seq=4, content="live 4")

    server = ScriptedServer(first, second)
    server.last = 1
    following = Following(server)
    assert await following.items(4) == ["e1:1", "live 2", "replayed 3", "live 4"]
    assert server.joins[1]["since"] == {"epoch": "e1", "seq": 2}
    assert following.causes[0] == following.causes[-1] == "joined"


async def test_what_a_replay_lacks_is_fetched() -> None:
    async def script(gateway: Gateway) -> None:
        server.last = 3
        await gateway.ack(3, recovered=False)
        await gateway.emit("new-msg", seq=4, content="live 4")

    server = ScriptedServer(script)
    assert await Following(server).items(4) == ["e1:1", "e1:2", "e1:3", "live 4"]


async def test_a_resync_fetches_and_the_api_decides_whether_the_history_is_another_one() -> None:
    async def script(gateway: Gateway) -> None:
        await server.pages.get()
        await gateway.ack(0)
        server.last = 2
        await gateway.emit("resync", seq=2, reset=False)
        assert await server.pages.get() == 0
        # A restart of the API begins an epoch, and the cursor is still valid.
        server.epoch, server.last = "e2", 3
        server.lineage.add("e2")
        await gateway.emit("resync", seq=3, reset=True)
        assert await server.pages.get() == 2
        await gateway.emit("new-msg", seq=4, content="live 4")
        # A restored backup.
        server.epoch, server.lineage, server.last = "e3", {"e3"}, 1
        await gateway.emit("resync", seq=1, reset=True)
        await gateway.emit("new-msg", seq=2, content="live 2")

    server = ScriptedServer(script)
    expected = ["e1:1", "e1:2", "e2:3", "live 4", "reset", "e3:1", "live 2"]
    assert await Following(server).items(7) == expected


async def test_a_join_with_another_history_begins_again() -> None:
    async def script(gateway: Gateway) -> None:
        server.epoch, server.lineage, server.last = "e2", {"e2"}, 1
        await gateway.ack(1, recovered=False, reset=True)

    server = ScriptedServer(script)
    server.last = 2
    assert await Following(server).items(4) == ["e1:1", "e1:2", "reset", "e2:1"]


async def test_events_that_are_not_stored_are_no_events() -> None:
    async def script(gateway: Gateway) -> None:
        await gateway.ack(0)
        await gateway.emit("typing", userId="u", typing=True)
        await gateway.emit("chat-activity", seq=1)
        await gateway.emit("new-msg", seq=1, content="live 1")

    assert await Following(ScriptedServer(script)).items(1) == ["live 1"]


async def test_a_silent_connection_is_replaced_after_the_announced_time() -> None:
    async def silent(gateway: Gateway) -> None:
        server.times = patient
        await gateway.ack(0)
        await gateway.socket.wait_closed()

    async def pinging(gateway: Gateway) -> None:
        await gateway.ack(0)
        for _ in range(3):
            await gateway.socket.send("2")
            assert await gateway.socket.recv() == "3"
        await gateway.emit("new-msg", seq=1, content="live 1")

    server = ScriptedServer(silent, pinging)
    patient, server.times = server.times, {"sid": "s", "pingInterval": 200, "pingTimeout": 200}
    following = Following(server)
    assert await following.items(1) == ["live 1"]
    assert any("does not answer" in cause for cause in following.causes)


async def test_a_join_that_fails_for_now_is_repeated_and_one_that_is_refused_is_not() -> None:
    def answering(code: str) -> Script:
        async def script(gateway: Gateway) -> None:
            answer = {"ok": False, "error": {"code": code, "message": f"{code}!"}}
            await gateway.socket.send(f"431{json.dumps([answer])}")
            await gateway.socket.wait_closed()

        return script

    repeated = ("unavailable", "rate-limited", "internal")
    following = Following(ScriptedServer(*map(answering, (*repeated, "forbidden"))))
    with pytest.raises(Refused, match="forbidden!") as refused:
        await following.items(1)
    assert refused.value.code == ErrorCode.CHAT_NOT_FOUND
    assert following.causes == [f"the gateway says: {code}!" for code in repeated]


async def test_a_refused_token_ends_and_another_server_is_tried_again() -> None:
    following = Following(ScriptedServer(not_a_gateway, refusing))
    with pytest.raises(Refused, match="the token has expired"):
        await following.items(1)
    assert "does not answer as a gateway" in following.causes[0]
