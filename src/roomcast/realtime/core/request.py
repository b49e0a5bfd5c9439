"""A request to the Engine.IO path, and why it does not reach a session of this node.

Layer: realtime.core.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from roomcast.realtime.core.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError, RequestRefused


class ServerFull(Exception):
    """No further session now: answer 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A request to the Engine.IO path, whichever way it came.

    Attributes:
        method: HTTP method.
        path: Decoded.
        query_string: As it came.
        headers: Names in lower case.
        address: The client's, proxies considered; None on a Unix socket.
        secure: Whether it is known to have come by TLS.
        websocket: Whether it is a websocket handshake.
        forwarded: Whether another node sent it on: it goes no further.
    """

    method: str
    path: str
    query_string: str
    headers: Iterable[tuple[bytes, bytes]]
    address: str | None
    secure: bool
    websocket: bool
    forwarded: bool = False

    def header(self, name: bytes) -> str | None:
        """The header's value; None if it is missing.

        Raises:
            RequestRefused: it is there twice, so that two readers may see two requests.
        """
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise RequestRefused(HttpError.BAD_REQUEST, f"{name.decode()} is there twice")
        return values[0].decode("latin-1") if values else None

    def handshake(self) -> Handshake:
        """What is kept of it."""
        return Handshake(
            headers=Headers(self.headers),
            address=self.address,
            query_string=self.query_string,
            time=time.time(),
            transport=TransportName.WEBSOCKET if self.websocket else TransportName.POLLING,
            path=self.path,
            secure=self.secure,
        )


class SessionOnOtherNode(Exception):
    """The session belongs to another node.

    Attributes:
        node_id: Which one.
    """

    def __init__(self, node_id: str) -> None:
        super().__init__(f"the session is of node {node_id}")
        self.node_id = node_id
