"""Clients that are cut at random, and lose what was on its way, receive each of their events once and in order."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomcast.realtime import RecoveryOptions, Server, ServerOptions
from support.virtual_time import run_in_virtual_time

ROOMS = ("r", "s", "t")
CLIENTS = 3
ONE_OF = st.integers(0, CLIENTS - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("emit"), st.lists(st.sampled_from(ROOMS), max_size=2), st.sampled_from([None, *ROOMS])),
        st.tuples(st.just("emit_to"), ONE_OF),
        st.tuples(st.just("volatile"), st.sampled_from(ROOMS)),
        st.tuples(st.just("join"), ONE_OF, st.sampled_from(ROOMS)),
        st.tuples(st.just("leave"), ONE_OF, st.sampled_from(ROOMS)),
        st.tuples(st.just("close_room"), st.sampled_from(ROOMS)),
        st.tuples(st.just("cut"), ONE_OF, st.integers(0, 3)),
        st.tuples(st.just("come_back"), ONE_OF),
    ),
    max_size=40,
)


class Client:
    """A client, and what it should have."""

    def __init__(self) -> None:
        self.peer: Any = None
        self.away = False
        self.sid = self.pid = ""
        self.offset: str | None = None
        self.got: list[int] = []
        self.rooms: set[str] = set()
        self.expected: list[int] = []

    def read(self, lost: int = 0) -> None:
        """Receive what was sent, without the last messages."""
        texts = self.peer.transport.texts
        for text in texts[: len(texts) - lost]:
            data = json.loads(text[2:])
            if text.startswith("40"):
                assert not self.pid or (data["sid"], data["pid"]) == (self.sid, self.pid)
                self.sid, self.pid = data["sid"], data["pid"]
                continue
            if isinstance(data[-1], str):
                self.offset = data[-1]
            if data[0] == "n":
                self.got.append(data[1])
        self.peer.transport.messages.clear()


# The fixtures are a class and a function.
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_each_event_arrives_once_and_in_order(peer: Any, settle: Any, steps: list[Any]) -> None:
    run_in_virtual_time(Scenario(peer, settle).run(steps))


class Scenario:
    """A server and its clients."""

    def __init__(self, peer: Any, settle: Any) -> None:
        self._peer, self._settle = peer, settle
        self.server = Server(ServerOptions(recovery=RecoveryOptions()))
        self.clients = [Client() for _ in range(CLIENTS)]

    async def run(self, steps: list[Any]) -> None:
        for client in self.clients:
            await self.connect(client)
        for number, (step, *arguments) in enumerate(steps):
            await getattr(self, step)(number, *arguments)
        for index, client in enumerate(self.clients):
            await self.come_back(len(steps), index)
            assert client.got == client.expected
            assert self.server.socket(client.sid).rooms == client.rooms
        await self.server.shutdown()

    async def connect(self, client: Client) -> None:
        claim = {"pid": client.pid} if client.pid else {}
        client.peer = self._peer(self.server)
        client.peer.say("40" + json.dumps(claim | ({} if client.offset is None else {"offset": client.offset})))
        await self._settle(30)
        client.read()
        client.away = False

    async def emit(self, number: int, rooms: list[str], skip: str | None) -> None:
        await self.server.emit("n", number, to=rooms or None, skip_sid=[] if skip is None else [skip])
        for client in self.clients:
            if (not rooms or client.rooms & set(rooms)) and skip not in client.rooms:
                client.expected.append(number)

    async def emit_to(self, number: int, index: int) -> None:
        await self.server.emit("n", number, to=self.clients[index].sid)
        self.clients[index].expected.append(number)

    async def volatile(self, _number: int, room: str) -> None:
        await self.server.emit("volatile", "text", to=room, volatile=True)

    async def join(self, _number: int, index: int, room: str) -> None:
        await self.server.enter_room(self.clients[index].sid, room)
        self.clients[index].rooms.add(room)

    async def leave(self, _number: int, index: int, room: str) -> None:
        await self.server.leave_room(self.clients[index].sid, room)
        self.clients[index].rooms.discard(room)

    async def close_room(self, _number: int, room: str) -> None:
        await self.server.close_room(room)
        for client in self.clients:
            client.rooms.discard(room)

    async def cut(self, _number: int, index: int, lost: int) -> None:
        client = self.clients[index]
        if not client.away:
            await self._settle(2)
            client.read(min(lost, len(client.peer.transport.texts)))
            client.peer.connection.transport_closed()
            await self._settle()
            client.away = True

    async def come_back(self, _number: int, index: int) -> None:
        """Connect again, also if the server does not know that the first connection has ended."""
        client = self.clients[index]
        await self._settle(2)
        client.read()
        await self.connect(client)
