"""The HTTP face of Engine.IO: the query string, which requests are refused, and what the refusal says.

Layer: wire (standard library only). Source: Engine.IO protocol v4, "Query parameters"; engine.io 6 ``lib/server.ts``
``verify`` and ``handshake``, whose order of checks decides which code a request with two faults gets.
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
    """Transports; the value is what the query and the open packet call them."""

    POLLING = "polling"
    WEBSOCKET = "websocket"


ALL_TRANSPORTS: Final = (TransportName.POLLING, TransportName.WEBSOCKET)


@dataclass(frozen=True, slots=True)
class EngineQuery:
    """The query string of an Engine.IO request.

    Attributes:
        eio: Protocol version as written, ``""`` if absent.
        transport: Transport as written, ``""`` if absent.
        sid: Session id, ``""`` if absent or empty: a handshake.
    """

    eio: str
    transport: str
    sid: str


def parse_query(query_string: str | bytes, limits: Limits = DEFAULT_LIMITS) -> EngineQuery:
    """Read a query string. Of a repeated field the last counts; what is not UTF-8 becomes U+FFFD, as in Node.

    Raises:
        RequestRefused: ``BAD_REQUEST``: more than ``max_query_fields`` fields.
    """
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
    """Decide whether a request may go on: to its session, or to a new handshake if it names none.

    Args:
        method: HTTP method in upper case.
        query: Its query.
        websocket: Whether it is a websocket handshake.
        session_transport: Transport of the live session that ``query.sid`` names; None if there is no such session.
        transports: Transports that the server offers.

    Returns:
        The transport it asks for.

    Raises:
        RequestRefused: with the code that Node gives.
    """
    if query.transport not in transports:
        raise RequestRefused(HttpError.UNKNOWN_TRANSPORT, f"transport {quote(query.transport)}")
    transport = TransportName(query.transport)
    if websocket != (transport is TransportName.WEBSOCKET):
        # Node accepts the websocket handshake of a polling request and closes it at once: the same, one step earlier.
        raise RequestRefused(HttpError.BAD_REQUEST, "transport and request do not match")
    if query.sid:
        if session_transport is None:
            raise RequestRefused(HttpError.UNKNOWN_SID, f"session {quote(query.sid)}")
        if not websocket and session_transport is not transport:
            raise RequestRefused(HttpError.BAD_REQUEST, "the session has been upgraded to another transport")
        if method not in {"GET", "POST"}:
            raise RequestRefused(HttpError.BAD_HANDSHAKE_METHOD, f"method {quote(method)}")
    elif method != "GET":
        raise RequestRefused(HttpError.BAD_HANDSHAKE_METHOD, f"method {quote(method)}")
    if query.eio != PROTOCOL_VERSION:
        raise RequestRefused(HttpError.UNSUPPORTED_PROTOCOL_VERSION, f"EIO={quote(query.eio)}")
    return transport


def error_body(error: RequestRefused) -> bytes:
    """The JSON body of a refusal, to be sent as ``application/json`` with ``error.status``."""
    return json.dumps({"code": int(error.http_error), "message": error.message}, separators=(",", ":")).encode()
