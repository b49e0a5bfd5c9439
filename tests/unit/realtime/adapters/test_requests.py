"""Requests of other servers at their limits."""

from __future__ import annotations

import asyncio
from typing import Any

from roomcast.realtime import Server
from roomcast.realtime.adapters.redis import RedisAdapterOptions
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.messages.protocol import AcknowledgedBroadcast, NamespaceChannels
from roomcast.realtime.adapters.redis.requests import RequestHandler
from roomcast.realtime.cluster.commands import Selection


async def test_broadcasts_beyond_the_limit_of_acknowledgements_are_delivered_once_without_them(
    peer: Any, settle: Any
) -> None:
    server, counters, sent = Server(), RedisAdapterCounters(), list[Any]()
    client = peer(server)
    await client.enter()
    options = RedisAdapterOptions(max_ack_requests=1)
    requests = RequestHandler(
        server.engine, lambda *message: sent.append(message), options, counters, asyncio.Event().wait
    )
    channels = NamespaceChannels.of("socket.io", "/", "here")
    for request_id, n in (("a", 1), ("a", 1), ("b", 2)):
        query = AcknowledgedBroadcast(request_id, "there", Selection("/", None), ("vote", n), 1.0)
        requests.handle(channels, "here", query)
    await settle()
    assert client.transport.texts == ['420["vote",1]', '42["vote",2]']
    assert len(sent) == 1
    assert counters.dropped["busy"] == 2
    requests.stop()
