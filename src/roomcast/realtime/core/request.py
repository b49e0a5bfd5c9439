"""A request to the Engine.IO path, in the form that all transports share.

Layer: realtime.core.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from roomcast.realtime.core.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError, RequestRefused

#: The ``Retry-After`` of a 503, in seconds.
RETRY_AFTER_S: Final = 5


class ServerFull(Exception):
    """The server accepts no further sessions now: respond with 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A request to the Engine.IO path.

    Attributes:
        method: HTTP method.
        path: Percent-decoded.
        query_string: Percent-encoded, as received.
        headers: Names in lower case.
        address: The client's IP address, behind trusted proxies the one that they report; None on a Unix socket.
        secure: Whether the client is known to use TLS.
        websocket: Whether it is a websocket handshake.
        forwarded: Whether another node forwarded it; it is not forwarded again.
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
            RequestRefused: the header is repeated, so that two parsers may read two different requests.
        """
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise RequestRefused(HttpError.BAD_REQUEST, f"header {name.decode()} is repeated")
        return values[0].decode("latin-1") if values else None

    @property
    def user_agent(self) -> str | None:
        """The ``User-Agent`` header, for logs; None if it is missing."""
        return next((value.decode("latin-1") for key, value in self.headers if key == b"user-agent"), None)

    def handshake(self) -> Handshake:
        """The part that the session keeps."""
        return Handshake(
            headers=Headers(self.headers),
            address=self.address,
            query_string=self.query_string,
            time=time.time(),
            transport=TransportName.WEBSOCKET if self.websocket else TransportName.POLLING,
            path=self.path,
            secure=self.secure,
        )
