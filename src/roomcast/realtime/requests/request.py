"""A request to the Engine.IO path, in the form that all transports share, and what proxies have changed in it.

Layer: realtime.requests.
"""

from __future__ import annotations

import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from roomcast.realtime.requests.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName
from roomcast.wire.engineio_refusals import HttpError, RequestRefused

#: The ``Retry-After`` of a 503, in seconds.
RETRY_AFTER_S: Final = 5


Header = tuple[bytes, bytes]


class ServerFull(Exception):
    """The server accepts no further sessions now: respond with 503."""


@dataclass(frozen=True, slots=True)
class ClientView:
    """What a client has sent to the first proxy.

    Attributes:
        address: The client's address; None on a Unix socket.
        secure: Whether the client uses TLS.
        host: The host and port that the client has asked for; None: those of the ``Host`` header.
        base_path: The path below which the client finds the application: ``/chat``, or empty.
    """

    address: str | None
    secure: bool
    host: str | None = None
    base_path: str = ""

    def path(self, path: str) -> str:
        """A path of the request without the base path, if it begins with that."""
        rest = path.removeprefix(self.base_path)
        return (rest or "/") if not rest or rest.startswith("/") else path

    def headers(self, headers: Sequence[Header]) -> Sequence[Header]:
        """The headers of the request, with the client's ``Host``."""
        if self.host is None:
            return headers
        return [(name, self.host.encode() if name == b"host" else value) for name, value in headers]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRequest:
    """A request to the Engine.IO path.

    Attributes:
        method: HTTP method.
        path: Percent-decoded, without the base path.
        query_string: Percent-encoded, as received.
        headers: Names in lower case.
        address: The client's IP address, behind trusted proxies the one that they report; None on a Unix socket.
        secure: Whether the client is known to use TLS.
        websocket: Whether it is a websocket handshake.
        forwarded: Whether another node forwarded it; it is not forwarded again.
        scope: The ASGI scope, if an application in front has put something into it.
    """

    method: str
    path: str
    query_string: str
    headers: Sequence[Header]
    address: str | None
    secure: bool
    websocket: bool
    forwarded: bool = False
    scope: MutableMapping[str, Any] | None = None

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
            scope=self.scope,
        )
