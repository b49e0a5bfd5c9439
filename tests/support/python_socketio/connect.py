"""Cases of connecting: what `connect` handlers may do, and what the client sees."""

from __future__ import annotations

import asyncio
from typing import Any

from support.python_socketio.world import LIMIT_S, LONG_S, NOTHING_S, World


async def accepts(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.save_session(sid, {"auth": auth})

    @sio.event
    async def read(sid: str) -> Any:
        return await sio.get_session(sid)

    with_auth, without = await world.connect(auth={"token": "t"}), await world.connect()
    return [with_auth.got, await with_auth.ask("read"), without.got, await without.ask("read")]


async def handler_without_auth(world: World) -> Any:
    sio = world.server()
    sio.on("connect", lambda sid, environ: None)
    return (await world.open()).got


async def handler_without_auth_gets_auth(world: World) -> Any:
    sio = world.server()
    sio.on("connect", lambda sid, environ: None)
    return (await world.connect(auth={"token": "t"}, wait_s=LONG_S)).got


async def returns_false(world: World) -> Any:
    world.server().on("connect", lambda sid, environ, auth: False)
    return (await world.connect()).got


def _refusing(*args: Any) -> Any:
    async def case(world: World) -> Any:
        sio = world.server()

        @sio.event
        async def connect(sid: str, environ: Any, auth: Any) -> None:
            raise world.lib.exceptions.ConnectionRefusedError(*args)

        return (await world.connect()).got

    return case


refuses_without_arguments = _refusing()
refuses_with_a_message = _refusing("no")
refuses_with_data = _refusing("no", {"why": [1, None]})
refuses_with_several_values = _refusing("no", 1, "two")
refuses_with_a_number = _refusing(5)


async def raises_the_builtin_refusal(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        raise ConnectionRefusedError("secret")

    return (await world.connect()).got


async def raises_another_exception(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        raise LookupError("secret")

    return (await world.connect(wait_s=LONG_S)).got


async def emits_to_the_client(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.emit("one", 1, to=sid)
        await sio.emit("two", (1, 2), room=sid)

    return [item for item in (await world.open()).got if item != ["connect"]]


async def emits_to_a_room_just_entered(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.enter_room(sid, "lobby")
        await sio.emit("joined", sid, room="lobby")
        await sio.emit("to-others", sid, room="lobby", skip_sid=sid)

    a = await world.open()
    b = await world.open()
    await a.ask("sync")
    return world.seen([[item for item in peer.got if item != ["connect"]] for peer in (a, b)])


async def emits_to_all(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.emit("hello", "all")

    return [item for item in (await world.open()).got if item != ["connect"]]


async def emits_with_a_callback(world: World) -> Any:
    sio = world.server()
    answered = asyncio.Event()
    answers: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        def keep(*args: Any) -> None:
            answers.append(args)
            answered.set()

        await sio.emit("question", 1, to=sid, callback=keep)

    peer = await world.open()
    await asyncio.wait_for(answered.wait(), LIMIT_S)
    return [[item for item in peer.got if item != ["connect"]], answers]


async def what_the_client_gets_before_the_acceptance(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.emit("early", to=sid)

    return (await world.open()).got


async def always_connect_order(world: World) -> Any:
    sio = world.server(always_connect=True)

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.emit("early", to=sid)

    return (await world.open()).got


async def always_connect_refusal(world: World) -> Any:
    world.server(always_connect=True).on("connect", lambda sid, environ, auth: False)
    peer = await world.connect()
    await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    return [item[0] for item in peer.got]


async def _calls_the_client(world: World, *, always_connect: bool) -> Any:
    sio = world.server(always_connect=always_connect)
    answers: asyncio.Queue[Any] = asyncio.Queue()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        try:
            answers.put_nowait(await sio.call("question", to=sid, timeout=LONG_S))
        except world.lib.exceptions.TimeoutError:
            answers.put_nowait("no answer")

    await world.connect()
    return await asyncio.wait_for(answers.get(), LIMIT_S)


async def calls_the_client_in_the_handler(world: World) -> Any:
    return await _calls_the_client(world, always_connect=False)


async def calls_the_client_in_the_handler_after_connect(world: World) -> Any:
    return await _calls_the_client(world, always_connect=True)


async def disconnects_in_the_handler(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.disconnect(sid)

    peer = await world.connect()
    return [[item[0] for item in peer.got], peer.connected]


async def rooms_in_the_handler(world: World) -> Any:
    sio = world.server()
    seen: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.enter_room(sid, "a")
        seen.append(
            [sorted("sid" if room == sid else room for room in sio.rooms(sid)), sio.manager.is_connected(sid, "/")]
        )

    await world.open()
    return seen


async def unknown_namespace(world: World) -> Any:
    world.server()
    return (await world.connect(namespaces=["/nothing"])).got


async def listed_namespace(world: World) -> Any:
    world.server(namespaces=["/", "/listed"])
    return (await world.connect(namespaces=["/listed"])).got


async def default_namespace_unlisted(world: World) -> Any:
    sio = world.server(namespaces=["/listed"])
    del sio
    return (await world.connect(namespaces=["/", "/listed"])).got


async def all_namespaces(world: World) -> Any:
    world.server(namespaces="*")
    return (await world.connect(namespaces=["/any"])).got


async def catch_all_namespace_alone(world: World) -> Any:
    world.server().on("say", lambda namespace, sid: namespace, namespace="*")
    return (await world.connect(namespaces=["/any"])).got


async def two_namespaces(world: World) -> Any:
    sio = world.server()

    @sio.on("connect", namespace="/b")
    async def connect(sid: str, environ: Any) -> None:
        await sio.save_session(sid, {"in": "b"}, namespace="/b")

    @sio.on("read", namespace="/b")
    async def read(sid: str) -> Any:
        return [await sio.get_session(sid, "/b"), len(sio.rooms(sid, "/b")), sio.rooms(sid)]

    peer = await world.open(namespaces=["/", "/b"])
    return [sorted(peer.got), await peer.ask("read", namespace="/b")]


async def environ_of_the_request(world: World) -> Any:
    sio = world.server()
    seen: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        environ["mark"] = "kept"
        names = ("REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "SCRIPT_NAME", "SERVER_PROTOCOL", "HTTP_X_TEST")
        seen.append({name: str(environ.get(name)).partition("&t=")[0] for name in names})
        seen.append([environ["wsgi.url_scheme"], environ.get("asgi.scope", {}).get("type")])

    @sio.event
    async def read(sid: str) -> Any:
        return [sio.get_environ(sid).get("mark"), [item.get("mark") for item in sio.environ.values()]]

    peer = await world.open(headers={"X-Test": "1"})
    return [seen, await peer.ask("read")]


async def environ_address(world: World) -> Any:
    sio = world.server()
    seen: list[Any] = []
    sio.on("connect", lambda sid, environ: seen.append([environ["REMOTE_ADDR"], environ["SERVER_NAME"]]))
    await world.open()
    return seen


async def polling_and_upgrade(world: World) -> Any:
    sio = world.server()
    sio.on("which", sio.transport)
    polling = await world.open(transports=["polling"])
    upgraded = await world.open(transports=["polling", "websocket"])
    return [await polling.ask("which"), await upgraded.ask("which")]


async def upgrades_forbidden(world: World) -> Any:
    sio = world.server(allow_upgrades=False)
    sio.on("which", sio.transport)
    return await (await world.open(transports=["polling", "websocket"])).ask("which")


async def nothing_after_a_refusal(world: World) -> Any:
    sio = world.server()
    seen: list[Any] = []
    sio.on("connect", lambda sid, environ: False)
    sio.on("disconnect", lambda sid, reason: seen.append(reason))
    peer = await world.connect()
    await asyncio.sleep(NOTHING_S)
    return [peer.got, seen]
