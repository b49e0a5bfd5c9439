"""Connections to Redis for every part that uses it: one server, Sentinel or Cluster.

| module | what |
|---|---|
| ``commands`` | scripts and PUBLISH through redis-py, with time limits; which servers are masters |
| ``batches`` | calls of a script that share writes |
| ``connection`` | one pub/sub connection, for the parts that subscribe |
| ``options`` | addresses, credentials, TLS, time limits |
| ``url`` | options from a URL |
| ``liveness`` | timeouts that tolerate a stalled event loop |
| ``outcome`` | whether one use of Redis works, for logs, readiness and metrics |
| ``topology``, ``scripts``, ``keys``, ``errors`` | cluster slots, Lua, names of a chat's keys, `RedisUnavailable` |

May import: backoff, histogram; redis-py and hiredis.
"""

from roomcast.redis_client.batches import ScriptBatches
from roomcast.redis_client.commands import Commands, ScriptCall
from roomcast.redis_client.connection import (
    CHANNELS_PER_COMMAND,
    RedisConnection,
    SentCommand,
    channel_batches,
    pack_command,
)
from roomcast.redis_client.errors import RedisUnavailable
from roomcast.redis_client.keys import tagged
from roomcast.redis_client.liveness import Echo, wait_first, wait_for
from roomcast.redis_client.options import RedisAddress, RedisOptions, RedisTls
from roomcast.redis_client.outcome import Outcome
from roomcast.redis_client.scripts import Script, load_script
from roomcast.redis_client.topology import Topology, slot_of

__all__ = [
    "CHANNELS_PER_COMMAND",
    "Commands",
    "Echo",
    "Outcome",
    "RedisAddress",
    "RedisConnection",
    "RedisOptions",
    "RedisTls",
    "RedisUnavailable",
    "Script",
    "ScriptBatches",
    "ScriptCall",
    "SentCommand",
    "Topology",
    "channel_batches",
    "load_script",
    "pack_command",
    "slot_of",
    "tagged",
    "wait_first",
    "wait_for",
]
