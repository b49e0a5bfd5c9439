"""What each request passes before its route: checks of host, address, path and body; its id and its duration.

One ASGI callable, which reads the headers once: a layer of an application costs more than most of these checks.

Layer: api. Source: RFC 9110 §7.4 (misdirected requests); Fetch standard, "CORS-safelisted request-header".
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomcast.api.durations import RequestDurations
from roomcast.api.problems import problem_response, rate_problem
from roomcast.api.spans import RequestSpans
from roomcast.chat.errors import RateLimitReached
from roomcast.chat.policies.rates import LimitName, address_key
from roomcast.chat.ports import RateLimiter, Tracer
from roomcast.contract.text import MAX_SEQ
from roomcast.observability.log_context import log_context

#: Key of the scope: the first value of each header, by name in lower case.
HEADERS: Final = "roomcast.headers"
#: More than the largest message: 32,768 characters of at most 12 bytes each, as JSON escapes.
MAX_BODY_BYTES: Final = 1_048_576
#: 64 of the largest bodies.
MAX_UNFINISHED_BYTES: Final = 64 * MAX_BODY_BYTES
_GIVEN_UP: Final = "too many unfinished requests; send the whole body at once"
# A proxy's id of a request. Another value is replaced: it would be copied into responses and log lines.
_SANE_ID: Final = re.compile(r"[A-Za-z0-9._:=+/-]{1,128}")
#: Longest pause of an upload, in seconds.
UPLOAD_IDLE_S: Final = 30.0
_UPLOAD: Final = re.compile(r"/api/chats/[^/]+/files")
_METHODS_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


@lru_cache(256)
def host_name(header: str) -> str:
    """The host of a Host header in lower case, without the port: ``[::1]:3000`` → ``[::1]``."""
    header = header.strip().lower()
    if header.startswith("["):
        name, bracket, _ = header.partition("]")
        return name + bracket
    return header.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Checks:
    """Options of `RequestChecks`.

    Attributes:
        hosts: Accepted hosts without ports, IPv6 addresses in brackets: protection against DNS rebinding. None: any.
        tracer: Records the spans of requests; None: tracing is off.
        begins_traces: Whether a request without ``traceparent`` begins a trace.
        limit_bytes: Maximum size of a body.
        unfinished_bytes: Maximum total size of the bodies that are being received.
        limiter: Limits the requests per address; None: no limit.
    """

    hosts: Collection[str] | None = None
    tracer: Tracer | None = None
    begins_traces: bool = True
    limit_bytes: int = MAX_BODY_BYTES
    unfinished_bytes: int = MAX_UNFINISHED_BYTES
    limiter: RateLimiter | None = None


class RequestChecks:
    """Checks and measures each request; adds its id to its response and to all its log lines, as ``requestId``.

    Rejects Host headers that are not accepted, paths that are not UTF-8, which servers decode with U+FFFD, and bodies
    that are not JSON or too large. Browsers send text/plain to other origins without a preflight request, but not JSON.
    HEAD is served as GET without the body.

    Args:
        app: The wrapped application.
        durations: Measures the requests.
        checks: What is checked.
    """

    def __init__(self, app: ASGIApp, durations: RequestDurations, checks: Checks) -> None:
        self._app = app
        self._durations = durations
        # Random numbers for each id would cost as much as all checks.
        self._prefix = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._hosts = None if checks.hosts is None else frozenset(host.lower() for host in checks.hosts)
        self._bodies = _Bodies(checks.limit_bytes, checks.unfinished_bytes)
        self._limiter = checks.limiter
        self._check: ASGIApp = self._check_request
        if checks.tracer is not None:
            self._check = RequestSpans(self._check_request, checks.tracer, begin=checks.begins_traces)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the id of the header, or make one, and check the host."""
        if scope["type"] != "http":
            refused = scope["type"] == "websocket" and self._is_misdirected(scope)
            await (_misdirected() if refused else self._app)(scope, receive, send)
            return
        began = time.perf_counter()
        method = scope["method"]
        headers = dict(reversed(scope["headers"]))
        # The router writes the route into this copy.
        scope = {**scope, HEADERS: headers}
        named = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = named if _SANE_ID.fullmatch(named) else f"{self._prefix}{next(self._numbers):016x}"

        async def send_and_measure(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", request_id.encode())]}
                self._durations.observe(method, scope, message["status"], began)
            elif method == "HEAD" and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        with log_context(request_id=request_id):
            await (_misdirected() if self._is_misdirected(scope) else self._check)(scope, receive, send_and_measure)

    def _is_misdirected(self, scope: Scope) -> bool:
        if self._hosts is None:
            return False
        named = [value for name, value in scope["headers"] if name == b"host"]
        return len(named) != 1 or host_name(named[0].decode("latin-1")) not in self._hosts

    async def _check_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the path and the body."""
        if scope["method"] == "HEAD":
            scope["method"] = "GET"
        headers = scope[HEADERS]
        client = scope.get("client")
        if self._limiter is not None and client is not None and (key := address_key(client[0])) is not None:
            try:
                self._limiter.charge((LimitName.ADDRESS_REQUESTS, key, 1))
            except RateLimitReached as error:
                await (await rate_problem(error))(scope, receive, send)
                return
        try:
            unquote_to_bytes(scope.get("raw_path") or b"").decode()
        except UnicodeDecodeError:
            await problem_response(400, "the path is not percent-encoded UTF-8")(scope, receive, send)
            return
        if scope["method"] not in _METHODS_WITH_BODY:
            await self._app(scope, receive, send)
        elif _UPLOAD.fullmatch(scope["path"].removeprefix(scope.get("root_path", ""))):
            # Checked while it is received, by the use case; an empty file, too, has a type.
            upload = _upload_refusal(headers) or self._app
            await upload(scope, _punctual(receive), send)
        elif _is_empty(headers):
            await self._app(scope, receive, send)
        elif (refusal := self._bodies.refusal(headers)) is not None:
            await refusal(scope, receive, send)
        else:
            body = _Body(self._bodies, receive)
            try:
                await self._app(scope, body.receive, send)
            finally:
                self._bodies.release(body)


def _misdirected() -> Response:
    return problem_response(421, "this server does not accept that Host header; ALLOWED_HOSTS lists the accepted ones")


def _is_empty(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request has no body, and so needs no content type.

    No check is needed: an HTML form cannot send PUT, and the routes that take a POST without a body are for ids that a
    page of another origin does not know.
    """
    return b"transfer-encoding" not in headers and headers.get(b"content-length", b"0") == b"0"


def _upload_refusal(headers: Mapping[bytes, bytes]) -> Response | None:
    """The 415 or 400 of an upload with these headers; None if it may be received."""
    kind = headers.get(b"content-type", b"").decode("latin-1")
    # Not a type that browsers send to other origins without a preflight request.
    if kind.partition(";")[0].strip().lower() != "application/octet-stream":
        return problem_response(415, "send the file alone, with Content-Type: application/octet-stream")
    declared = headers.get(b"content-length", b"0")
    if not declared.isdigit() or len(declared) > len(str(MAX_SEQ)):
        return problem_response(400, "Content-Length is not a number of bytes")
    return None


def _punctual(receive: Receive) -> Receive:
    """A ``receive`` for an upload, which ends if its client sends nothing for `UPLOAD_IDLE_S`."""

    async def receive_in_time() -> Message:
        try:
            async with asyncio.timeout(UPLOAD_IDLE_S):
                return await receive()
        except TimeoutError:
            raise HTTPException(408, "the upload stopped; send it again", {"Connection": "close"}) from None

    return receive_in_time


class _Bodies:
    """The bodies that are being received.

    All unfinished bodies share a budget, since a client needs no token to begin one. Beyond it the body that was begun
    first is given up, with 503: its client sends slowly, or not at all.

    Args:
        limit_bytes: Maximum size of a body, which is also checked while it is received.
        unfinished_bytes: Maximum total size.
    """

    def __init__(self, limit_bytes: int, unfinished_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._left_bytes = unfinished_bytes
        self._bodies: dict[_Body, None] = {}  # the first was begun first

    def refusal(self, headers: Mapping[bytes, bytes]) -> Response | None:
        """The 415 or 413 of a body with these headers; None if it may be received."""
        kind = headers.get(b"content-type", b"")
        if kind != b"application/json" and kind.partition(b";")[0].strip().lower() != b"application/json":
            return problem_response(415, "send the body as JSON, with Content-Type: application/json")
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared[:20]) > self.limit_bytes:
            # The connection stays open, and the server discards the body: a proxy that is still sending would take the
            # end for a failure of this server.
            return problem_response(413, self.too_large)
        return None

    @property
    def too_large(self) -> str:
        """The text of a 413."""
        return f"the body is larger than {self.limit_bytes} bytes"

    def hold(self, body: _Body) -> None:
        """Count what has been received of an unfinished body."""
        self._bodies.setdefault(body)
        self._left_bytes -= body.size_bytes - body.held_bytes
        body.held_bytes = body.size_bytes
        while self._left_bytes < 0:
            first = next(iter(self._bodies))
            self.release(first)
            first.given_up = True
            first.task.cancel()  # while it waits for the rest of the body

    def release(self, body: _Body) -> None:
        """Stop counting a body."""
        if body in self._bodies:
            del self._bodies[body]
            self._left_bytes += body.held_bytes


class _Body:
    """A body while the current task receives it."""

    def __init__(self, bodies: _Bodies, receive: Receive) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("an ASGI application runs in a task")
        self.task: asyncio.Task[Any] = task
        self.size_bytes = 0
        self.held_bytes = 0  # counted in the budget
        self.given_up = False
        self._bodies = bodies
        self._receive = receive

    async def receive(self) -> Message:
        """Receive the next part.

        Raises:
            HTTPException: 413, the body is too large; 503, it was given up.
        """
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if not self.given_up:
                raise
            self.task.uncancel()
            raise HTTPException(503, _GIVEN_UP, {"Connection": "close", "Retry-After": "5"}) from None
        self.size_bytes += len(message.get("body", b""))
        if self.size_bytes > self._bodies.limit_bytes:
            raise HTTPException(413, self._bodies.too_large)
        if message.get("more_body", False):
            self._bodies.hold(self)
        else:
            self._bodies.release(self)
        return message
