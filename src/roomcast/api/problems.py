"""Errors of the API as problem details with a stable code.

Layer: api. Source: RFC 9457.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from roomcast.chat.errors import RateLimitReached
from roomcast.contract.errors import ErrorCode, Problem, ProblemItem
from roomcast.observability.log_context import log_facts

logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
#: The default error code of each HTTP status.
CODES: Final[dict[int, ErrorCode]] = {
    400: ErrorCode.BAD_REQUEST,
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    421: ErrorCode.MISDIRECTED,
    422: ErrorCode.INVALID,
    429: ErrorCode.LIMIT_REACHED,
    500: ErrorCode.INTERNAL,
    503: ErrorCode.UNAVAILABLE,
}
# What the body itself can cause while it is read: it is nested too deeply or not UTF-8, or the client has left.
_FAULTS_OF_A_BODY: Final = (RecursionError, ValueError, ClientDisconnect)
#: Maximum number of errors that one response lists: a request can have any number of invalid members.
MAX_ITEMS: Final = 20


#: Refusals without a permitted request in between, after which the responses are late.
PATIENCE: Final = 10
WAIT_S: Final = 1.0
MAX_WAITING: Final = 1_000
_waiting = 0


def problem_response(
    status: int,
    detail: str,
    *,
    code: ErrorCode | None = None,
    errors: Sequence[ProblemItem] | None = None,
    limit: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Create a response with a problem document.

    Args:
        status: HTTP status.
        detail: Text for people: what is wrong and what to do.
        code: Error code for programs; None: the default code of the status.
        errors: The invalid members of the request.
        limit: The name of the rate limit that is reached.
        headers: Further response headers.
    """
    problem = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code
        or CODES.get(
            status, ErrorCode.BAD_REQUEST if status < HTTPStatus.INTERNAL_SERVER_ERROR else ErrorCode.INTERNAL
        ),
        errors=list(errors) if errors else None,
        limit=limit,
        request_id=log_facts().get("request_id"),
    )
    # ASCII only: the text may quote the request, and a lone surrogate cannot be encoded as UTF-8.
    body = json.dumps(problem.model_dump(mode="json", by_alias=True))
    return Response(body, status, headers=dict(headers or {}), media_type=MEDIA_TYPE)


async def rate_problem(error: RateLimitReached) -> Response:
    """The 429 of a rate limit. Callers that repeat refused requests wait for it, and send less meanwhile.

    The number of responses that wait is limited; beyond it they are sent at once.
    """
    global _waiting  # noqa: PLW0603 - of all applications in the process, since they share its memory
    if error.refusals > PATIENCE and _waiting < MAX_WAITING:
        _waiting += 1
        try:
            await asyncio.sleep(WAIT_S)
        finally:
            _waiting -= 1
    headers = {"Retry-After": str(error.retry_after_s)}
    return problem_response(429, str(error), code=ErrorCode.RATE_LIMITED, limit=error.limit, headers=headers)


def _pointer(location: Sequence[Any]) -> str:
    """The location of an error: a JSON Pointer into the body, or ``?name`` for a query parameter."""
    source, *rest = location
    if source == "body":
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in rest)
    mark = "?" if source == "query" else f"{source}:"
    return mark + ".".join(map(str, rest))


async def _on_invalid(_request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise TypeError(f"not a validation error: {error!r}")
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem_response(400, "the body is not valid JSON")
    items = [
        # Pydantic puts this before the text of a ValueError.
        ProblemItem(pointer=_pointer(item["loc"])[:200], message=item["msg"].removeprefix("Value error, "))
        for item in found[:MAX_ITEMS]
    ]
    detail = "; ".join(f"{item.pointer}: {item.message}" if item.pointer else item.message for item in items[:3])
    return problem_response(422, detail, errors=items)


async def _on_http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise TypeError(f"not an HTTP error: {error!r}")
    cause = error.__cause__
    if isinstance(cause, Exception) and not isinstance(cause, _FAULTS_OF_A_BODY):
        # FastAPI answers 400 to whatever fails while a body is read, MemoryError included.
        return await _on_internal_error(request, cause)
    return problem_response(error.status_code, str(error.detail), headers=error.headers)


async def _on_internal_error(request: Request, error: Exception) -> Response:
    logger.error("request failed", exc_info=error, extra={"method": request.method, "path": request.scope["path"]})
    return problem_response(500, "internal error; the cause was logged, and a retry may succeed")


def install_problems(app: FastAPI) -> None:
    """Answer every error of the framework with a problem document."""
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(Exception, _on_internal_error)
