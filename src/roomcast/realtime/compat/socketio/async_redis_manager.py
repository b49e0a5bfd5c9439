"""python-socketio's module of the client manager over Redis."""

from roomcast.realtime.compat.managers import AsyncRedisManager

__all__ = ["AsyncRedisManager"]
