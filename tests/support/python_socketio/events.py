"""Cases of events, acknowledgements, and handlers."""

from __future__ import annotations

import asyncio
import importlib
import json
from datetime import date
from typing import Any

from support.python_socketio.world import LIMIT_S, NOTHING_S, World


async def arguments(world: World) -> Any:
    world.server().on("echo", lambda sid, *args: list(args))
    peer = await world.connect()
    values: list[Any] = [
        None,
        1,
        "zwei",
        [1, 2],
        {"a": None},
        (1, "b"),
        (1,),
        ((1, 2),),
        1.5,
        True,
        2**53,
        "é\u2028😀",
        {},
    ]
    return [await peer.ask("echo", value) for value in values]


async def acknowledgements(world: World) -> Any:
    answers: list[Any] = [None, 0, "", [], [1, 2], (1, 2), (), {"a": (1, 2)}, False, ("one",)]
    world.server().on("answer", lambda sid, index: answers[index])
    peer = await world.connect()
    return [await peer.ask("answer", index) for index in range(len(answers))]


async def binary(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def echo(sid: str, *args: Any) -> Any:
        await sio.emit("back", args, to=sid)
        return args

    peer = await world.connect()
    values: list[Any] = [b"\x00\xff", {"a": [b"1", {"b": b""}]}, (b"1", "2", b"3")]
    return world.seen([[await peer.ask("echo", value) for value in values], peer.got])


async def unknown_event(world: World) -> Any:
    world.server()
    return await (await world.connect()).ask("nothing", limit_s=NOTHING_S)


async def handler_that_raises(world: World) -> Any:
    def fail(sid: str) -> None:
        raise LookupError("secret")

    world.server().on("fail", fail)
    peer = await world.connect()
    return [await peer.ask("fail", limit_s=NOTHING_S), await peer.ask("sync")]


async def handler_with_too_few_parameters(world: World) -> Any:
    world.server().on("say", lambda sid: "called")
    peer = await world.connect()
    return [await peer.ask("say", 1, limit_s=NOTHING_S), await peer.ask("say")]


async def catch_all_event(world: World) -> Any:
    sio = world.server()
    sio.on("known", lambda sid, *args: ["known", *args])
    sio.on("*", lambda event, sid, *args: ["any", event, *args])
    peer = await world.connect()
    return [await peer.ask("known", 1), await peer.ask("other", (1, 2)), await peer.ask("message", "m")]


async def catch_all_namespace(world: World) -> Any:
    sio = world.server(namespaces="*")
    sio.on("known", lambda namespace, sid, *args: [namespace, *args], namespace="*")
    sio.on("*", lambda event, namespace, sid, *args: [event, namespace, *args], namespace="*")
    sio.on("known", lambda sid: "specific", namespace="/b")
    peer = await world.connect(namespaces=["/a", "/b"])
    events = [("known", "/a"), ("other", "/a"), ("known", "/b"), ("other", "/b")]
    return [await peer.ask(event, namespace=namespace) for event, namespace in events]


async def class_namespace(world: World) -> Any:
    class Chat(world.lib.AsyncNamespace):  # type: ignore[misc,name-defined]
        async def on_connect(self, sid: str, environ: Any) -> None:
            await self.enter_room(sid, "r")

        def on_say(self, sid: str, text: str) -> Any:
            return ["said", text, len(self.rooms(sid))]

        async def on_tell(self, sid: str, text: str) -> None:
            await self.emit("told", text, room="r")
            await self.send("hi", to=sid)

    world.server().register_namespace(Chat("/chat"))
    peer = await world.connect(namespaces=["/chat"])
    return [
        await peer.ask("say", "x", namespace="/chat"),
        await peer.ask("tell", "y", namespace="/chat"),
        await peer.ask("missing", namespace="/chat"),
        peer.got,
    ]


async def class_namespace_with_its_own_dispatch(world: World) -> Any:
    class Any_(world.lib.AsyncNamespace):  # type: ignore[misc,name-defined]  # noqa: N801 - not Any
        async def trigger_event(self, event: str, *args: Any) -> Any:
            return None if event in {"connect", "disconnect"} else [event, *args[1:]]

    world.server().register_namespace(Any_("/any"))
    peer = await world.connect(namespaces=["/any"])
    return [await peer.ask("one", namespace="/any"), await peer.ask("two", (1, 2), namespace="/any")]


async def class_for_all_namespaces(world: World) -> Any:
    class All(world.lib.AsyncNamespace):  # type: ignore[misc,name-defined]
        def on_connect(self, namespace: str, sid: str, environ: Any) -> None:
            pass

        def on_say(self, namespace: str, sid: str, text: str) -> Any:
            return [namespace, text]

    world.server(namespaces="*").register_namespace(All("*"))
    peer = await world.connect(namespaces=["/any"])
    return await peer.ask("say", "x", namespace="/any")


async def function_before_class(world: World) -> Any:
    class Chat(world.lib.AsyncNamespace):  # type: ignore[misc,name-defined]
        def on_say(self, sid: str) -> str:
            return "class"

        def on_tell(self, sid: str) -> str:
            return "class"

    sio = world.server()
    sio.register_namespace(Chat("/"))
    sio.on("say", lambda sid: "function")
    peer = await world.connect()
    return [await peer.ask("say"), await peer.ask("tell")]


async def event_decorators(world: World) -> Any:
    sio = world.server()

    @sio.event
    def one(sid: str) -> str:
        return "one"

    @sio.event()
    def two(sid: str) -> str:
        return "two"

    @sio.event(namespace="/n")
    def three(sid: str) -> str:
        return "three"

    peer = await world.connect(namespaces=["/", "/n"])
    names = sorted(name for events in sio.handlers.values() for name in events)
    return [await peer.ask("one"), await peer.ask("two"), await peer.ask("three", namespace="/n"), names]


async def handlers_of_one_client_overlap(world: World) -> Any:
    sio = world.server()
    released = asyncio.Event()

    @sio.event
    async def wait(sid: str) -> str:
        await released.wait()
        return "waited"

    sio.on("release", lambda sid: released.set())
    peer = await world.connect()
    waiting = asyncio.create_task(peer.ask("wait"))
    await peer.ask("sync")
    return [await peer.ask("release"), await waiting]


async def hundred_handlers_of_one_client_overlap(world: World) -> Any:
    sio = world.server()
    running: list[str] = []
    all_run, released = asyncio.Event(), asyncio.Event()

    @sio.event
    async def wait(sid: str) -> str:
        running.append(sid)
        if len(running) == 100:
            all_run.set()
        await released.wait()
        return "waited"

    peer = await world.connect()
    waiting = [asyncio.create_task(peer.ask("wait", limit_s=3 * LIMIT_S)) for _ in range(100)]
    await asyncio.wait_for(all_run.wait(), 3 * LIMIT_S)
    released.set()
    return sorted(set(await asyncio.gather(*waiting)))


async def handlers_in_turn(world: World) -> Any:
    sio = world.server(async_handlers=False)
    order: list[str] = []

    @sio.event
    async def work(sid: str, name: str) -> None:
        order.append(f"{name} begins")
        await asyncio.sleep(0.01)
        order.append(f"{name} ends")

    peer = await world.connect()
    await peer.emit("work", "one")
    await peer.emit("work", "two")
    await peer.ask("sync")
    return order


async def calls_the_client(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def ask_me(sid: str, data: Any) -> Any:
        return repr(await sio.call("question", data, to=sid, timeout=LIMIT_S))

    peer = await world.connect()
    results = []
    for answer in (None, 1, (1, 2), [1, 2], (), b"x", {"a": [b"y"]}):
        peer.answer = answer
        results.append(await peer.ask("ask_me", (answer if isinstance(answer, bytes) else 1,)))
    return world.seen([results, peer.got[-1]])


async def call_without_an_answer(world: World) -> Any:
    sio = world.server()

    async def silent(*_: Any) -> Any:
        await asyncio.sleep(2)

    @sio.event
    async def ask_me(sid: str) -> Any:
        try:
            await sio.call("question", to=sid, timeout=0.05)
        except world.lib.exceptions.TimeoutError as error:
            return type(error).__name__

    peer = await world.connect()
    peer.on("question", silent)
    return await peer.ask("ask_me")


async def call_to_an_unknown_client(world: World) -> Any:
    sio = world.server()
    await world.connect()
    try:
        await sio.call("question", to="nobody", timeout=0.05)
    except world.lib.exceptions.TimeoutError:
        return "TimeoutError"
    return None


async def call_to_nobody(world: World) -> Any:
    errors = []
    for options in ({}, {"async_handlers": False}):
        sio = world.server(**options)
        for target in (None, "sid"):
            try:
                await sio.call("question", to=target, timeout=0.01)
            except Exception as error:  # noqa: BLE001 - which one is the observation
                errors.append([type(error).__name__, str(error) if target is None else ""])
    return errors


async def callback_of_an_emit(world: World) -> Any:
    sio = world.server()
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def keep(*args: Any) -> None:
        answers.put_nowait(args)

    peer = await world.open()
    peer.answer = ("a", b"b")
    await sio.emit("question", to=peer.get_sid(), callback=keep)
    await sio.emit("question", room=peer.get_sid(), callback=lambda *args: answers.put_nowait(args))
    return world.seen([await asyncio.wait_for(answers.get(), LIMIT_S) for _ in range(2)])


async def callback_of_a_room(world: World) -> Any:
    sio = world.server()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    for name in ("one", "two"):
        peer = await world.open()
        peer.answer = name
        await sio.enter_room(peer.get_sid(), "r")
    await sio.emit("question", room="r", callback=answers.put_nowait)
    first = sorted([await asyncio.wait_for(answers.get(), LIMIT_S) for _ in range(2)])
    await sio.emit("question", callback=answers.put_nowait)
    return [first, sorted([await asyncio.wait_for(answers.get(), LIMIT_S) for _ in range(2)])]


async def send_is_the_event_message(world: World) -> Any:
    sio = world.server()
    peer = await world.open()
    await sio.send("text", to=peer.get_sid())
    await sio.send({"a": b"1"})
    await peer.ask("sync")
    return world.seen(peer.got)


async def own_json_module(world: World) -> Any:
    class Module:
        @staticmethod
        def dumps(value: Any, **options: Any) -> str:
            return json.dumps(value, default=lambda item: item.isoformat(), **options)

        loads = staticmethod(json.loads)

    packet = world.lib.packet.Packet if hasattr(world.lib, "packet") else None
    try:
        sio = world.server(json=Module)
        sio.on("today", lambda sid: {"at": date(2026, 1, 2), "data": b"1"})
        peer = await world.open()
        await sio.emit("at", (date(2026, 1, 2), b"2"))
        await sio.emit("at", date(2026, 1, 3))
        return world.seen([await peer.ask("today"), peer.got])
    finally:
        if packet is not None:
            packet.json = json  # python-socketio sets it for the process


async def own_packet_class(world: World) -> Any:
    base: Any = importlib.import_module(f"{world.lib.__name__}.packet").Packet

    class ListsOfBytes(base):  # type: ignore[misc]
        uses_binary_events = False

        @classmethod
        def reconstruct_binary(cls, data: Any, attachments: list[bytes]) -> Any:
            return super().reconstruct_binary(data, [list(attachment) for attachment in attachments])

    sio = world.server(serializer=ListsOfBytes)
    received: list[Any] = []

    @sio.event
    async def take(sid: str, *args: Any) -> Any:
        received.append(args)
        try:
            await sio.emit("bytes", b"1", to=sid)
        except TypeError as error:
            received.append(type(error).__name__)
        await sio.emit("text", {"a": [1]}, to=sid)
        return {"ok": args}

    sio.on("*", lambda event, sid, *args: received.append((event, args)))
    peer = await world.open()
    peer.on("question", lambda *args: [b"3", "text"])
    answers: asyncio.Queue[Any] = asyncio.Queue()
    seen = [await peer.ask("take", ({"a": [b"\x01\x02", 3], "b": b""}, b"2")), await peer.ask("take", "plain")]
    await peer.ask("other", b"4")
    seen.append(await sio.call("question", "?", to=peer.get_sid()))
    await sio.emit("question", "?", to=peer.get_sid(), callback=answers.put_nowait)
    return world.seen([*seen, await asyncio.wait_for(answers.get(), 2), received, peer.got])


async def msgpack(world: World) -> Any:
    sio = world.server(serializer="msgpack")

    @sio.event
    async def echo(sid: str, *args: Any) -> Any:
        await sio.emit("back", args, to=sid)
        return args

    peer = await world.connect(serializer="msgpack")
    values: list[Any] = [None, 1, "é", {"a": [1.5, None, True]}, b"\x00\xff", {"data": [b"1"]}, (1, "two")]
    return world.seen([[await peer.ask("echo", value) for value in values], peer.got])


async def unencodable_data(world: World) -> Any:
    sio = world.server()
    peer = await world.open()
    try:
        await sio.emit("bad", {1, 2}, to=peer.get_sid())
    except (TypeError, ValueError) as error:
        return type(error).__name__
    return "sent"


async def background_tasks(world: World) -> Any:
    sio = world.server()

    async def work(one: int, *, two: int) -> int:
        await sio.sleep(0)
        return one + two

    return await sio.start_background_task(work, 1, two=2)


async def order_of_emits(world: World) -> Any:
    sio = world.server()

    @sio.event
    async def burst(sid: str) -> str:
        for number in range(20):
            await sio.emit("n", number, to=sid)
        return "end"

    peer = await world.open()
    await peer.ask("burst")
    return [item[1] for item in peer.got[1:]]


async def events_right_after_connect(world: World) -> Any:
    sio = world.server()
    order: list[str] = []

    @sio.event
    async def connect(sid: str, environ: Any) -> None:
        await asyncio.sleep(0.02)
        order.append("connected")

    sio.on("say", lambda sid: order.append("said"))
    peer = await world.connect()
    await peer.ask("say")
    return order
