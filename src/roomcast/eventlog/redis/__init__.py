"""The event log in Redis: one server, Sentinel or Cluster.

| module | what |
|---|---|
| ``log`` | `RedisEventLog`, behind `chat.ports.EventLog`, over the scripts in ``lua/`` |
| ``listener`` | keeps channels subscribed on all masters, over ``subscriber_connection`` |
| ``codec``, ``keys`` | layout of records, messages and names |
| ``channel_listener`` | one classic channel that other programs publish to |

May import: backoff, chat, redis_client.
"""

from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.log import RedisEventLog
from roomcast.eventlog.redis.options import RedisLogOptions

__all__ = ["RedisEventLog", "RedisLogCounters", "RedisLogOptions"]
