"""What can go wrong between servers.

    RealtimeError
    ├── MalformedMessage    what stands on a channel is not the protocol: counted and dropped
    └── RedisUnavailable    the connection is not there, or not any more: dialled anew

Layer: realtime.
"""

from __future__ import annotations

from roomcast.realtime.errors import RealtimeError


class MalformedMessage(RealtimeError):
    """Somebody else's bytes; the text holds no byte of them."""


class RedisUnavailable(RealtimeError):
    """Redis is out of reach, refuses us, or does not answer."""
