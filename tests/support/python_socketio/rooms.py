"""Cases of rooms, sessions, the end of a client, and what can be read of the manager."""

from __future__ import annotations

import asyncio
from typing import Any

from support.python_socketio.world import LIMIT_S, NOTHING_S, Peer, World


async def _two(world: World) -> tuple[Any, Peer, Peer]:
    sio = world.server()
    return sio, await world.open(), await world.open()


async def _events(world: World, *peers: Peer) -> Any:
    for peer in peers:
        await peer.ask("sync")
    return world.seen([[item for item in peer.got if item != ["connect"]] for peer in peers])


async def enter_leave_and_emit(world: World) -> Any:
    sio, a, b = await _two(world)
    await sio.enter_room(a.get_sid(), "r")
    await sio.enter_room(b.get_sid(), "r")
    await sio.emit("one", room="r")
    await sio.leave_room(b.get_sid(), "r")
    await sio.emit("two", room="r")
    await sio.emit("three", to=b.get_sid())
    await sio.emit("four")
    return await _events(world, a, b)


async def close_room(world: World) -> Any:
    sio, a, b = await _two(world)
    await sio.enter_room(a.get_sid(), "r")
    await sio.enter_room(b.get_sid(), "r")
    await sio.close_room("r")
    await sio.emit("one", room="r")
    return [await _events(world, a, b), world.seen([sio.rooms(a.get_sid()), "r" in sio.manager.rooms["/"]])]


async def several_rooms_at_once(world: World) -> Any:
    sio, a, b = await _two(world)
    for room in ("x", "y"):
        await sio.enter_room(a.get_sid(), room)
    await sio.enter_room(b.get_sid(), "y")
    await sio.emit("one", room=["x", "y"])
    await sio.emit("two", to=["x", b.get_sid()])
    return await _events(world, a, b)


async def skips(world: World) -> Any:
    sio, a, b = await _two(world)
    await sio.emit("one", skip_sid=a.get_sid())
    await sio.emit("two", skip_sid=[a.get_sid(), b.get_sid()])
    await sio.emit("three", skip_sid=None)
    return await _events(world, a, b)


async def rooms_that_are_numbers(world: World) -> Any:
    sio, a, b = await _two(world)
    await sio.enter_room(a.get_sid(), 5)
    await sio.emit("one", room=5)
    await sio.emit("two", to=5)
    await sio.emit("three", room=[5, 6])
    rooms = sorted(map(str, sio.rooms(a.get_sid())), key=len)
    members = [sid for sid, _ in sio.manager.get_participants("/", 5)]
    await sio.leave_room(a.get_sid(), 5)
    await sio.emit("four", room=5)
    return [await _events(world, a, b), world.seen([rooms, members])]


async def room_zero(world: World) -> Any:
    sio, a, b = await _two(world)
    await sio.enter_room(a.get_sid(), 0)
    await sio.emit("one", to=0)
    return await _events(world, a, b)


async def empty_room_name(world: World) -> Any:
    sio, a, _ = await _two(world)
    await sio.emit("one", to="")
    return await _events(world, a)


async def empty_list_of_rooms(world: World) -> Any:
    sio, a, _ = await _two(world)
    await sio.emit("one", room=[])
    return await _events(world, a)


async def unknown_room(world: World) -> Any:
    sio, a, _ = await _two(world)
    await sio.emit("one", room="nothing")
    await sio.emit("two", namespace="/nothing")
    await sio.close_room("nothing")
    await sio.leave_room(a.get_sid(), "nothing")
    return await _events(world, a)


async def rooms_of_a_client(world: World) -> Any:
    sio, a, _ = await _two(world)
    for room in ("b", "a"):
        await sio.enter_room(a.get_sid(), room)
    return world.seen(sorted(sio.rooms(a.get_sid()), key=lambda room: (len(room), room)))


async def leaving_the_own_room(world: World) -> Any:
    sio, a, _ = await _two(world)
    await sio.leave_room(a.get_sid(), a.get_sid())
    await sio.emit("one", to=a.get_sid())
    return await _events(world, a)


async def unknown_client(world: World) -> Any:
    sio = world.server()
    await world.open()
    sid = "nobody"
    await sio.emit("x", to=sid)
    await sio.leave_room(sid, "r")
    await sio.disconnect(sid)
    return [sio.rooms(sid), sio.get_environ(sid), sio.manager.is_connected(sid, "/")]


async def unknown_client_errors(world: World) -> Any:
    sio = world.server()
    await world.open()
    errors = []
    calls: list[Any] = [
        lambda: sio.enter_room("nobody", "r"),
        lambda: sio.enter_room("nobody", "r", namespace="/nothing"),
        lambda: sio.get_session("nobody"),
        lambda: sio.save_session("nobody", {}),
        lambda: asyncio.to_thread(sio.transport, "nobody"),
    ]
    for call in calls:
        try:
            await call()
        except (KeyError, ValueError) as error:
            errors.append("KeyError" if isinstance(error, KeyError) else "ValueError")
    return errors


async def rooms_of_other_clients(world: World) -> Any:
    sio, a, b = await _two(world)
    errors = []
    for call in (
        lambda: sio.enter_room(a.get_sid(), b.get_sid()),
        lambda: sio.close_room(b.get_sid()),
        lambda: sio.enter_room(a.get_sid(), a.get_sid()),
    ):
        try:
            await call()
            errors.append("")
        except ValueError as error:
            errors.append(str(error))
    return errors


