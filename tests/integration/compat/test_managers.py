"""A cluster through ``AsyncRedisManager``, and emitters for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from roomcast.realtime.adapters.redis import RedisAdapter
from roomcast.realtime.cluster.nodes import NodeAddress
from roomcast.realtime.compat import socketio
from roomcast.realtime.compat.managers import redis_options_of
from roomcast.realtime.forwarding.forwarder import NodeAuthenticator
from roomcast.realtime.forwarding.redis_directory import DirectoryOptions, RedisDirectory
from roomcast.realtime.transports.application import InternalApplication
from roomcast.redis_client import Commands, RedisUnavailable
from support.python_socketio.world import World, hosting, world_of
from support.redis_server import RedisServer
from support.tcp_proxy import TcpProxy
from support.waiting import until


class Two:
    """Two servers on one Redis."""

    def __init__(self, redis: RedisServer, worlds: list[World]) -> None:
        self.url = f"redis://127.0.0.1:{redis.port}/0"
        self.one, self.two = worlds
        self.ended: list[Any] = []
        for world in worlds:
            sio = world.server(client_manager=socketio.AsyncRedisManager(self.url))
            sio.on("disconnect", lambda sid, reason: self.ended.append((sid, reason)))


@pytest.fixture
async def two(redis: RedisServer) -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        yield Two(redis, [await stack.enter_async_context(world_of(socketio)) for _ in range(2)])


def events(peer: Any) -> list[Any]:
    return [item for item in peer.got if item != ["connect"]]


async def test_servers_of_a_cluster_act_on_each_others_clients(two: Two) -> None:
    a, b = await two.one.open(), await two.two.open()
    await two.one.sio.emit("all", {"data": b"1"})
    await two.one.sio.enter_room(b.get_sid(), "r")
    await two.one.sio.emit("room", 1, room="r")
    await until(lambda: events(b)[-1:] == [["room", 1]])
    assert events(a) == [["all", {"data": b"1"}]]
    assert events(b) == [["all", {"data": b"1"}], ["room", 1]]
    await two.one.sio.leave_room(b.get_sid(), "r")
    await two.one.sio.emit("room", 2, room="r")
    await two.one.sio.emit("here", ignore_queue=True)
    await two.one.sio.emit("to", to=b.get_sid())
    await until(lambda: events(b)[-1:] == [["to"]])
    assert events(b)[1:] == [["room", 1], ["to"]]
    sid = b.get_sid()
    await two.one.sio.disconnect(sid)
    await until(lambda: two.ended == [(sid, "server disconnect")])


async def test_a_client_of_another_server_acknowledges(two: Two) -> None:
    await two.one.open()
    b = await two.two.open()
    b.answer = {"data": [1]}
    assert await two.one.sio.call("question", 1, to=b.get_sid(), timeout=5) == {"data": [1]}
    answers: asyncio.Queue[Any] = asyncio.Queue()
    await two.one.sio.emit("question", 2, to=b.get_sid(), callback=answers.put_nowait)
    assert await asyncio.wait_for(answers.get(), 5) == {"data": [1]}
    for answer, args in ((None, ()), ("one", ("one",)), ((1, b"2"), (1, b"2"))):
        b.answer = answer
        assert await two.one.sio.call("question", to=b.get_sid(), timeout=5) == answer
        await two.one.sio.emit("question", to=b.get_sid(), callback=lambda *args: answers.put_nowait(args))
        assert await asyncio.wait_for(answers.get(), 5) == args
    with pytest.raises(socketio.exceptions.TimeoutError):
        await two.one.sio.call("question", to="nobody", timeout=0.2)
    with pytest.raises(socketio.exceptions.TimeoutError):
        await two.one.sio.call("question", to=b.get_sid(), timeout=5, ignore_queue=True)


async def test_events_with_a_callback_keep_their_order_and_beyond_the_limit_of_queries_arrive_without_it(
    two: Two,
) -> None:
    b = await two.two.open()
    sio, sid, called = two.one.sio, b.get_sid(), list[Any]()

    def keep(*args: Any) -> None:
        called.append(args)

    sent = [["asked", n] if n % 2 else ["plain", n] for n in range(1_500)]
    for event, n in sent:
        await sio.emit(event, n, to=sid, callback=keep if event == "asked" else None)
    await until(lambda: len(events(b)) >= len(sent))
    assert events(b) == sent
    limit = sio.native.options.max_queries // 2
    await until(lambda: len(called) >= limit)
    assert await sio.call("question", to=sid, timeout=5) is None, "other queries remain possible"
    assert len(called) == limit


async def test_events_beyond_the_limit_of_acknowledgements_of_a_client_arrive_without_their_callback(two: Two) -> None:
    a = await two.one.open()
    sio, sid, called = two.one.sio, a.get_sid(), list[Any]()
    limit = sio.native.options.max_pending_acks
    for n in range(limit + 100):
        await sio.emit("asked", n, to=sid, callback=lambda *args: called.append(args))
    await sio.emit("end", to=sid)
    await until(lambda: events(a)[-1:] == [["end"]])
    assert events(a)[:-1] == [["asked", n] for n in range(limit + 100)]
    await until(lambda: len(called) == limit)


async def test_an_event_with_a_callback_waits_for_redis_as_others_do(two: Two, redis: RedisServer) -> None:
    b = await two.two.open()
    b.answer = "got it"
    async with TcpProxy(redis.port) as proxy, world_of(socketio) as world:
        sio = world.server(client_manager=socketio.AsyncRedisManager(f"redis://127.0.0.1:{proxy.port}"))
        assert await sio.call("question", to=b.get_sid(), timeout=5) == "got it"
        proxy.stall()
        proxy.cut()
        await until(lambda: not sio.manager.adapter.ready)
        answers: asyncio.Queue[Any] = asyncio.Queue()
        await sio.emit("one", to=b.get_sid(), callback=answers.put_nowait)
        await sio.emit("two", to=b.get_sid())
        proxy.resume()
        assert await asyncio.wait_for(answers.get(), 5) == "got it"
        await until(lambda: len(events(b)) >= 3)
        assert events(b) == [["question"], ["one"], ["two"]]
        await until(lambda: not sio.native.engine.queries.called_back, limit_s=5)


async def test_a_callback_is_called_for_each_selected_client_of_every_server(two: Two) -> None:
    a, b, skipped = await two.one.open(), await two.two.open(), await two.two.open()
    for peer, answer in ((a, "a"), (b, "b"), (skipped, "c")):
        peer.answer = answer
    answers: asyncio.Queue[Any] = asyncio.Queue()

    async def answered(value: Any) -> None:
        await answers.put(value)

    sio = two.one.sio
    await sio.emit("vote", skip_sid=skipped.get_sid(), callback=answered)
    assert {await asyncio.wait_for(answers.get(), 5) for _ in range(2)} == {"a", "b"}
    await sio.emit("here", callback=answered, ignore_queue=True)
    await sio.emit("last", callback=answered, to=b.get_sid(), ignore_queue=True)
    assert await asyncio.wait_for(answers.get(), 5) == "a"
    await sio.emit("end")
    await until(lambda: events(b)[-1:] == events(a)[-1:] == [["end"]])
    assert [events(peer) for peer in (a, b, skipped)] == [[["vote"], ["here"], ["end"]], [["vote"], ["end"]], [["end"]]]
    assert answers.empty()


async def test_a_write_only_manager_emits_to_all_servers(two: Two) -> None:
    a, b = await two.one.open(), await two.two.open()
    emitter = socketio.AsyncRedisManager(two.url, write_only=True)
    await emitter.enter_room(a.get_sid(), "/", "r")
    await emitter.emit("news", ("x", b"2"), room="r")
    await emitter.emit("all", None, skip_sid=a.get_sid())
    await emitter.emit("last", {"a": 1})
    await until(lambda: events(a)[-1:] == events(b)[-1:] == [["last", {"a": 1}]])
    assert events(a) == [["news", "x", b"2"], ["last", {"a": 1}]]
    assert events(b) == [["all"], ["last", {"a": 1}]]
    await emitter.close_room("r")
    await emitter.emit("news", None, room="r")
    await emitter.disconnect(b.get_sid())
    await until(lambda: len(two.ended) == 1)
    assert len(events(a)) == 2
    with pytest.raises(RuntimeError, match="context of a server"):
        await emitter.emit("x", None, room="r", callback=print)
    await emitter.close()


async def test_a_write_only_manager_raises_if_redis_is_gone(redis: RedisServer) -> None:
    emitter = socketio.AsyncRedisManager(f"redis://127.0.0.1:{redis.port}", write_only=True)
    await emitter.emit("x", 1)
    redis.kill()
    with pytest.raises(RedisUnavailable):
        await emitter.emit("x", 1)
    await emitter.close()


async def test_a_synchronous_manager_emits_to_all_servers(two: Two) -> None:
    a, b = await two.one.open(), await two.two.open()
    emitter = socketio.RedisManager(two.url, write_only=True)
    emitter.enter_room(a.get_sid(), "/", "r")
    emitter.emit("news", ("x", b"2"), room="r")
    emitter.emit("all", None, skip_sid=a.get_sid())
    emitter.emit("last", {"a": 1}, to=[a.get_sid(), b.get_sid()])
    await until(lambda: events(a)[-1:] == events(b)[-1:] == [["last", {"a": 1}]])
    assert events(a) == [["news", "x", b"2"], ["last", {"a": 1}]]
    assert events(b) == [["all"], ["last", {"a": 1}]]
    emitter.leave_room(a.get_sid(), None, "r")
    emitter.close_room("r")
    emitter.disconnect(b.get_sid())
    await until(lambda: len(two.ended) == 1)
    with pytest.raises(RuntimeError, match="context of a server"):
        emitter.emit("x", None, callback=print)
    emitter.close()


async def test_with_a_directory_a_poll_may_reach_any_server(redis: RedisServer) -> None:
    options = redis_options_of(f"redis://127.0.0.1:{redis.port}/0")
    async with AsyncExitStack() as stack:
        worlds = [await stack.enter_async_context(world_of(socketio)) for _ in range(2)]
        for world in worlds:
            commands = Commands(options)
            stack.push_async_callback(commands.close)
            directory = RedisDirectory(commands, DirectoryOptions(prefix="compat-directory"))
            sio = world.server(client_manager=socketio.AsyncManager(RedisAdapter(options), directory))
            internal = InternalApplication(sio.native.asgi(), NodeAuthenticator("secret"), socketio.ASGIApp(sio))
            url = await stack.enter_async_context(hosting(internal))
            directory.announce(NodeAddress("127.0.0.1", int(url.rpartition(":")[2]), "secret"))
            renewing = asyncio.create_task(directory.run())
            stack.callback(renewing.cancel)
            await world.host()
        one, two = (f"{world.base}/socket.io/?EIO=4&transport=polling" for world in worlds)
        http = worlds[0].http
        async with http.get(one) as opened:
            sid = json.loads((await opened.text())[1:])["sid"]
        async with http.post(f"{two}&sid={sid}", data="40") as posted:
            assert (posted.status, await posted.text()) == (200, "ok")
        async with http.get(f"{two}&sid={sid}") as polled:
            assert (polled.status, (await polled.text())[:3]) == (200, "40{")
        assert [len(world.sio.native.engine.connections) for world in worlds] == [1, 0]
