"""The event log in Redis: one server, Sentinel or Cluster.

| module | what |
|---|---|
| ``log`` | `RedisEventLog`, which implements `chat.ports.EventLog` with the scripts in ``lua/`` |
| ``turn_streams`` | `RedisTurnStreams`, which implements `chat.ports.TurnStreams` on the same channels |
| ``listener``, ``subscriber_connection`` | keeps channels subscribed on all masters; one connection to a master |
| ``codec``, ``keys``, ``scripts`` | layout of records and messages; key names; the Lua scripts |
| ``channel_listener`` | one classic channel that other programs publish to |
| ``options``, ``counters`` | limits, metrics |

May import: backoff, chat, eventlog.stream_options, redis_client.
"""

from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.log import RedisEventLog
from roomcast.eventlog.redis.options import RedisLogOptions
from roomcast.eventlog.redis.turn_streams import RedisTurnStreams

__all__ = ["RedisEventLog", "RedisLogCounters", "RedisLogOptions", "RedisTurnStreams"]
