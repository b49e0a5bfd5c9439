"""python-socketio's module of the server."""

from roomcast.realtime.compat.async_server import AsyncServer

__all__ = ["AsyncServer"]
