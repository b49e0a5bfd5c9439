"""What a connection to Redis leaves unanswered when it is lost."""

from __future__ import annotations

import asyncio

import pytest

from roomcast.realtime.adapters.redis.connection_pair import ConnectionPair, SentCommand
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions
from roomcast.realtime.adapters.redis.publish_queue import PublishQueue
from roomcast.redis_client import RedisAddress, RedisOptions
from roomcast.redis_client.connection import pack_command
from roomcast.redis_client.errors import RedisUnavailable
from support.redis_server import RedisServer


class Keeper:
    """Follows no slots."""

    def misplaced(self, pair: ConnectionPair, sent: SentCommand) -> None:
        """See `SlotKeeper`."""

    def revoked(self, pair: ConnectionPair, name: str) -> None:
        """See `SlotKeeper`."""


@pytest.mark.parametrize("slots", [None, Keeper()])
async def test_a_lost_connection_ends_the_wait_for_each_answer(redis: RedisServer, slots: Keeper | None) -> None:
    address, options = RedisAddress("127.0.0.1", redis.port), RedisAdapterOptions()
    counters = RedisAdapterCounters()
    pair = ConnectionPair(
        address, options, counters, {"subscribe": ["c"]}, lambda _m: None, lambda: None, lambda _r: None, slots
    )
    await pair.open(RedisOptions(addresses=(address,)))
    queue, reply = PublishQueue(options, counters), asyncio.get_running_loop().create_future()
    redis.pause()
    queue.put(pack_command(("PUBLISH", "c", "x")), asyncio.get_running_loop().time(), reply)
    pair.flush(queue)
    pair.abort("lost")
    with pytest.raises(RedisUnavailable):
        async with asyncio.timeout(5):
            await reply
    redis.resume()
