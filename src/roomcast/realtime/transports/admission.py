"""What the application decides about a request that opens a session: whether it may, and headers of the response.

Layer: realtime.transports. Source: engine.io 6 ``Server.verify`` (``allowRequest``) and ``initial_headers``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
from collections.abc import Awaitable
from typing import Any, Final

from roomcast.realtime.core.engine import Engine
from roomcast.realtime.errors import ConnectionRefusedError  # noqa: A004 - python-socketio's name
from roomcast.realtime.requests.request import EngineRequest, ServerFull
from roomcast.wire.engineio_refusals import HttpError, RequestRefused

logger = logging.getLogger(__name__)

_FIELD: Final = re.compile(rb"[!-~][\x20-\x7e\x80-\xff]*")  # RFC 9110 §5.5, without tabs
_NAME: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def admit(engine: Engine, request: EngineRequest) -> Awaitable[None] | None:
    """Ask ``allow_request``. None: the session may be opened; an awaitable: once it returns.

    Raises:
        RequestRefused: respond with its status and body. The awaitable raises it, too.
        ServerFull: the server has become full while the awaitable waited.
    """
    check = engine.options.allow_request
    if check is None:
        return None
    try:
        answer = check(request.handshake())
    except Exception as error:  # noqa: BLE001 - the function may raise anything; _refusal logs it
        raise _refusal(error) from None
    if inspect.isawaitable(answer):
        return _wait(engine, answer)
    _decide(answer)
    return None


async def _wait(engine: Engine, answer: Awaitable[Any]) -> None:
    engine.admitting += 1
    try:
        async with asyncio.timeout(engine.options.connect_timeout_s):
            allowed = await answer
    except Exception as error:  # noqa: BLE001 - see admit
        raise _refusal(error) from None
    finally:
        engine.admitting -= 1
    _decide(allowed)
    if engine.full:
        raise ServerFull


def _decide(allowed: Any) -> None:
    if allowed is not True:
        raise RequestRefused(HttpError.FORBIDDEN, "request")


def _refusal(error: Exception) -> RequestRefused:
    if isinstance(error, ConnectionRefusedError):
        return RequestRefused(HttpError.FORBIDDEN, "request", message=str(error.message))
    logger.error("allow_request failed", exc_info=error)
    return RequestRefused(HttpError.FORBIDDEN, "request")


def initial_headers(engine: Engine, request: EngineRequest) -> list[tuple[bytes, bytes]]:
    """The application's headers for the response to a handshake; none if its function fails, which is logged."""
    function = engine.options.initial_headers
    if function is None:
        return []
    try:
        given = function(request.handshake())
        headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in given]
    except Exception:
        logger.exception("initial_headers failed")
        return []
    valid = [header for header in headers if _NAME.fullmatch(header[0]) and _FIELD.fullmatch(header[1])]
    if len(valid) < len(headers):
        logger.error("initial_headers returned an invalid name or value: that header is not sent")
    return valid
