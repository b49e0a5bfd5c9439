"""How Redis is reached, for every part that keeps something there: one server, Sentinel or Cluster alike.

Bounded commands, scripts, who the masters are, and how long a sign of life is waited for. What is kept, and what is
listened to, is its users' business.

May import: nothing of ours. redis-py.
"""

from roomcast.redis_client.commands import Commands, Placement
from roomcast.redis_client.errors import RedisUnavailable
from roomcast.redis_client.keys import tagged
from roomcast.redis_client.options import RedisAddress, RedisOptions, RedisTls
from roomcast.redis_client.patience import BEATS, first_done, within
from roomcast.redis_client.scripts import Script, load_script

__all__ = [
    "BEATS",
    "Commands",
    "Placement",
    "RedisAddress",
    "RedisOptions",
    "RedisTls",
    "RedisUnavailable",
    "Script",
    "first_done",
    "load_script",
    "tagged",
    "within",
]
