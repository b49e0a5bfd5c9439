"""Exceptions of the server.

    RealtimeError
    ├── SocketGone               the socket has disconnected; nothing was sent
    ├── RoomLimitExceeded        one socket in too many rooms
    ├── AckLimitExceeded         too many acknowledgements are pending on one connection
    ├── AckTimeout               a client did not acknowledge in time (also a TimeoutError)
    │   └── BroadcastAckTimeout  not every recipient of a broadcast acknowledged it
    ├── ClusterTimeout           the other servers did not answer in time (also a TimeoutError)
    ├── QueryLimitExceeded       too many queries to the other servers wait for answers
    ├── ConnectionRefusedError   raised by a connect handler or middleware to reject a client
    ├── EventRefused             raised by middleware: the event has no effect
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
    """There is no such socket on this server.

    Attributes:
        sid: The id.
        namespace: The namespace.
    """

    def __init__(self, sid: str, namespace: str) -> None:
        super().__init__(sid)
        self.sid = sid
        self.namespace = namespace

    def __str__(self) -> str:
        """One line."""
        return f"no socket {self.sid!r} in namespace {self.namespace!r}"


class RoomLimitExceeded(RealtimeError):
    """A socket cannot join another room: raise ``max_rooms_per_socket``, or leave rooms.

    Attributes:
        limit: ``max_rooms_per_socket``.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the socket is in {limit} rooms, the maximum: raise max_rooms_per_socket or leave rooms")
        self.limit = limit


class AckLimitExceeded(RealtimeError):
    """Too many acknowledgements of one connection are pending: the client does not send them.

    Attributes:
        limit: ``max_pending_acks``.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} acknowledgements of this connection are pending, the maximum (max_pending_acks)")
        self.limit = limit


class AckTimeout(RealtimeError, TimeoutError):
    """A client did not acknowledge in time, or disconnected before."""


class BroadcastAckTimeout(AckTimeout):
    """Not every recipient of a broadcast acknowledged it.

    Attributes:
        received: The acknowledgements that arrived: the same values as without the error.
        missing: How many others were asked to acknowledge, as far as their servers have said.
    """

    def __init__(self, event: str, problem: str, received: list[Any], missing: int) -> None:
        super().__init__(f"{missing} acknowledgements of {event!r} are missing: {problem}")
        self.received = received
        self.missing = missing


class ClusterTimeout(RealtimeError, TimeoutError):
    """Not all servers of the cluster answered: in time, or at all because the adapter is not connected.

    Attributes:
        received: What those returned that answered: the same values as without the error.
    """

    def __init__(self, problem: str, received: list[Any]) -> None:
        super().__init__(problem)
        self.received = received


class QueryLimitExceeded(RealtimeError):
    """Too many queries to the other servers wait for answers.

    Attributes:
        limit: ``max_queries``.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} queries to the other servers wait for answers, the maximum (max_queries)")
        self.limit = limit


class ConnectionRefusedError(RealtimeError):  # noqa: A001 - python-socketio's name, so that an app moves by its import
    """Raise it in a ``connect`` handler, or in middleware for connections, to reject the client.

    Args:
        message: The message of the client's ``connect_error`` event, as text.
        data: The ``data`` of that event: a single value as it is, several as a list.

    Attributes:
        message: As sent.
        data: As sent; None if none was given.
    """

    def __init__(self, message: object = "Connection rejected by server", *data: Any) -> None:
        super().__init__(message, *data)
        self.message = str(message)
        self.data: Any = data[0] if len(data) == 1 else (list(data) or None)


class EventRefused(RealtimeError):
    """Raise it in middleware for events: no handler is called for the event.

    Args:
        *answer: The arguments of the acknowledgement; without any, the event is not acknowledged.

    Attributes:
        answer: As given; None if there are none.
    """

    def __init__(self, *answer: Any) -> None:
        super().__init__(*answer)
        self.answer: tuple[Any, ...] | None = answer or None


class ServeError(RealtimeError):
    """The process cannot serve."""


class AddressInUse(ServeError):
    """Another process listens on the address.

    Attributes:
        host: The host.
        port: The port.
    """

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} on {host} is in use: stop that process, or choose another port")
        self.host = host
        self.port = port


class AddressUnavailable(ServeError):
    """The address cannot be bound.

    Attributes:
        host: The host.
        port: The port.
        cause: The error text of the operating system.
    """

    def __init__(self, host: str, port: int, cause: str) -> None:
        super().__init__(f"cannot listen on {host} port {port}: {cause}")
        self.host = host
        self.port = port
        self.cause = cause


class StartupFailed(ServeError):
    """The lifespan startup of an application failed; its traceback is in the log."""
