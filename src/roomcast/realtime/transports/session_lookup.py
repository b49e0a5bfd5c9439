"""From a request to its session: the checks that polling and both websocket transports share.

Layer: realtime.transports.
"""

from __future__ import annotations

from roomcast.realtime.cluster.nodes import SessionOnOtherNode
from roomcast.realtime.core.connection import Connection
from roomcast.realtime.core.engine import Engine
from roomcast.realtime.requests.request import EngineRequest, ServerFull
from roomcast.wire.engineio_http import check_request, parse_query
from roomcast.wire.engineio_refusals import HttpError, RequestRefused


def engine_path(engine: Engine, path: str, root_path: str = "") -> str | None:
    """The path without ``root_path``, if it is the Engine.IO path; None otherwise.

    ASGI's ``path`` begins with ``root_path``, the path below which an application is mounted. Some frameworks remove
    it, and the option ``path`` may contain it, so that the path is compared with and without it.
    """
    own = engine.options.path
    for candidate in (path, path.removeprefix(root_path)) if root_path else (path,):
        if candidate == own or candidate == own.rstrip("/"):
            return candidate or "/"
    return None


def find_session(engine: Engine, request: EngineRequest) -> Connection | None:
    """Find the session of a request; None if the request opens a new one.

    Raises:
        RequestRefused: respond with its status and body.
        ServerFull: no new session is accepted; respond with 503.
        SessionOnOtherNode: forward the request to the node.
    """
    host = request.header(b"host")
    origin = request.header(b"origin")
    if not engine.origins.allows_host(host):
        raise RequestRefused(HttpError.FORBIDDEN, "host", header_value=host)
    if not engine.origins.allows_origin(origin, host, secure=request.secure):
        raise RequestRefused(HttpError.FORBIDDEN, "origin", header_value=origin)
    query = parse_query(request.query_string, engine.limits)
    connection = engine.connections.get(query.sid) if query.sid else None
    if connection is None and query.sid and not request.forwarded:
        owner = engine.owner_of(query.sid)
        if owner is not None:
            if request.websocket and engine.crowded:
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
