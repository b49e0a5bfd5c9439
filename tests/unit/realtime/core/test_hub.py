from __future__ import annotations

import uuid
from typing import Any

import pytest

from roomcast.realtime import EncodedEvent, Server, SocketGone
from roomcast.realtime.adapters.memory import MemoryAdapter, MemoryBus
from roomcast.realtime.cluster.commands import Selection


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


async def test_any_hashable_is_a_room_of_a_single_server(peer: Any, settle: Any) -> None:
    server = Server()
    client, other = peer(server), peer(server)
    sid = await client.enter()
    await other.enter()
    row = uuid.uuid4()
    for room in (5, row, "5"):
        await server.enter_room(sid, room)
    assert set(server.rooms(sid)) == {sid, 5, row, "5"}
    await server.emit("one", room=5)
    await server.emit("several", to=[5, row])
    await server.to(row).emit("operator")
    server.broadcast(5, EncodedEvent.from_args("now"))  # type: ignore[arg-type]  # typed for names
    await server.leave_room(sid, 5)
    await server.emit("not", room=5)
    await server.emit("zero", room=0)
    await server.close_room(row)
    await server.emit("not", room=row)
    await server.emit("text", room="5")
    await settle()
    assert client.transport.texts == [f'42["{name}"]' for name in ("one", "several", "operator", "now", "text")]
    assert other.transport.texts == []


async def test_a_room_of_a_cluster_must_be_a_string() -> None:
    server = Server(adapter=MemoryAdapter(MemoryBus()))
    for use in (
        server.enter_room("sid", 5),
        server.leave_room("sid", 5),
        server.close_room(5),
        server.emit("x", room=5),
        server.emit("x", to=["a", 5]),
    ):
        with pytest.raises(TypeError, match="convert ids with str"):
            await use


async def test_a_client_that_is_gone_is_in_no_room_and_leaves_none() -> None:
    server = Server()
    assert server.rooms("gone") == []
    await server.leave_room("gone", "r")
    with pytest.raises(SocketGone):
        await server.enter_room("gone", "r")


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
