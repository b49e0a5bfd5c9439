"""A client's connection until its first bytes: the handshake of a websocket, or HTTP.

Most connections of a chat are websockets, whose first bytes are one request head of an ordinary form. Such a handshake
is answered here, and costs neither an HTTP parser nor uvicorn's state for requests. Everything else, unusual or invalid
handshakes too, is passed to `BoundedHttpProtocol`, with the same result.

Layer: realtime.serving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.utils import is_ssl
from uvicorn.server import ServerState

from roomcast.realtime.serving.http_protocol import BoundedHttpProtocol, requested_path
from roomcast.realtime.transports.proxies import address_of
from roomcast.realtime.transports.websocket import WebSocketProtocol


@dataclass(frozen=True, slots=True)
class Protocols:
    """The protocols of one site, and the arguments of their constructors.

    Attributes:
        config: uvicorn's configuration.
        state: The connections of the site.
        app_state: The state of the lifespan.
        http: Serves HTTP; has the limits.
        websocket: Serves the websockets of Engine.IO; None: the site has no Socket.IO server.
    """

    config: Config
    state: ServerState
    app_state: dict[str, Any]
    http: type[BoundedHttpProtocol]
    websocket: type[WebSocketProtocol] | None


class FirstRead(asyncio.Protocol):
    """One connection, until its first bytes."""

    __slots__ = ("_deadline", "_protocols", "_since", "_transport")

    def __init__(self, protocols: Protocols) -> None:
        """Wait for a connection.

        Args:
            protocols: The protocols that may follow.
        """
        self._protocols = protocols
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # always a stream transport
        """Start the deadline of the first request head, or refuse the connection."""
        self._transport = transport
        protocols = self._protocols
        wheel = protocols.http.wheel
        self._deadline = wheel.deadline(transport.close)
        protocols.state.connections.add(self)  # type: ignore[arg-type]  # uvicorn lists its own protocol classes
        if not protocols.http.others.admit(self):
            self._become_http().refuse(HTTPStatus.SERVICE_UNAVAILABLE)
            return
        self._since = wheel.now()
        self._deadline.arm(protocols.http.options.head_deadline_s)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - of the interface
        """The connection has ended without a request."""
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Pass the connection to the protocol of its first bytes."""
        websocket = self._protocols.websocket
        plain = None if websocket is None else websocket.read_head(data)
        if websocket is not None and plain is not None and self._accepts(data, *plain):
            self._leave()
            protocol = websocket(self._protocols.config, self._protocols.state, self._protocols.app_state)
            protocol.connection_made(self._transport)
            protocol.open("GET", *plain)
            self._transport.set_protocol(protocol)
        else:
            self._become_http(self._protocols.http.wheel.now() - self._since).data_received(data)

    def shutdown(self) -> None:
        """The process drains."""
        self._transport.close()

    def evict(self) -> None:
        """See `descriptors.Evictable`."""
        self._transport.abort()

    def _accepts(self, data: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Whether HTTP, too, would pass this head to the websocket protocol."""
        http = self._protocols.http
        # The head counts more bytes here than in `BoundedHttpProtocol`.
        if len(data) > http.options.head_limit_bytes or len(headers) > http.options.max_headers:
            return False
        if not http.others.allows_websocket():
            return False
        if http.engine_paths is None:
            return True
        peer = address_of(self._transport, "peername")
        return requested_path(http.proxies, peer, url, headers, secure=is_ssl(self._transport)) in http.engine_paths

    def _leave(self) -> None:
        self._deadline.cancel()
        self._protocols.state.connections.discard(self)
        self._protocols.http.others.busy(self)

    def _become_http(self, waited_s: float = 0.0) -> BoundedHttpProtocol:
        self._leave()
        protocols = self._protocols
        protocol = protocols.http(protocols.config, protocols.state, protocols.app_state)
        protocol.connection_made(self._transport, waited_s)
        self._transport.set_protocol(protocol)
        return protocol
