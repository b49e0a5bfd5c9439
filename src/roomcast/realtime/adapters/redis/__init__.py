"""The classic pub/sub protocol of Node's ``@socket.io/redis-adapter`` 8, and of ``@socket.io/redis-emitter``.

Layer: realtime. May import: wire, redis, hiredis, msgpack.

| module | what |
|---|---|
| ``adapter`` | `RedisAdapter`, behind `adapters.Adapter` |
| ``emitter`` | `Emitter`, for processes that serve nobody |
| ``protocol`` | what stands on which channel, byte for byte; sans-I/O |
| ``packing`` | msgpack as notepack.io writes and reads it, bounded |
| ``answering`` | what other servers ask, and what they are told |
| ``session`` | one pair of connections: commands, subscriptions, proof of life |
| ``link`` | one connection |
| ``directory`` | `RedisDirectory`: which nodes are up, and where each takes what is forwarded |
| ``options``, ``counters`` | what can be set, what is counted |

The sharded and the streams variants of Node's adapter would stand beside ``adapter`` and ``protocol``.
"""

from roomcast.realtime.adapters.redis.adapter import RedisAdapter
from roomcast.realtime.adapters.redis.counters import RedisAdapterCounters
from roomcast.realtime.adapters.redis.emitter import Emitter
from roomcast.realtime.adapters.redis.options import RedisAdapterOptions

__all__ = ["Emitter", "RedisAdapter", "RedisAdapterCounters", "RedisAdapterOptions"]
