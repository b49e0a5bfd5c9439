"""python-socketio's module of class-based namespaces."""

from roomcast.realtime.compat.async_namespace import AsyncNamespace

__all__ = ["AsyncNamespace"]
