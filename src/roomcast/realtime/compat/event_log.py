"""The arguments ``logger`` and ``engineio_logger``: what python-socketio logs at the level INFO.

Layer: realtime.compat.
"""

from __future__ import annotations

import logging
from typing import Any

from roomcast.realtime.core.observer import ObservedConnection, ObservedSocket, Observer
from roomcast.realtime.core.reasons import Reason


def logger_of(argument: Any, name: str) -> Any:
    """The logger of an argument: the given one, or the one with this name.

    Args:
        argument: True: log INFO to stderr; False or None: errors only; else a logger.
        name: ``socketio.server`` or ``engineio.server``.
    """
    if argument is not None and not isinstance(argument, bool):
        return argument
    logger = logging.getLogger(name)
    if logger.level == logging.NOTSET:  # not configured by the application
        logger.setLevel(logging.INFO if argument else logging.ERROR)
        logger.addHandler(logging.StreamHandler())
    return logger


class EventLog(Observer):
    """Logs what clients do.

    Args:
        logger: For Socket.IO.
        engineio_logger: For Engine.IO.
    """

    def __init__(self, logger: Any, engineio_logger: Any) -> None:
        self._logger = logger
        self._engineio_logger = engineio_logger

    def connection_opened(self, connection: ObservedConnection) -> None:
        """See `Observer`. Session ids are secrets and are not logged."""
        handshake = connection.handshake
        self._engineio_logger.info("session opened by %s over %s", handshake.address, handshake.transport.value)

    def connection_upgraded(self, connection: ObservedConnection) -> None:
        """See `Observer`."""
        self._engineio_logger.info("session of %s upgraded to websocket", connection.handshake.address)

    def connection_closed(self, connection: ObservedConnection, reason: Reason) -> None:
        """See `Observer`."""
        self._engineio_logger.info("session of %s closed: %s", connection.handshake.address, reason.value)

    def handshake_refused(
        self, address: str | None, user_agent: str | None, transport: str, cause: str, value: str | None = None
    ) -> None:
        """See `Observer`."""
        self._engineio_logger.warning(
            "handshake of %s (%r) over %s refused: %s %r", address, user_agent, transport, cause, value
        )

    def peer_malformed(self, connection: ObservedConnection, fault: str, detail: str) -> None:
        """See `Observer`."""
        self._engineio_logger.warning("session of %s closed: %s (%s)", connection.handshake.address, fault, detail)

    def peer_slow(self, connection: ObservedConnection, waiting_bytes: int) -> None:
        """See `Observer`."""
        self._engineio_logger.warning(
            "session of %s closed: it does not read, %d bytes wait", connection.handshake.address, waiting_bytes
        )

    def socket_connected(self, socket: ObservedSocket) -> None:
        """See `Observer`."""
        self._logger.info("%s connected [%s]", socket.sid, socket.namespace)

    def socket_disconnected(self, socket: ObservedSocket, reason: Reason) -> None:
        """See `Observer`."""
        self._logger.info("%s disconnected [%s]: %s", socket.sid, socket.namespace, reason.value)

    def event_received(self, socket: ObservedSocket, event: str, handled: bool) -> None:  # noqa: ARG002 - the port's
        """See `Observer`."""
        self._logger.info('received event "%s" from %s [%s]', event, socket.sid, socket.namespace)
