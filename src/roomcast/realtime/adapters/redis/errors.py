"""The error of the protocol; `redis_client.RedisUnavailable` is the other one here.

Layer: realtime.
"""

from __future__ import annotations

from roomcast.realtime.errors import RealtimeError


class MalformedMessage(RealtimeError):
    """A message is not of the protocol: it is counted and dropped. The text holds no byte of it."""
