"""The port for metrics and logs of a server.

Layer: realtime.core. Implementations belong to the layers above.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from roomcast.realtime.core.reasons import Reason
from roomcast.realtime.requests.handshake import Handshake
from roomcast.wire.engineio_http import TransportName

logger = logging.getLogger(__name__)


class ObservedConnection(Protocol):
    """What an observer may read of a connection."""

    @property
    def handshake(self) -> Handshake:
        """The request that opened the session."""

    @property
    def transport_name(self) -> TransportName:
        """The current transport."""


class ObservedSocket(Protocol):
    """What an observer may read of a socket."""

    @property
    def sid(self) -> str:
        """Its public id."""

    @property
    def namespace(self) -> str:
        """The name of its namespace."""

    @property
    def handshake(self) -> Handshake:
        """The request that opened the session."""


class Observer:
    """Receives every event that is worth a metric or a log line, synchronously, at the place where it happens.

    Subclass it and override methods; by default they do nothing. A method must return quickly. An exception that it
    raises is logged, and the server continues.
    """

    def connection_opened(self, connection: ObservedConnection) -> None:
        """An Engine.IO session opened."""

    def connection_upgraded(self, connection: ObservedConnection) -> None:
        """A session was upgraded from polling to websocket."""

    def connection_closed(self, connection: ObservedConnection, reason: Reason) -> None:
        """A session closed, after its sockets disconnected."""

    def handshake_refused(
        self, address: str | None, user_agent: str | None, transport: str, cause: str, value: str | None = None
    ) -> None:
        """A handshake was answered with an error.

        Args:
            address: Address of the client, if known.
            user_agent: Its ``User-Agent`` header, if known.
            transport: Name of the transport.
            cause: One of a small set of constants.
            value: The refused header, if ``cause`` is ``origin`` or ``host``.
        """

    def peer_malformed(self, connection: ObservedConnection, fault: str, detail: str) -> None:
        """A client violated the protocol; ``fault`` is one of a few constants, ``detail`` quotes escaped input."""

    def peer_slow(self, connection: ObservedConnection, waiting_bytes: int) -> None:
        """A client does not read; the server closes its connection."""

    def socket_connected(self, socket: ObservedSocket) -> None:
        """A client connected to a namespace."""

    def socket_refused(self, connection: ObservedConnection, namespace: str) -> None:
        """A client was rejected from a namespace."""

    def socket_disconnected(self, socket: ObservedSocket, reason: Reason) -> None:
        """A client disconnected from a namespace."""

    def event_received(self, socket: ObservedSocket, event: str, handled: bool) -> None:
        """An event arrived; ``handled``: it has a handler. Not a metrics label: clients choose the name."""

    def handler_failed(self, socket: ObservedSocket, event: str, error: Exception) -> None:
        """A handler raised an exception, which is already logged."""


class GuardedObserver:
    """Forwards every call to an observer, or to several, and logs the exceptions that they raise."""

    def __init__(self, observer: Observer) -> None:
        self._observers = [observer]

    def also(self, observer: Observer) -> None:
        """Forward to a further observer."""
        observers = [*self._observers, observer]
        self.__dict__.clear()  # the methods that look-ups have found
        self._observers = observers

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        methods = [getattr(observer, name) for observer in self._observers]
        used = [method for method in methods if getattr(method, "__func__", None) is not getattr(Observer, name)]
        if not used:
            self.__dict__[name] = methods[0]  # does nothing
            return methods[0]

        def guarded(*args: Any) -> None:
            for method in used:
                try:
                    method(*args)
                except Exception:
                    logger.exception("observer failed in %s", name)

        # The next look-up finds it without __getattr__.
        self.__dict__[name] = guarded
        return guarded