async def session_context(world: World) -> Any:
    sio, a, b = await _two(world)
    async with sio.session(a.get_sid()) as session:
        session["name"] = "a"
    await sio.save_session(b.get_sid(), {"name": "b"})
    return [await sio.get_session(a.get_sid()), await sio.get_session(b.get_sid())]


async def server_disconnects(world: World) -> Any:
    sio, a, _ = await _two(world)
    reasons: list[Any] = []
    sio.on("disconnect", lambda sid, reason: reasons.append(reason))
    sid = a.get_sid()
    await sio.emit("last", to=sid)
    await sio.disconnect(sid)
    reasons.append("returned")
    await asyncio.wait_for(a.ended.wait(), LIMIT_S)
    return [a.got[1:], reasons, sio.rooms(sid)]


async def disconnect_waits_for_the_handler(world: World) -> Any:
    sio, a, _ = await _two(world)
    order: list[str] = []

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        await asyncio.sleep(0.02)
        order.append("handled")

    await sio.disconnect(a.get_sid())
    order.append("returned")
    await asyncio.sleep(NOTHING_S)
    return order


async def disconnect_in_an_event(world: World) -> Any:
    sio = world.server()
    reasons: list[Any] = []
    sio.on("disconnect", lambda sid, reason: reasons.append(reason))

    @sio.event
    async def leave(sid: str) -> None:
        await sio.emit("bye", to=sid)
        await sio.disconnect(sid)
        await sio.emit("late", to=sid)

    a = await world.open()
    await a.emit("leave")
    await asyncio.wait_for(a.ended.wait(), LIMIT_S)
    await asyncio.sleep(NOTHING_S)
    return [a.got[1:], reasons]


async def _disconnected(world: World, handler: Any) -> None:
    sio = world.sio
    done = asyncio.Event()

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        await handler(sid, reason)
        done.set()

    peer = await world.open()
    await sio.enter_room(peer.get_sid(), "r")
    await sio.save_session(peer.get_sid(), {"name": "a"})
    await peer.disconnect()
    await asyncio.wait_for(done.wait(), LIMIT_S)


async def client_disconnects(world: World) -> Any:
    sio = world.server()
    seen: list[Any] = []

    async def handler(sid: str, reason: str) -> None:
        rooms = ["own" if room == sid else room for room in sio.rooms(sid)]
        seen.extend([reason, sorted(rooms), await sio.get_session(sid), sio.get_environ(sid)["REQUEST_METHOD"]])
        seen.extend([sio.manager.is_connected(sid, "/"), sid in sio.manager.rooms["/"]["r"]])

    await _disconnected(world, handler)
    return seen


async def client_disconnects_a_namespace(world: World) -> Any:
    sio = world.server()
    reasons: asyncio.Queue[Any] = asyncio.Queue()
    sio.on("disconnect", lambda sid, reason: reasons.put_nowait(reason), namespace="/n")
    peer = await world.open(namespaces=["/", "/n"])
    await peer._send_packet(peer.packet_class(1, namespace="/n"))  # it has no method for one namespace
    reason = await asyncio.wait_for(reasons.get(), LIMIT_S)
    return [reason, await peer.ask("sync")]


async def disconnect_handler_without_reason(world: World) -> Any:
    sio = world.server()
    done = asyncio.Event()
    sio.on("disconnect", lambda sid: done.set())
    peer = await world.open()
    await peer.disconnect()
    await asyncio.wait_for(done.wait(), LIMIT_S)
    return "handled"


async def the_manager(world: World) -> Any:
    sio, a, b = await _two(world)
    await sio.enter_room(a.get_sid(), "r")
    manager = sio.manager
    eio = manager.eio_sid_from_sid(a.get_sid(), "/")
    return world.seen(
        [
            sorted(manager.get_namespaces()),
            sorted(map(str, manager.rooms["/"])) == sorted(["None", "r", a.get_sid(), b.get_sid()]),
            list(manager.rooms["/"]["r"]),
            len(manager.rooms["/"][None]),
            manager.rooms["/"].get("nothing"),
            "/nothing" in manager.rooms,
            [sid for sid, _ in manager.get_participants("/", "r")],
            len(dict(manager.get_participants("/", None))),
            len(dict(manager.get_participants("/", ["r", b.get_sid()]))),
            list(manager.get_participants("/nothing", "r")),
            manager.sid_from_eio_sid(eio, "/") == a.get_sid(),
            eio in sio.environ,
            eio in sio.eio.sockets,
            manager.is_connected(a.get_sid(), "/"),
        ]
    )


async def attributes(world: World) -> Any:
    sio = world.server(ping_interval=9, ping_timeout=4, max_http_buffer_size=5000)
    eio = sio.eio
    return [
        sio.async_mode,
        sio.async_handlers,
        sio.always_connect,
        sorted(sio.reserved_events),
        sorted(sio.namespaces),
        sio.is_asyncio_based(),
        [eio.ping_interval, eio.ping_timeout, eio.max_http_buffer_size, eio.allow_upgrades, eio.cookie],
        [sio.reason.CLIENT_DISCONNECT, sio.reason.SERVER_DISCONNECT, sio.reason.PING_TIMEOUT],
        sorted(eio.transports),
        isinstance(eio.generate_id(), str),
    ]
