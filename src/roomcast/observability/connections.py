"""The observer that logs and counts the events of the Socket.IO server.

Layer: observability.
"""

# ruff: noqa: ARG002 - the port defines the arguments

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Final

from roomcast.observability.logs import LIMITED
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
        user_of: The user of an authenticated socket by the socket's id; None: unknown.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.user_of: Callable[[str], str | None] = lambda _sid: None

    def connection_opened(self, connection: ObservedConnection) -> None:
        """See the port."""
        self.counts[f"opened:{connection.handshake.transport.value}"] += 1

    def connection_upgraded(self, connection: ObservedConnection) -> None:
        """See the port."""
        self.counts["upgraded"] += 1

    def connection_closed(self, connection: ObservedConnection, reason: Reason) -> None:
        """See the port."""
        self.counts[f"closed:{reason.value}"] += 1

    def handshake_refused(
        self, address: str | None, user_agent: str | None, transport: str, cause: str, value: str | None = None
    ) -> None:
        """See the port."""
        self.counts[f"refused:{cause}"] += 1
        facts = {"ip": address, "user_agent": user_agent, "transport": transport, "cause": cause, LIMITED: cause}
        if cause in _SETTINGS:
            facts |= {cause: value, "setting": _SETTINGS[cause]}
        logger.info("handshake refused", extra=facts)

    def peer_malformed(self, connection: ObservedConnection, fault: str, detail: str) -> None:
        """See the port."""
        self.counts[f"malformed:{fault}"] += 1
        # Without the detail, which quotes the packet: it may be a message or a token.
        facts = {**_client(connection), "fault": fault, LIMITED: fault}
        logger.info("client violated the protocol", extra=facts)

    def peer_slow(self, connection: ObservedConnection, waiting_bytes: int) -> None:
        """See the port."""
        self.counts["slow"] += 1
        facts = {**_client(connection), "waiting_bytes": waiting_bytes, LIMITED: "slow"}
        logger.warning("slow client disconnected", extra=facts)

    def socket_connected(self, socket: ObservedSocket) -> None:
        """See the port."""
        if logger.isEnabledFor(logging.INFO):
            logger.info("New connection", extra=self._facts(socket))

    def socket_refused(self, connection: ObservedConnection, namespace: str) -> None:
        """See the port."""
        facts = {**_client(connection), "namespace": namespace, LIMITED: "namespace"}
        logger.info("connection refused", extra=facts)

    def socket_disconnected(self, socket: ObservedSocket, reason: Reason) -> None:
        """See the port."""
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("Socket disconnected", extra={**self._facts(socket), "reason": reason.value})

    def event_received(self, socket: ObservedSocket, event: str, handled: bool) -> None:
        """See the port."""
        self.counts["events:handled" if handled else "events:unknown"] += 1

    def handler_failed(self, socket: ObservedSocket, event: str, error: Exception) -> None:
        """See the port."""
        self.counts["handlers:failed"] += 1

    def _facts(self, socket: ObservedSocket) -> dict[str, str | None]:
        facts = {"socket_id": socket.sid, **_client(socket)}
        user_id = self.user_of(socket.sid)
        return facts if user_id is None else {**facts, "user_id": user_id}


def _client(observed: ObservedConnection | ObservedSocket) -> dict[str, str | None]:
    handshake = observed.handshake
    return {
        "user_agent": handshake.headers.get("user-agent"),
        "ip": handshake.address,
        "transport": handshake.transport.value,
    }
