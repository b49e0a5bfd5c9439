"""The queries of a server that wait for responses."""

from __future__ import annotations

from roomcast.realtime.adapters.redis import RedisAdapterOptions
from roomcast.realtime.adapters.redis.queries import ClassicProtocol, QuerySender
from roomcast.realtime.cluster.commands import FetchSockets, Selection
from roomcast.realtime.cluster.gathering import Gathering


async def test_a_sender_that_stops_ends_its_queries_and_keeps_none() -> None:
    listed: list[str] = []

    async def list_channels(pattern: str) -> frozenset[str]:
        listed.append(pattern)
        return frozenset()

    sender = QuerySender(
        "uid001",
        ClassicProtocol("socket.io", "uid001"),
        lambda *_: True,
        list_channels,
        RedisAdapterOptions(),
    )
    gathering = Gathering(1_000)
    sender.start(FetchSockets(Selection("/", None)), gathering)
    await sender.stop()
    assert not await gathering.wait(1)
    assert gathering.problem == "the adapter has stopped"
    assert not sender._new
    assert not sender._pending
    assert not listed
