from __future__ import annotations

from typing import Any

from roomcast.realtime import EncodedEvent, Server
from roomcast.realtime.core.cluster import Selection


async def test_a_selection_takes_each_socket_once_and_leaves_out_the_skipped_ones(peer: Any) -> None:
    server = Server()
    sids = [await peer(server).enter() for _ in range(4)]
    for sid, rooms in zip(sids, ("ab", "a", "b", ""), strict=True):
        for room in rooms:
            server.socket(sid).join(room)

    def selected(rooms: tuple[str, ...] | None, *skip: str) -> list[int]:
        return sorted(sids.index(socket.sid) for socket in server.engine.members(Selection("/", rooms, skip)))

    assert selected(None) == [0, 1, 2, 3]
    assert selected(None, "a", sids[3]) == [2]
    assert selected(("a", "b", sids[0])) == [0, 1, 2]
    assert selected(("a", sids[3]), "b") == [1, 3]
    assert selected(("unknown",)) == []


async def test_a_broadcast_to_socket_ids_and_rooms_reaches_each_client_once(peer: Any) -> None:
    server = Server()
    clients = [peer(server) for _ in range(3)]
    sids = [await client.enter() for client in clients]
    server.socket(sids[0]).join("r")

    def emit(*to: str, skip: tuple[str, ...] = ()) -> list[int]:
        server.broadcast(to, EncodedEvent.from_args("x"), skip=skip)
        server.engine.log.flush()
        received = [len(client.transport.texts) for client in clients]
        for client in clients:
            client.transport.messages.clear()
        return received

    assert emit("r", sids[0], sids[1]) == [1, 1, 0]
    assert emit(sids[1], sids[2]) == [0, 1, 1]
    assert emit(sids[1]) == [0, 1, 0]
    assert emit(sids[1], skip=(sids[1],)) == [0, 0, 0]
    assert emit("r", sids[2], skip=("r",)) == [0, 0, 1]
