"""python-socketio's module of exceptions."""

from roomcast.realtime.compat.exceptions import (
    BadNamespaceError,
    ConnectionError,  # noqa: A004 - python-socketio's name
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    DisconnectedError,
    SocketIOError,
    TimeoutError,  # noqa: A004 - python-socketio's name
)

__all__ = [
    "BadNamespaceError",
    "ConnectionError",
    "ConnectionRefusedError",
    "DisconnectedError",
    "SocketIOError",
    "TimeoutError",
]
