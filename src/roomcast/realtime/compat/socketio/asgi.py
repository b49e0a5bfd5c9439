"""python-socketio's module of the ASGI application."""

from roomcast.realtime.compat.asgi import ASGIApp

__all__ = ["ASGIApp"]
