"""What can go wrong in the server, and what to do about it.

    RealtimeError
    ├── SocketGone               the socket has left; nothing was sent
    ├── RoomLimitExceeded        one socket in too many rooms
    ├── AckLimitExceeded         one connection owes too many acknowledgements
    ├── AckTimeout               a client did not acknowledge in time (also a TimeoutError)
    ├── ConnectionRefusedError   raised by a connect handler to keep a client out
    └── ServeError               the process cannot serve
        ├── AddressInUse
        ├── AddressUnavailable
        └── StartupFailed

Layer: realtime.
"""

from __future__ import annotations

from typing import Any


class RealtimeError(Exception):
    """Base of this package."""


class SocketGone(RealtimeError, KeyError):
    """There is no such socket (any more).

    Attributes:
        sid: Its id.
        namespace: Where it was looked for.
    """

    def __init__(self, sid: str, namespace: str) -> None:
        super().__init__(sid)
        self.sid = sid
        self.namespace = namespace

    def __str__(self) -> str:
        """One line."""
        return f"no socket {self.sid!r} in namespace {self.namespace!r}"


class RoomLimitExceeded(RealtimeError):
    """A socket was to join one room too many; raise ``max_rooms_per_socket`` or leave rooms.

    Attributes:
        limit: How many it may be in.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"a socket may be in {limit} rooms (max_rooms_per_socket)")
        self.limit = limit


class AckLimitExceeded(RealtimeError):
    """A client was to be asked for one acknowledgement too many while it gives none.

    Attributes:
        limit: How many may be open.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"this connection owes {limit} acknowledgements (max_pending_acks)")
        self.limit = limit


class AckTimeout(RealtimeError, TimeoutError):
    """A client did not acknowledge in time, or left before it did."""


class ConnectionRefusedError(RealtimeError):  # noqa: A001 - python-socketio's name, so that an app moves by its import
    """Raise it in a ``connect`` handler to keep the client out of the namespace.

    Args:
        message: What the client's ``connect_error`` event shows.
        data: Further arguments, put under ``data`` in it (one as itself, several as a list).

    Attributes:
        message: As given.
        data: As it is sent; None if there was none.
    """

    def __init__(self, message: str = "Connection rejected by server", *data: Any) -> None:
        super().__init__(message, *data)
        self.message = message
        self.data: Any = data[0] if len(data) == 1 else (list(data) or None)


class ServeError(RealtimeError):
    """The process cannot serve."""


class AddressInUse(ServeError):
    """Another process listens there.

    Attributes:
        host: The host that was to be bound.
        port: The port that is taken.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is in use: stop the process that has it, or choose another port")
        self.host = host
        self.port = port


class AddressUnavailable(ServeError):
    """The address cannot be bound.

    Attributes:
        host: The host that was to be bound.
        port: The port.
        cause: The system's words.
    """

    def __init__(self, host: str, port: int, cause: str) -> None:
        super().__init__(f"cannot listen on {host} port {port}: {cause}")
        self.host = host
        self.port = port
        self.cause = cause


class StartupFailed(ServeError):
    """An application's lifespan startup failed; its own traceback is in the log."""
