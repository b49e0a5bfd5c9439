"""The error for invalid messages; `redis_client.RedisUnavailable` is the error of the connections.

Layer: realtime.
"""

from __future__ import annotations

from roomcast.realtime.errors import RealtimeError


class MalformedMessage(RealtimeError):
    """A message violates the protocol: it is counted and dropped. The error text never holds its bytes."""
