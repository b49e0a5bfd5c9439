"""python-socketio's module of the client manager."""

from roomcast.realtime.compat.managers import AsyncManager

__all__ = ["AsyncManager"]
