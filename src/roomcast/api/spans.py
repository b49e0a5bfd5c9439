"""The span of each request.

Layer: api. Source: OpenTelemetry, "Semantic conventions for HTTP spans".
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roomcast.chat.ports import Tracer

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestSpans:
    """Records the span of each request below ``/api``: its method, its route as a template, its status.

    The span has neither the path nor the query, which contain text that clients choose. It continues the trace of the
    header ``traceparent``.

    Args:
        app: The wrapped application, whose router writes the route into the scope.
        tracer: Records the spans.
        begin: Whether a request without ``traceparent`` begins a trace.
    """

    def __init__(self, app: ASGIApp, tracer: Tracer, *, begin: bool) -> None:
        self._app = app
        self._tracer = tracer
        self._begin = begin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        parent = Headers(scope=scope).get("traceparent") if scope["type"] == "http" else None
        if scope["type"] != "http" or not scope["path"].startswith("/api/") or not (parent or self._begin):
            await self._app(scope, receive, send)
            return
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        # The span begins before the router has found the route.
        with self._tracer.span(method, "server", {"http.request.method": method}, parent=parent or "") as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set({"http.response.status_code": status})
                    route = getattr(scope.get("route"), "path", None)
                    if route is not None:
                        span.rename(f"{method} {route}")
                        span.set({"http.route": route})
                    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                        span.fail(str(status))
                await send(message)

            await self._app(scope, receive, send_and_note)
