"""What the server tells of itself: the port that metrics and logs hang on.

Layer: realtime. The port belongs to the server; implementations live above it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

from roomcast.realtime.core.reasons import Reason

if TYPE_CHECKING:
    from roomcast.realtime.core.connection import Connection
    from roomcast.realtime.core.socket import Socket

logger = logging.getLogger(__name__)


class Observer(Protocol):
    """Told of everything that is worth counting or logging, synchronously, where it happens.

    A method must return soon and must not raise; if one does, the exception is logged and the server goes on.
    """

    def connection_opened(self, connection: Connection) -> None:
        """An Engine.IO session began."""

    def connection_upgraded(self, connection: Connection) -> None:
        """A session moved from polling to websocket."""

    def connection_closed(self, connection: Connection, reason: Reason) -> None:
        """A session ended; its sockets were told before."""

    def handshake_refused(self, address: str | None, transport: str, cause: str) -> None:
        """A handshake was answered with an error; ``cause`` is one of a small set of words."""

    def peer_malformed(self, connection: Connection, fault: str, detail: str) -> None:
        """A client broke the protocol; ``fault`` is one of a small set of words, ``detail`` is escaped peer input."""

    def peer_slow(self, connection: Connection, waiting_bytes: int) -> None:
        """A client does not read; its connection is cut."""

    def socket_connected(self, socket: Socket) -> None:
        """A client entered a namespace."""

    def socket_refused(self, connection: Connection, namespace: str) -> None:
        """A client was not let into a namespace."""

    def socket_disconnected(self, socket: Socket, reason: Reason) -> None:
        """A client left a namespace."""

    def event_received(self, socket: Socket, event: str, handled: bool) -> None:
        """An event came; ``handled`` is False if nobody listens to it. The name is peer input: not a metrics label."""

    def handler_failed(self, socket: Socket, event: str, error: Exception) -> None:
        """A handler raised. It was logged already."""


class NullObserver:
    """Tells nobody; base for observers of a few things."""

    def connection_opened(self, connection: Connection) -> None:
        """See `Observer`."""

    def connection_upgraded(self, connection: Connection) -> None:
        """See `Observer`."""

    def connection_closed(self, connection: Connection, reason: Reason) -> None:
        """See `Observer`."""

    def handshake_refused(self, address: str | None, transport: str, cause: str) -> None:
        """See `Observer`."""

    def peer_malformed(self, connection: Connection, fault: str, detail: str) -> None:
        """See `Observer`."""

    def peer_slow(self, connection: Connection, waiting_bytes: int) -> None:
        """See `Observer`."""

    def socket_connected(self, socket: Socket) -> None:
        """See `Observer`."""

    def socket_refused(self, connection: Connection, namespace: str) -> None:
        """See `Observer`."""

    def socket_disconnected(self, socket: Socket, reason: Reason) -> None:
        """See `Observer`."""

    def event_received(self, socket: Socket, event: str, handled: bool) -> None:
        """See `Observer`."""

    def handler_failed(self, socket: Socket, event: str, error: Exception) -> None:
        """See `Observer`."""


class GuardedObserver:
    """Passes everything on to an observer; what that raises is logged and goes no further."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._observer, name)

        def guarded(*args: Any) -> None:
            try:
                method(*args)
            except Exception:
                logger.exception("observer failed in %s", name)

        # Found without __getattr__ from now on.
        self.__dict__[name] = guarded
        return guarded
