"""Which requests get to a session: the checks that all three entrances share.

The entrances are the websocket protocol class, polling, and websocket over plain ASGI.

Layer: realtime.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from roomcast.realtime.connection import Connection
from roomcast.realtime.engine import Engine
from roomcast.realtime.forwarding import Elsewhere
from roomcast.realtime.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName, check_request, parse_query
from roomcast.wire.errors import HttpError, RequestRefused


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


def is_engine_path(engine: Engine, path: str) -> bool:
    """Whether Engine.IO answers this path."""
    own = engine.options.path
    return path == own or path == own.rstrip("/")


def admit(engine: Engine, request: EngineRequest) -> Connection | None:
    """The session that a request is for; None if it is to begin one.

    Raises:
        RequestRefused: answer with its status and body.
        ServerFull: it would begin one too many.
        Elsewhere: another node has it: send the request on.
    """
    host = request.header(b"host")
    origin = request.header(b"origin")
    if not engine.origins.allows_host(host):
        raise RequestRefused(HttpError.FORBIDDEN, "host")
    if not engine.origins.allows_origin(origin, host, secure=request.secure):
        raise RequestRefused(HttpError.FORBIDDEN, "origin")
    query = parse_query(request.query_string, engine.limits)
    connection = engine.connections.get(query.sid) if query.sid else None
    if connection is None and query.sid and not request.forwarded:
        owner = engine.owner(query.sid)
        if owner is not None:
            if request.websocket and engine.full:
                raise ServerFull
            raise Elsewhere(owner)
    check_request(
        request.method,
        query,
        websocket=request.websocket,
        session_transport=None if connection is None else connection.transport_name,
        transports=engine.options.transports,
    )
    if connection is None and engine.full:
        raise ServerFull
    return connection
