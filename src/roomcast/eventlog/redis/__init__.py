"""The event log in Redis: one server, Sentinel or Cluster.

| module | what |
|---|---|
| ``log`` | `RedisEventLog`, behind `chat.ports.EventLog`, over the scripts in ``lua/`` |
| ``listener``, ``subscriber_connection`` | keeps channels subscribed on all masters; one connection to a master |
| ``codec``, ``keys``, ``scripts`` | layout of records and messages; key names; the Lua scripts |
| ``channel_listener`` | one classic channel that other programs publish to |
| ``options``, ``counters`` | bounds, metrics |

May import: backoff, chat, redis_client.
"""

from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.log import RedisEventLog
from roomcast.eventlog.redis.options import RedisLogOptions

__all__ = ["RedisEventLog", "RedisLogCounters", "RedisLogOptions"]
