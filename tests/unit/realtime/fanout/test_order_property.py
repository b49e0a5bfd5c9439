"""The whole server against a reference model: what each client receives, for any operations in any tick."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from roomcast.realtime import EncodedEvent, Server, ServerOptions, Socket
from roomcast.wire.socketio import DEFAULT_NAMESPACE
from unit.realtime.conftest import Peer, settle

CLIENTS = st.integers(0, 3)
ROOMS = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.sampled_from(["/", "/n"])


class ServerAgainstReference(RuleBasedStateMachine):
    """Joins, leaves, emits, unicasts, acknowledgements, disconnects and reconnects over two namespaces."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.number = 0

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    @initialize()
    def start(self) -> None:
        self.server = Server(ServerOptions(namespaces=("/n",), flush_limit_bytes=200))

        for namespace in ("/", "/n"):
            self.server.on("ask", lambda sid, number: number, namespace=namespace)
        self.peers: dict[int, Peer] = {}
        self.sids: dict[tuple[int, str], str] = {}
        self.joined: set[tuple[int, str, str]] = set()
        self.expected: dict[int, list[str]] = {}
        self.actions: list[Any] = []
        for client in range(4):
            self.connect(client)

    def next(self) -> int:
        self.number += 1
        return self.number

    def connect(self, client: int) -> None:
        async def connect() -> None:
            peer = self.peers[client] = Peer(self.server)
            for namespace in ("/", "/n"):
                self.sids[client, namespace] = await peer.enter(namespace)

        self.run(connect())
        self.expected[client] = []

    def socket(self, client: int, namespace: str) -> Socket:
        return self.server.socket(self.sids[client, namespace], namespace)

    def expect(self, client: int, namespace: str, packet: str) -> None:
        prefix = "" if namespace == DEFAULT_NAMESPACE else f"{namespace},"
        kind, rest = packet[:2], packet[2:]
        self.expected[client].append(f"{kind}{prefix}{rest}")

    # `tick` runs the collected actions in one loop turn.

    @rule(client=CLIENTS, namespace=NAMESPACES, room=ROOMS)
    def join(self, client: int, namespace: str, room: str) -> None:
        if (client, namespace) in self.sids:
            socket = self.socket(client, namespace)
            self.actions.append(lambda: socket.join(room))
            self.joined.add((client, namespace, room))

    @rule(client=CLIENTS, namespace=NAMESPACES, room=ROOMS)
    def leave(self, client: int, namespace: str, room: str) -> None:
        if (client, namespace) in self.sids:
            socket = self.socket(client, namespace)
            self.actions.append(lambda: socket.leave(room))
            self.joined.discard((client, namespace, room))

    @rule(
        rooms=st.none() | st.sets(ROOMS | CLIENTS, min_size=1),
        skip=st.sets(ROOMS | CLIENTS, max_size=1),
        namespace=NAMESPACES,
    )
    def emit(self, rooms: set[str | int] | None, skip: set[str | int], namespace: str) -> None:
        number = self.next()

        def names(targets: set[str | int]) -> list[str]:
            return [self.sids.get((t, namespace), "gone") if isinstance(t, int) else t for t in targets]

        to, left_out = None if rooms is None else names(rooms), names(skip)
        self.actions.append(
            lambda: self.server.broadcast(to, EncodedEvent.from_args("e", number), namespace=namespace, skip=left_out)
        )
        for client, where in list(self.sids):
            if where != namespace:
                continue
            inside = {r for c, n, r in self.joined if (c, n) == (client, namespace)} | {client}
            if (rooms is None or inside & rooms) and not inside & skip:
                self.expect(client, namespace, f'42["e",{number}]')

    @rule(client=CLIENTS, namespace=NAMESPACES)
    def unicast(self, client: int, namespace: str) -> None:
        if (client, namespace) in self.sids:
            number = self.next()
            socket = self.socket(client, namespace)
            self.actions.append(lambda: socket.emit("u", number))
            self.expect(client, namespace, f'42["u",{number}]')

    @rule(client=CLIENTS, namespace=NAMESPACES)
    def acknowledge(self, client: int, namespace: str) -> None:
        if (client, namespace) in self.sids:
            number = self.next()
            prefix = "" if namespace == DEFAULT_NAMESPACE else f"{namespace},"
            self.actions.append(lambda: self.peers[client].say(f"42{prefix}{number}" + json.dumps(["ask", number])))
            self.expect(client, namespace, f"43{number}[{number}]")

    @rule(client=CLIENTS, namespace=NAMESPACES)
    def kick(self, client: int, namespace: str) -> None:
        if (client, namespace) in self.sids:
            socket = self.socket(client, namespace)
            del self.sids[client, namespace]
            self.tick_with(socket.disconnect)
            self.joined = {entry for entry in self.joined if entry[:2] != (client, namespace)}
            self.expected[client].append("41" if namespace == DEFAULT_NAMESPACE else f"41{namespace},")
            self.check()

    @rule(client=CLIENTS)
    def reconnect(self, client: int) -> None:
        self.tick_with(self.peers[client].connection.transport_closed)
        self.check()
        self.joined = {entry for entry in self.joined if entry[0] != client}
        self.connect(client)

    def tick_with(self, last: Any) -> None:
        """Run the collected actions and ``last`` in one loop turn, so that one log holds them all."""
        actions, self.actions = [*self.actions, last], []

        async def turn() -> None:
            for action in actions:
                action()
            await settle(3)
            while len(self.server.engine.log):  # noqa: ASYNC110 - a flush may be paced
                await asyncio.sleep(0)

        self.run(turn())

    @rule()
    def tick(self) -> None:
        self.tick_with(lambda: None)
        self.check()

    def check(self) -> None:
        for client, expected in self.expected.items():
            assert self.peers[client].transport.texts == expected

    def teardown(self) -> None:
        try:
            self.tick()
            self.run(self.server.shutdown())
        finally:
            self.runner.close()


TestServerAgainstReference = ServerAgainstReference.TestCase
TestServerAgainstReference.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
