"""python-socketio's exceptions.

    SocketIOError
    ├── ConnectionError
    │   └── ConnectionRefusedError   raised by a connect handler to reject a client
    ├── TimeoutError                 no acknowledgement in time
    ├── BadNamespaceError
    └── DisconnectedError

The clients of `python_client` raise the same classes.

Layer: realtime.compat. Source: python-socketio 5.18, ``socketio.exceptions``.
"""

from __future__ import annotations

import builtins
from typing import Any

from roomcast.realtime.errors import ConnectionRefusedError as NativeRefusal


class SocketIOError(Exception):
    """Base of python-socketio's exceptions."""


class ConnectionError(SocketIOError):  # noqa: A001 - python-socketio's name
    """A client cannot connect."""


class ConnectionRefusedError(ConnectionError, NativeRefusal):  # noqa: A001 - python-socketio's name
    """Raise it in a ``connect`` handler to reject the client.

    Args:
        *args: The message of the client's ``connect_error`` event, of any type, then its data: a single value as it
            is, several as a list.

    Attributes:
        error_args: What the client receives: ``message``, and ``data`` if there is any.
    """

    def __init__(self, *args: Any) -> None:
        message = str(args[0]) if args else "Connection rejected by server"
        NativeRefusal.__init__(self, message, *args[1:])
        self.args = args
        self.error_args: dict[str, Any] = {"message": message}
        if len(args) > 1:
            self.error_args["data"] = self.data


class TimeoutError(SocketIOError, builtins.TimeoutError):  # noqa: A001 - python-socketio's name
    """A client did not acknowledge in time. Also Python's ``TimeoutError``, unlike there."""


class BadNamespaceError(SocketIOError):
    """A client is not connected to the namespace."""


class DisconnectedError(SocketIOError):
    """A client is not connected."""
