"""The observer that logs and counts the events of the Socket.IO server.

Layer: observability.
"""

# ruff: noqa: ARG002 - the port defines the arguments

from __future__ import annotations

import logging
from collections import Counter
from typing import Final

from roomcast.realtime.core.observer import ObservedConnection, ObservedSocket, Observer
from roomcast.realtime.core.reasons import Reason

logger = logging.getLogger("roomcast.gateway")


#: The setting that lists the accepted values of a header.
_SETTINGS: Final = {"origin": "ALLOWED_ORIGINS", "host": "ALLOWED_HOSTS"}


class ConnectionLog(Observer):
    """Logs and counts connections, failures and events.

    Event names and namespaces are never keys of ``counts``: clients choose them, so their number is unlimited.

    Attributes:
        counts: Totals by kind, or by ``kind:reason``.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def connection_opened(self, connection: ObservedConnection) -> None:
        """See the port."""
        self.counts[f"opened:{connection.handshake.transport.value}"] += 1

    def connection_upgraded(self, connection: ObservedConnection) -> None:
        """See the port."""
        self.counts["upgraded"] += 1

    def connection_closed(self, connection: ObservedConnection, reason: Reason) -> None:
        """See the port."""
        self.counts[f"closed:{reason.value}"] += 1

    def handshake_refused(self, address: str | None, transport: str, cause: str, value: str | None = None) -> None:
        """See the port."""
        self.counts[f"refused:{cause}"] += 1
        facts = {"ip": address, "transport": transport, "cause": cause}
        if cause in _SETTINGS:
            facts |= {cause: value, "setting": _SETTINGS[cause]}
        logger.info("handshake refused", extra=facts)

    def peer_malformed(self, connection: ObservedConnection, fault: str, detail: str) -> None:
        """See the port."""
        self.counts[f"malformed:{fault}"] += 1
        logger.info(
            "client violated the protocol", extra={"ip": connection.handshake.address, "fault": fault, "detail": detail}
        )

    def peer_slow(self, connection: ObservedConnection, waiting_bytes: int) -> None:
        """See the port."""
        self.counts["slow"] += 1
        logger.warning(
            "slow client disconnected",
            extra={"ip": connection.handshake.address, "waiting_bytes": waiting_bytes},
        )

    def socket_connected(self, socket: ObservedSocket) -> None:
        """See the port."""
        logger.info("New connection", extra=_facts(socket))

    def socket_refused(self, connection: ObservedConnection, namespace: str) -> None:
        """See the port."""
        logger.info("connection refused", extra={"ip": connection.handshake.address, "namespace": namespace})

    def socket_disconnected(self, socket: ObservedSocket, reason: Reason) -> None:
        """See the port."""
        logger.debug("Socket disconnected", extra={**_facts(socket), "reason": reason.value})

    def event_received(self, socket: ObservedSocket, event: str, handled: bool) -> None:
        """See the port."""
        self.counts["events:handled" if handled else "events:unknown"] += 1

    def handler_failed(self, socket: ObservedSocket, event: str, error: Exception) -> None:
        """See the port."""
        self.counts["handlers:failed"] += 1


def _facts(socket: ObservedSocket) -> dict[str, str | None]:
    handshake = socket.handshake
    return {
        "socketId": socket.sid,
        "userAgent": handshake.headers.get("user-agent"),
        "ip": handshake.address,
        "transport": handshake.transport.value,
    }
