"""A small ASGI application for fixed paths: health, readiness, metrics.

Layer: observability.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from roomcast.realtime.transports.proxies import ASGIApp, Receive, Scope, Send

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete HTTP response."""

    status: HTTPStatus
    body: bytes
    content_type: str


Route = Callable[[], HttpResponse | Awaitable[HttpResponse]]


def json_response(status: HTTPStatus, body: Mapping[str, Any]) -> HttpResponse:
    """A response with a JSON body."""
    return HttpResponse(status, json.dumps(body, separators=(",", ":")).encode(), JSON)


class PlainApp:
    """An ASGI application that answers GET and HEAD of fixed paths.

    Args:
        routes: The handler of each path.
        fallback: Receives all other requests and the lifespan; None: other requests get a 404.
    """

    def __init__(self, routes: Mapping[str, Route], fallback: ASGIApp | None = None) -> None:
        self._routes = routes
        self._fallback = fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan."""
        if self._fallback is not None and (scope["type"] != "http" or scope["path"] not in self._routes):
            await self._fallback(scope, receive, send)
            return
        match scope["type"]:
            case "lifespan":
                await _lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})  # a close before the accept becomes a 403
            case _:
                await _send(await self._respond(scope["method"], scope["path"]), scope["method"], send)

    async def _respond(self, method: str, path: str) -> HttpResponse:
        route = self._routes.get(path)
        if route is None or method not in {"GET", "HEAD"}:
            # A wrong method gets a 404, too, as from the guide's server.
            return HttpResponse(HTTPStatus.NOT_FOUND, b"Not Found", TEXT)
        response = route()
        return await response if inspect.isawaitable(response) else response


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _send(response: HttpResponse, method: str, send: Send) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", b"%d" % len(response.body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})
