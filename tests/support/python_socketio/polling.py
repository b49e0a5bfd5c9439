"""Cases of clients that poll: how sessions end, what the answers are, several namespaces on one session.

Cases of the other modules run over polling too: see the test.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from support.python_socketio.world import LIMIT_S, LONG_S, Peer, World

OPEN = "/socket.io/?EIO=4&transport=polling"


class _Session:
    """A session without a client: its requests one by one."""

    def __init__(self, world: World, sid: str = "") -> None:
        self._world = world
        self._url = world.base + OPEN + (f"&sid={sid}" if sid else "")

    async def open(self) -> dict[str, Any]:
        status, body = await self.get()
        assert status == 200
        packet: dict[str, Any] = json.loads(body[1:])
        self._url += f"&sid={packet['sid']}"
        return packet

    async def connect(self, namespace: str = "") -> str:
        await self.post(f"40{namespace}")
        return (await self.get())[1][:2]

    async def get(self) -> tuple[int, str]:
        async with self._world.http.get(self._url) as answer:
            return answer.status, await answer.text()

    async def post(self, body: str) -> int:
        """The status of the answer."""
        async with self._world.http.post(self._url, data=body, headers={"Content-Type": "text/plain"}) as answer:
            return answer.status

    async def status(self) -> int:
        """The status of a poll, of a session that has ended."""
        return (await self.get())[0]


def _reasons(sio: Any, *namespaces: str) -> asyncio.Queue[Any]:
    """What the ``disconnect`` handlers receive."""
    reasons: asyncio.Queue[Any] = asyncio.Queue()
    for namespace in namespaces or ("/",):
        sio.on(
            "disconnect", lambda sid, reason, name=namespace: reasons.put_nowait([name, reason]), namespace=namespace
        )
    return reasons


async def _taken(queue: asyncio.Queue[Any], count: int = 1) -> list[Any]:
    return sorted([await asyncio.wait_for(queue.get(), LIMIT_S) for _ in range(count)])


async def _session(world: World) -> _Session:
    await world.host()
    session = _Session(world)
    await session.open()
    return session


async def _polling(world: World, **options: Any) -> Peer:
    return await world.open(transports=["polling"], **options)


async def a_session_by_hand(world: World) -> Any:
    sio = world.server()
    sio.on("echo", lambda sid, *args: args)
    session = await _session(world)
    seen: list[Any] = [await session.connect()]
    seen.append(await session.post('420["echo",1]'))
    seen.append(await session.get())
    seen.append(
        await session.post('421["echo",1]\x1e422["echo",2]\x1e451-3["echo",{"_placeholder":true,"num":0}]\x1ebAA==')
    )
    packets: list[str] = []
    while len(packets) < 3:
        packets += (await session.get())[1].split("\x1e")
    return [seen, sorted(packets)]


async def a_poll_is_answered_by_the_next_emit(world: World) -> Any:
    sio = world.server()
    session = await _session(world)
    await session.connect()
    poll = asyncio.create_task(session.get())
    await asyncio.sleep(0.02)
    await sio.emit("news", {"a": [1, None]})
    return await asyncio.wait_for(poll, LIMIT_S)


async def emits_between_two_polls_share_an_answer(world: World) -> Any:
    sio = world.server()
    session = await _session(world)
    await session.connect()
    for number in range(3):
        await sio.emit("n", (number, b"\x01"))
    await asyncio.sleep(0)
    return await session.get()


async def garbage_in_a_post(world: World) -> Any:
    world.server()
    seen: list[Any] = []
    for body in ("nonsense", "b!!", "9", "", "4", "49", '42["say"', "4\x1e4"):
        session = await _session(world)
        await session.connect()
        seen.append([body, await session.post(body), await session.post('42["say"]')])
    return seen


async def seventeen_packets_in_a_post(world: World) -> Any:
    sio = world.server()
    got: list[int] = []
    sio.on("n", lambda sid, count: got.append(count))
    session = await _session(world)
    await session.connect()
    for count in (16, 17):
        assert await session.post("\x1e".join([f'42["n",{count}]'] * count)) == 200
    await session.post('420["sync"]')
    await session.get()
    return [got.count(count) for count in (16, 17)]


async def too_large_a_post(world: World) -> Any:
    world.server(max_http_buffer_size=1_000)
    session = await _session(world)
    await session.connect()
    poll = asyncio.create_task(session.get())
    await asyncio.sleep(0.02)
    seen = [await session.post('42["' + "x" * 2_000 + '"]'), await session.post('42["say"]')]
    poll.cancel()
    return seen


async def two_polls_at_once(world: World) -> Any:
    world.server(ping_interval=1, ping_timeout=1)
    session = await _session(world)
    await session.connect()
    first = asyncio.create_task(session.get())
    await asyncio.sleep(0.02)
    second = await session.status()
    return [second, (await first)[0]]


async def a_poll_after_the_client_has_closed(world: World) -> Any:
    sio = world.server()
    reasons = _reasons(sio)
    session = await _session(world)
    await session.connect()
    closed = await session.post("1")
    return [closed, await _taken(reasons), await session.status()]


async def a_pending_poll_ends_when_the_client_closes(world: World) -> Any:
    world.server()
    session = await _session(world)
    await session.connect()
    poll = asyncio.create_task(session.get())
    await asyncio.sleep(0.02)
    await session.post("1")
    done, _ = await asyncio.wait({poll}, timeout=LONG_S)
    poll.cancel()
    return bool(done)


async def a_client_that_stops_polling(world: World) -> Any:
    sio = world.server(ping_interval=0.5, ping_timeout=0.5)
    reasons = _reasons(sio, "/", "/b")
    session = await _session(world)
    await session.connect()
    await session.connect("/b,")
    return [await _taken(reasons, 2), await session.status()]


async def a_session_that_the_server_ends(world: World) -> Any:
    sio = world.server()
    reasons = _reasons(sio)
    peer = await _polling(world)
    eio_sid = sio.manager.eio_sid_from_sid(peer.get_sid(), "/")
    await sio.eio.disconnect(eio_sid)
    await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    return [await _taken(reasons), [item[0] for item in peer.got], eio_sid in sio.eio.sockets]


async def a_client_that_returns(world: World) -> Any:
    sio = world.server()
    reasons = _reasons(sio)
    peer = await _polling(world)
    sid = peer.get_sid()
    await sio.enter_room(sid, "r")
    await sio.save_session(sid, {"name": "a"})
    await peer.disconnect()
    seen: list[Any] = [await _taken(reasons)]
    await peer.connect(world.base, transports=["polling"])
    await sio.emit("to-room", room="r")
    await sio.emit("to-all", b"2")
    seen.append([await peer.ask("sync"), peer.get_sid() == sid, await sio.get_session(peer.get_sid())])
    return [seen, peer.got]


async def a_client_that_reconnects_by_itself(world: World) -> Any:
    sio = world.server(ping_interval=0.5, ping_timeout=0.5)  # the peer ends a poll after their sum
    connected: asyncio.Queue[str] = asyncio.Queue()
    sio.on("connect", lambda sid, environ: connected.put_nowait(sid))
    await world.host()
    peer = Peer("r", world.http, ["/"], "default")
    peer.reconnection = True
    peer.reconnection_delay, peer.randomization_factor = 0.01, 0
    world.peers.append(peer)
    await peer.connect(world.base, transports=["polling"])
    first = await asyncio.wait_for(connected.get(), LIMIT_S)
    await _Session(world, sio.manager.eio_sid_from_sid(first, "/")).post("1")
    second = await asyncio.wait_for(connected.get(), LIMIT_S)
    await sio.emit("again", to=second)
    return [await peer.ask("sync"), first == second, [item[0] for item in peer.got]]


class _Chats:
    """An application with several namespaces: functions, a class, one that refuses, and one for all others."""

    def __init__(self, world: World) -> None:
        sio = self.sio = world.server(namespaces=["/", "/listed"])
        self.reasons = _reasons(sio, "/", "/listed", "/rooms")

        class Rooms(world.lib.AsyncNamespace):  # type: ignore[misc,name-defined]
            async def on_connect(self, sid: str, environ: Any, auth: Any) -> None:
                await self.save_session(sid, {"auth": auth})
                await self.enter_room(sid, "r")

            async def on_say(self, sid: str, text: Any) -> Any:
                await self.emit("said", [text, await self.get_session(sid)], room="r", skip_sid=sid)
                return "from the class"

        rooms = Rooms("/rooms")
        rooms.on_disconnect = lambda sid, reason: self.reasons.put_nowait(["/rooms", reason])
        sio.register_namespace(rooms)
        sio.on("say", lambda sid, *args: ["/", *args])
        sio.on("connect", lambda sid, environ: False, namespace="/closed")

        @sio.on("leave")
        async def leave(sid: str, other: str, namespace: str) -> None:
            await sio.disconnect(other, namespace=namespace)


async def several_namespaces_connect(world: World) -> Any:
    _Chats(world)
    names = ["/", "/listed", "/rooms"]
    peer = await _polling(world, namespaces=names, auth={"token": "t"})
    other = await _polling(world, namespaces=names, auth={"token": "u"})
    answers = [await peer.ask("say", b"2", namespace=name) for name in ("/", "/rooms")]
    await other.ask("sync")
    sids = {peer.get_sid(name) for name in names}
    return world.seen([answers, sorted(peer.got), sorted(other.got, key=str), len(sids)])


async def several_namespaces_and_a_refusal(world: World) -> Any:
    _Chats(world)
    refused = await world.connect(namespaces=["/rooms", "/closed"], transports=["polling"])
    unknown = await world.connect(namespaces=["/rooms", "/none"], transports=["polling"])
    return [sorted(refused.got, key=str), [item[:2] for item in sorted(unknown.got, key=str)]]


async def several_namespaces_end_one_by_one(world: World) -> Any:
    chats = _Chats(world)
    peer = await _polling(world, namespaces=["/", "/listed", "/rooms"])
    await chats.sio.disconnect(peer.get_sid("/listed"), namespace="/listed")
    seen: list[Any] = [await _taken(chats.reasons)]
    await peer._send_packet(peer.packet_class(1, namespace="/rooms"))  # it has no method for one namespace
    seen.append(await _taken(chats.reasons))
    await chats.sio.emit("late", namespace="/rooms")
    seen.append([await peer.ask("sync"), await peer.ask("say", 3), sorted(peer.got, key=str)])
    await peer.disconnect()
    return [seen, await _taken(chats.reasons)]


async def several_namespaces_end_with_the_session(world: World) -> Any:
    chats = _Chats(world)
    peer = await _polling(world, namespaces=["/", "/listed", "/rooms"])
    await chats.sio.eio.disconnect(chats.sio.manager.eio_sid_from_sid(peer.get_sid(), "/"))
    await asyncio.wait_for(peer.ended.wait(), LIMIT_S)
    return [await _taken(chats.reasons, 3), sorted(item[:2] for item in peer.got)]
