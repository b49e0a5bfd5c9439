"""Recovery over an adapter with one order, with the order given by the test."""

from __future__ import annotations

import json
from typing import Any

from roomcast.realtime import EncodedEvent, RecoveryOptions, Server, ServerOptions
from roomcast.realtime.adapters.redis import RedisStreamsAdapter
from roomcast.realtime.cluster.commands import Broadcast, Command, Join, Leave, Selection
from unit.realtime.conftest import Peer, settle


class GivenOrder(RedisStreamsAdapter):
    """Keeps sessions in a dict that the servers share, and sends nothing."""

    def __init__(self, sessions: dict[str, Any]) -> None:
        super().__init__()
        self._sessions = sessions

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def serve(self, namespace: str) -> None:
        pass

    def unserve(self, namespace: str) -> None:
        pass

    def publish_in_order(self, command: Command) -> None:
        pass

    def save_session(self, pid: str, session: Any, _ttl_s: float) -> None:
        self._sessions[pid] = json.loads(json.dumps(session))

    async def take_session(self, _namespace: str, pid: str) -> Any:
        return self._sessions.pop(pid, None)


async def test_a_client_that_left_a_room_during_a_gap_of_its_server_is_not_in_it_on_another_server() -> None:
    sessions: dict[str, Any] = {}
    servers = [Server(ServerOptions(recovery=RecoveryOptions()), adapter=GivenOrder(sessions)) for _ in range(2)]
    with_gap, other = (server.engine.recovery for server in servers)
    secret = EncodedEvent.from_args("secret")

    def to_both(command: Command, offset: tuple[int, int]) -> None:
        for recovery in (with_gap, other):
            recovery.apply_in_order(command, offset, own=False)

    for recovery in (with_gap, other):
        recovery.begin((1, 0), (1, 0), gap=False)
    client = Peer(servers[0])
    client.say("40")
    await settle()
    first = json.loads(client.transport.texts[-1][2:])
    own = Selection("/", (first["sid"],))
    to_both(Join(own, ("room",)), (2, 0))
    to_both(Broadcast(Selection("/", ("room",)), secret), (3, 0))
    await settle()
    other.apply_in_order(Leave(own, ("room",)), (4, 0), own=False)
    other.apply_in_order(Broadcast(Selection("/", None), secret), (5, 0), own=False)
    with_gap.begin((5, 0), (5, 0), gap=True)
    await settle(30)
    returned = Peer(servers[1])
    returned.say("40" + json.dumps({"pid": first["pid"], "offset": "3-0"}))
    await settle(60)
    other.apply_in_order(Broadcast(Selection("/", ("room",)), secret), (6, 0), own=False)
    await settle(30)
    (socket,) = servers[1].sockets()
    assert "room" not in socket.rooms
    assert not [text for text in returned.transport.texts if "6-0" in text]
    for server in servers:
        await server.engine.abort()
