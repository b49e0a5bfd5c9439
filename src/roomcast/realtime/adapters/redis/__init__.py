"""Adapters over Redis in the protocols of Node's.

Those are ``@socket.io/redis-adapter`` 8, classic and sharded, ``@socket.io/redis-streams-adapter`` 0.3, and the emitter
``@socket.io/redis-emitter`` 5.

Layer: realtime. May import: core, cluster, fanout, requests, errors, wire, redis_client, backoff; msgpack.

| module | what |
|---|---|
| ``adapter`` | `RedisAdapter`, which implements `cluster.commands.Adapter` over classic pub/sub |
| ``sharded`` | `ShardedRedisAdapter`, over the sharded pub/sub of Redis 7 |
| ``streams`` | `RedisStreamsAdapter`, over a stream: recovery of sessions by any server |
| ``stream_reader`` | reads a stream without gaps |
| ``messages`` | the messages of Node's adapters, byte for byte; sans-I/O |
| ``cluster_adapter`` | `ClusterAdapter`: what those two have in common |
| ``cluster_answers`` | answers to the queries of Node's newer adapters |
| ``emitter`` | `Emitter`, for processes without clients |
| ``queries`` | sends queries to the other servers and receives their responses |
| ``requests`` | executes other servers' requests and responds |
| ``connection_pair`` | the publishing and the subscribing connection, opened and closed together |
| ``slot_link`` | `SlotLink`: such connections to every master of a Redis Cluster |
| ``publish_queue`` | messages that wait while Redis is unreachable |
| ``options``, ``counters``, ``errors`` | limits, metrics, exceptions |
"""

from roomcast.realtime.adapters.redis.adapter import RedisAdapter
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.emitter import Emitter
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions, RedisStreamOptions
from roomcast.realtime.adapters.redis.sharded import ShardedRedisAdapter
from roomcast.realtime.adapters.redis.streams import RedisStreamsAdapter

__all__ = [
    "Emitter",
    "RedisAdapter",
    "RedisAdapterCounters",
    "RedisAdapterOptions",
    "RedisStreamOptions",
    "RedisStreamsAdapter",
    "ShardedRedisAdapter",
]
