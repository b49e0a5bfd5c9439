"""Checks that run before the routes: the Host header, the path, and the content type and size of the body.

Plain ASGI: Starlette's `BaseHTTPMiddleware` would buffer bodies.

Layer: api. Source: RFC 9110 §7.4 (misdirected requests); Fetch standard, "CORS-safelisted request-header".
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomcast.api.problems import problem_response

#: More than the largest message: 32,768 characters of at most 12 bytes each, as JSON escapes.
MAX_BODY_BYTES: Final = 1_048_576
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def host_name(header: str) -> str:
    """The host of a Host header in lower case, without the port: ``[::1]:3000`` → ``[::1]``."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, _ = header.partition("]")
        return name + bracket
    return header.partition(":")[0]


class HostCheck:
    """Rejects requests whose Host header is not an accepted host: protection against DNS rebinding.

    Args:
        app: The wrapped application.
        hosts: Accepted hosts without ports; IPv6 addresses in brackets.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 421, or pass the request on."""
        if scope["type"] == "http":
            named = Headers(scope=scope).getlist("host")
            if len(named) != 1 or host_name(named[0]) not in self._hosts:
                response = problem_response(421, "this server does not accept that Host header")
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)


class RequestLine:
    """Rejects paths that are not UTF-8, which servers decode with U+FFFD, and serves HEAD as GET without the body.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 400, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            unquote_to_bytes(scope.get("raw_path") or b"").decode()
        except UnicodeDecodeError:
            await problem_response(400, "the path is not percent-encoded UTF-8")(scope, receive, send)
            return
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


class BodyCheck:
    """Rejects bodies that are not JSON or exceed a size limit, which is also checked while a body is received.

    Browsers send text/plain to other origins without a preflight request, but not JSON.

    Args:
        app: The wrapped application.
        limit_bytes: Maximum size of a body.
    """

    def __init__(self, app: ASGIApp, limit_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit_bytes = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 415 or 413, or pass the request on."""
        if scope["type"] != "http" or scope["method"] not in _METHODS_WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (
            scope["method"] == "PUT"
            and "transfer-encoding" not in headers
            and headers.get("content-length", "0") == "0"
        ):
            # An empty body has no content type. No check is needed: an HTML form cannot send PUT.
            await self._app(scope, receive, send)
            return
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            response = problem_response(415, "send the body as JSON, with Content-Type: application/json")
            await response(scope, receive, send)
            return
        too_large = f"the body is larger than {self._limit_bytes} bytes"
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:20]) > self._limit_bytes:
            # The body is not read, so the connection cannot be used for another request.
            response = problem_response(413, too_large, headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._limit_bytes:
                raise HTTPException(413, too_large, {"Connection": "close"})
            return message

        await self._app(scope, limited, send)
