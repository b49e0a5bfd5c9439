"""Ids of requests, and checks before the routes: the Host header, the path, the content type and size of the body.

Plain ASGI: Starlette's `BaseHTTPMiddleware` would buffer bodies.

Layer: api. Source: RFC 9110 §7.4 (misdirected requests); Fetch standard, "CORS-safelisted request-header".
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomcast.api.problems import problem_response
from roomcast.observability.log_context import log_context

#: More than the largest message: 32,768 characters of at most 12 bytes each, as JSON escapes.
MAX_BODY_BYTES: Final = 1_048_576
#: 64 of the largest bodies.
MAX_UNFINISHED_BYTES: Final = 64 * MAX_BODY_BYTES
_GIVEN_UP: Final = "too many unfinished requests; send the whole body at once"
REQUEST_ID: Final = "X-Request-Id"
#: A proxy's id of a request. Another value is replaced: it would be copied into responses and log lines.
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


def host_name(header: str) -> str:
    """The host of a Host header in lower case, without the port: ``[::1]:3000`` → ``[::1]``."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, _ = header.partition("]")
        return name + bracket
    return header.partition(":")[0]


class RequestIds:
    """Adds the id of a request to its response and to all its log lines, as ``requestId``.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the id of the header, or make one, and pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        named = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = named if _SANE_ID.fullmatch(named) else uuid.uuid4().hex

        async def send_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with log_context(request_id=request_id):
            await self._app(scope, receive, send_id)


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
        if scope["type"] in {"http", "websocket"}:
            named = Headers(scope=scope).getlist("host")
            if len(named) != 1 or host_name(named[0]) not in self._hosts:
                response = problem_response(
                    421, "this server does not accept that Host header; ALLOWED_HOSTS lists the accepted ones"
                )
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

        scope["method"] = "GET"  # `RequestDurations` has made a copy
        await self._app(scope, receive, send_head)


class _Body:
    """A body while it is received by a task."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.size_bytes = 0
        self.held_bytes = 0  # counted in the budget
        self.given_up = False


class BodyCheck:
    """Rejects bodies that are not JSON or exceed a size limit, which is also checked while a body is received.

    Browsers send text/plain to other origins without a preflight request, but not JSON.

    All unfinished bodies share a budget, since a client needs no token to begin one. Beyond it the body that was begun
    first is given up, with 503: its client sends slowly, or not at all.

    Args:
        app: The wrapped application.
        limit_bytes: Maximum size of a body.
        unfinished_bytes: Maximum total size of the bodies that are being received.
    """

    def __init__(
        self, app: ASGIApp, limit_bytes: int = MAX_BODY_BYTES, unfinished_bytes: int = MAX_UNFINISHED_BYTES
    ) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._left_bytes = unfinished_bytes
        self._bodies: dict[_Body, None] = {}  # the first was begun first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 415 or 413, or pass the request on."""
        if scope["type"] != "http" or scope["method"] not in _METHODS_WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "transfer-encoding" not in headers and headers.get("content-length", "0") == "0":
            # An empty body has no content type. No check is needed: an HTML form cannot send PUT, and the routes that
            # take a POST without a body are for ids that a page of another origin does not know.
            await self._app(scope, receive, send)
            return
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            response = problem_response(415, "send the body as JSON, with Content-Type: application/json")
            await response(scope, receive, send)
            return
        too_large = f"the body is larger than {self._limit_bytes} bytes"
        declared = headers.get("content-length", "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:20]) > self._limit_bytes:
            # The connection stays open, and the server discards the body: a proxy that is still sending would take the
            # end for a failure of this server.
            response = problem_response(413, too_large)
            await response(scope, receive, send)
            return
        await self._receive(scope, receive, send, too_large)

    async def _receive(self, scope: Scope, receive: Receive, send: Send, too_large: str) -> None:
        """Pass the request on, and limit its body while it is received."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an ASGI application runs in a task")
        body = _Body(task)

        async def limited() -> Message:
            try:
                message = await receive()
            except asyncio.CancelledError:
                if not body.given_up:
                    raise
                task.uncancel()
                raise HTTPException(503, _GIVEN_UP, {"Connection": "close", "Retry-After": "5"}) from None
            body.size_bytes += len(message.get("body", b""))
            if body.size_bytes > self._limit_bytes:
                raise HTTPException(413, too_large)
            if message.get("more_body", False):
                self._hold(body)
            else:
                self._release(body)
            return message

        try:
            await self._app(scope, limited, send)
        finally:
            self._release(body)

    def _hold(self, body: _Body) -> None:
        self._bodies.setdefault(body)
        self._left_bytes -= body.size_bytes - body.held_bytes
        body.held_bytes = body.size_bytes
        while self._left_bytes < 0:
            first = next(iter(self._bodies))
            self._release(first)
            first.given_up = True
            first.task.cancel()  # while it waits for the rest of the body

    def _release(self, body: _Body) -> None:
        if body in self._bodies:
            del self._bodies[body]
            self._left_bytes += body.held_bytes
