"""The event log in Redis: one server, Sentinel or Cluster.

`log` is the port's implementation over `lua/`, `engine` runs its commands, `listener` keeps the live feed whole over
`link`s, `codec` is what lies and travels in Redis; `published` hears one channel of other programs.

May import: chat, redis_client; redis and hiredis.
"""

from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.log import RedisEventLog
from roomcast.eventlog.redis.options import RedisLogOptions

__all__ = ["RedisEventLog", "RedisLogCounters", "RedisLogOptions"]
