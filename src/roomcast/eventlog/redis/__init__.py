"""The event log in Redis: one server, Sentinel or Cluster.

`log` is the port's implementation over `lua/`, `engine` runs commands, `listener` keeps the live feed whole over
`link`s, `codec` is what lies and travels in Redis; `published` hears one channel of other programs.

May import: chat; redis and hiredis.
"""

from roomcast.eventlog.redis.counters import RedisLogCounters
from roomcast.eventlog.redis.log import RedisEventLog
from roomcast.eventlog.redis.options import RedisAddress, RedisLogOptions, RedisOptions, RedisTls

__all__ = ["RedisAddress", "RedisEventLog", "RedisLogCounters", "RedisLogOptions", "RedisOptions", "RedisTls"]
