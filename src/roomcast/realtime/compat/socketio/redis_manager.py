"""python-socketio's module of the emitter for synchronous processes."""

from roomcast.realtime.compat.redis_manager import RedisManager

__all__ = ["RedisManager"]
