"""Which requests get to a session: the checks that all three entrances share.

The entrances are the websocket protocol class, polling, and websocket over plain ASGI.

Layer: realtime.
"""

from __future__ import annotations

from roomcast.realtime.core.connection import Connection
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.core.request import EngineRequest, ServerFull, SessionOnOtherNode
from roomcast.wire.engineio_http import check_request, parse_query
from roomcast.wire.engineio_refusals import HttpError, RequestRefused


def is_engine_path(engine: Engine, path: str) -> bool:
    """Whether Engine.IO answers this path."""
    own = engine.options.path
    return path == own or path == own.rstrip("/")


def admit(engine: Engine, request: EngineRequest) -> Connection | None:
    """The session that a request is for; None if it is to begin one.

    Raises:
        RequestRefused: answer with its status and body.
        ServerFull: it would begin one too many.
        SessionOnOtherNode: another node has it: send the request on.
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
            raise SessionOnOtherNode(owner)
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
