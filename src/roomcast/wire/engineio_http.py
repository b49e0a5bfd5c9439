"""Engine.IO over HTTP: the query string, the checks of a request, and the body of an error response.

Layer: wire (standard library only). Source: Engine.IO protocol v4, "Query parameters"; engine.io 6 ``lib/server.ts``
``verify`` and ``handshake``. The order of the checks is Node's, so a request with two faults gets Node's error code.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final
from urllib.parse import parse_qsl

from roomcast.wire.engineio_refusals import HttpError, RequestRefused
from roomcast.wire.errors import quote
from roomcast.wire.limits import DEFAULT_LIMITS, Limits

PROTOCOL_VERSION: Final = "4"


@unique
class TransportName(StrEnum):
    """Transports, named as in the query string and the OPEN packet."""

    POLLING = "polling"
    WEBSOCKET = "websocket"


ALL_TRANSPORTS: Final = (TransportName.POLLING, TransportName.WEBSOCKET)


@dataclass(frozen=True, slots=True)
class EngineQuery:
    """The query string of an Engine.IO request.

    Attributes:
        eio: The protocol version, unchecked; ``""`` if absent.
        transport: The transport, unchecked; ``""`` if absent.
        sid: The session id; ``""`` in a handshake.
    """

    eio: str
    transport: str
    sid: str


#: The query of nearly all websockets that open a session.
PLAIN_QUERY: Final = f"EIO={PROTOCOL_VERSION}&transport={TransportName.WEBSOCKET}"
_PLAIN: Final = EngineQuery(PROTOCOL_VERSION, TransportName.WEBSOCKET, "")


def parse_query(query_string: str | bytes, limits: Limits = DEFAULT_LIMITS) -> EngineQuery:
    """Parse a query string. As in Node, the last value of a repeated field counts, and invalid UTF-8 becomes U+FFFD.

    Raises:
        RequestRefused: ``BAD_REQUEST``, if there are more than ``max_query_fields`` fields.
    """
    if query_string == PLAIN_QUERY:
        return _PLAIN
    text = query_string if isinstance(query_string, str) else query_string.decode("latin-1")
    try:
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=limits.max_query_fields))
    except ValueError:
        raise RequestRefused(HttpError.BAD_REQUEST, "too many query fields") from None
    return EngineQuery(fields.get("EIO", ""), fields.get("transport", ""), fields.get("sid", ""))


def check_request(
    method: str,
    query: EngineQuery,
    *,
    websocket: bool,
    session_transport: TransportName | None,
    transports: Collection[TransportName] = ALL_TRANSPORTS,
) -> TransportName:
    """Check a request before it reaches its session, or before a handshake creates one.

    Args:
        method: HTTP method in upper case.
        query: The parsed query.
        websocket: Whether the request is a websocket handshake.
        session_transport: Transport of the session that ``query.sid`` names; None if there is no such session.
        transports: Transports that the server offers.

    Returns:
        The requested transport.

    Raises:
        RequestRefused: a check failed; the error code is the one that Node returns.
    """
    # "Query parameters": ``transport`` is mandatory.
    if query.transport not in transports:
        raise RequestRefused(HttpError.UNKNOWN_TRANSPORT, f"transport {quote(query.transport)}")
    # Enum's own look-up takes five times as long.
    transport = TransportName.WEBSOCKET if query.transport == TransportName.WEBSOCKET else TransportName.POLLING
    if websocket != (transport is TransportName.WEBSOCKET):
        # Node completes such a websocket handshake and immediately closes the websocket. Here it is refused instead.
        raise RequestRefused(HttpError.BAD_REQUEST, "transport and request do not match")
    if query.sid:
        # "Sending data", "Receiving data": 400 if the session id is not known.
        if session_transport is None:
            raise RequestRefused(HttpError.UNKNOWN_SID, f"session {quote(query.sid)}")
        if not websocket and session_transport is not transport:
            raise RequestRefused(HttpError.BAD_REQUEST, "the session has been upgraded to another transport")
        if method not in {"GET", "POST"}:
            raise RequestRefused(HttpError.BAD_HANDSHAKE_METHOD, f"method {quote(method)}")
    elif method != "GET":  # "Handshake": the client MUST send a GET request
        raise RequestRefused(HttpError.BAD_HANDSHAKE_METHOD, f"method {quote(method)}")
    # "Query parameters": ``EIO`` is mandatory.
    if query.eio != PROTOCOL_VERSION:
        raise RequestRefused(HttpError.UNSUPPORTED_PROTOCOL_VERSION, f"EIO={quote(query.eio)}")
    return transport


def error_body(error: RequestRefused) -> bytes:
    """The JSON body of the error response, to be sent as ``application/json`` with ``error.status``."""
    return json.dumps({"code": int(error.http_error), "message": error.message}, separators=(",", ":")).encode()
