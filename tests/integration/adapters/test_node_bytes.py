"""Node's adapter and emitter publish the same bytes on the same channels as this package."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
import redis.asyncio

from roomcast.realtime.adapters.redis import Emitter
from roomcast.realtime.adapters.redis.messages.packing import pack, unpack

pytestmark = pytest.mark.node

PAYLOADS: list[list[Any]] = [
    ["e"],
    ["e", None, True, False, 0, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**53 - 1],
    ["e", -1, -32, -33, -128, -129, -32_768, -32_769, -(2**31), -(2**31) - 1, -(2**53) + 1, 1.5, -0.25, 1e-7],
    ["e", "", "a" * 31, "a" * 32, "a" * 255, "a" * 256, "a" * 65_536, "grüße 🎉 漢字 \x00"],
    ["e", b"", b"\x00", b"x" * 255, b"x" * 256, b"x" * 65_536],
    ["e", {}, {"a": {"b": [[], {}]}}, list(range(15)), list(range(16)), {str(n): n for n in range(17)}],
]


class RawSubscriber:
    """Receives every message, undecoded."""

    def __init__(self, pubsub: Any) -> None:
        self._pubsub = pubsub

    async def next(self) -> tuple[bytes, bytes]:
        async with asyncio.timeout(5):
            while True:
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
                # Skip the probes of this package's servers.
                if message is not None and not re.search(rb"-response#/#.+#$", message["channel"]):
                    return message["channel"], message["data"]


@pytest.fixture
async def subscriber(cluster: Any) -> Any:
    async with redis.asyncio.Redis(port=cluster.redis.port) as client, client.pubsub() as pubsub:
        await pubsub.psubscribe("socket.io*")
        await pubsub.get_message(timeout=5)
        yield RawSubscriber(pubsub)


def without_uid(channel: bytes, data: bytes) -> tuple[bytes, bytes]:
    data = re.sub(rb"^\x93\xa6[A-Za-z0-9_-]{6}", b"\x93\xa6UIDUID", data)
    return channel, re.sub(rb'^\{"uid":"[A-Za-z0-9_-]{6}"', b'{"uid":"UIDUID"', data)


async def test_broadcasts_are_the_same_bytes_on_the_same_channel(cluster: Any, subscriber: RawSubscriber) -> None:
    a = cluster.servers["a"]
    for args in PAYLOADS:
        for rooms, skip in (([], []), (["r"], ["x", "y"]), (["r", "s"], [])):
            for volatile in (False, True):
                target = {"rooms": rooms, "except": skip, "volatile": volatile}
                await cluster.node("emit", **{"from": "node"}, **target, args=args)
                theirs = without_uid(*await subscriber.next())
                await a.emit(args[0], tuple(args[1:]), to=rooms or None, skip_sid=skip, volatile=volatile)
                assert without_uid(*await subscriber.next()) == theirs


async def test_the_emitter_sends_the_same_bytes_on_the_same_channel(cluster: Any, subscriber: RawSubscriber) -> None:
    async with redis.asyncio.Redis(port=cluster.redis.port) as client:
        emitter = Emitter(client)
        by_node = {"from": "emitter"}
        pairs: list[tuple[Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]] = [
            (
                lambda: cluster.node("emit", **by_node, rooms=["r"], **{"except": ["s"]}, args=["e", b"1"]),
                lambda: emitter.emit("e", b"1", to="r", skip="s"),
            ),
            (
                lambda: cluster.node("emit", **by_node, nsp="/x", volatile=True, args=["e"]),
                lambda: emitter.of("x").emit("e", volatile=True),
            ),
            (lambda: cluster.node("join", **by_node, rooms=["r"], join=["j"]), lambda: emitter.join("j", to="r")),
            (
                lambda: cluster.node("leave", **by_node, rooms=["r", "s"], **{"except": ["t"]}, leave=["j", "k"]),
                lambda: emitter.leave(["j", "k"], to=["r", "s"], skip="t"),
            ),
            (
                lambda: cluster.node("disconnect", **by_node, rooms=["ü"], close=True),
                lambda: emitter.disconnect(to="ü", close=True),
            ),
        ]
        for theirs, mine in pairs:
            await theirs()
            expected = await subscriber.next()
            await mine()
            assert await subscriber.next() == expected


async def test_requests_are_the_same_bytes_on_the_same_channel(cluster: Any, subscriber: RawSubscriber) -> None:
    a = cluster.servers["a"]
    await cluster.node("join", **{"from": "node"}, rooms=["sid"], join=["j"])
    theirs = without_uid(*await subscriber.next())
    await a.enter_room("sid", "j")
    assert without_uid(*await subscriber.next()) == theirs
    await cluster.node("leave", **{"from": "node"}, rooms=["sid"], leave=["j"])
    theirs = without_uid(*await subscriber.next())
    await a.leave_room("sid", "j")
    assert without_uid(*await subscriber.next()) == theirs
    await cluster.node("disconnect", **{"from": "node"}, rooms=["sid"], close=False)
    theirs = without_uid(*await subscriber.next())
    await a.disconnect("sid")
    assert without_uid(*await subscriber.next()) == theirs


async def next_query(subscriber: RawSubscriber) -> tuple[bytes, Any]:
    """The next request: the channel, and the content in its order, without ids."""
    while True:
        channel, data = await subscriber.next()
        if b"-request#" in channel:
            content = json.loads(data) if data.startswith(b"{") else msgpack.unpackb(data)
            ids = dict.fromkeys(content.keys() & {"uid", "requestId"}, "")
            return channel, json.dumps(content | ids, default=repr)


async def test_queries_have_the_same_fields_in_the_same_order(cluster: Any, subscriber: RawSubscriber) -> None:
    a = cluster.servers["a"]
    target = {"rooms": ["r", "s"], "except": ["x"]}
    await cluster.node("fetch", **target)
    theirs = await next_query(subscriber)
    await a.to(["r", "s"]).except_("x").fetch_sockets()
    assert await next_query(subscriber) == theirs
    await cluster.node("serverSideEmit", args=["who"])
    theirs = await next_query(subscriber)
    await a.server_side_emit_with_ack("who")
    assert await next_query(subscriber) == theirs
    for args in PAYLOADS:
        await cluster.node("emitWithAck", **target, args=args, timeout=1_500)
        theirs = await next_query(subscriber)
        await a.to(["r", "s"]).except_("x").timeout(1.5).emit_with_ack(*args)
        assert await next_query(subscriber) == theirs
    await cluster.node("note", **{"from": "node"}, args=[1, {"a": None}])
    event = await next_query(subscriber)
    await a.server_side_emit("note", 1, {"a": None})
    assert await next_query(subscriber) == event


async def test_values_that_node_packs_are_decoded_as_from_json(cluster: Any) -> None:
    undefined = {"$undefined": True}
    moments = [
        datetime(2026, 11, 23, 1, 2, 3, 456_000, UTC),
        datetime(1969, 7, 20, tzinfo=UTC),
        datetime(2106, 3, 1, tzinfo=UTC),
    ]
    packed = await cluster.node(
        "pack", value={"dates": moments, "list": [undefined, 1], "gone": undefined, "file": b"\x00"}
    )
    assert unpack(base64.b64decode(packed["$bytes"])) == {
        "dates": ["2026-11-23T01:02:03.456Z", "1969-07-20T00:00:00.000Z", "2106-03-01T00:00:00.000Z"],
        "list": [None, 1],
        "file": b"\x00",
    }


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ({"a": [1, -1, 1.5, None, "ü", {"b": []}]}, {"a": [1, -1, 1.5, None, "ü", {"b": []}]}),
        ([2**53, (1, 2)], [2**53, [1, 2]]),
        ([2**70], [2.0**70]),
        # Between servers of this package it is preserved.
        (["\ud800"], ["\ufffd\ufffd\ufffd"]),
    ],
)
async def test_node_decodes_packed_values(cluster: Any, value: Any, read: Any) -> None:
    assert await cluster.node("unpack", data=pack(value)) == read
