"""A few plain answers over HTTP: health, readiness, metrics.

Layer: observability.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from roomcast.realtime.transports.proxies import ASGIApp, Receive, Scope, Send

JSON: Final = "application/json"
TEXT: Final = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer.

    Attributes:
        status: HTTP status.
        body: In full.
        content_type: Of the body.
    """

    status: HTTPStatus
    body: bytes
    content_type: str


Route = Callable[[], Answer]


def json_answer(status: HTTPStatus, body: Mapping[str, Any]) -> Answer:
    """An answer in JSON."""
    return Answer(status, json.dumps(body, separators=(",", ":")).encode(), JSON)


class PlainApp:
    """ASGI application: GET and HEAD of fixed paths.

    Args:
        routes: What answers each path.
        fallback: Gets everything else, and the lifespan; without it everything else is 404.
    """

    def __init__(self, routes: Mapping[str, Route], fallback: ASGIApp | None = None) -> None:
        self._routes = routes
        self._fallback = fallback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._fallback is not None and (scope["type"] != "http" or scope["path"] not in self._routes):
            await self._fallback(scope, receive, send)
            return
        match scope["type"]:
            case "lifespan":
                await _lifespan(receive, send)
            case "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1000})  # not accepted: 403
            case _:
                await _answer(self._find(scope["method"], scope["path"]), scope["method"], send)

    def _find(self, method: str, path: str) -> Answer:
        route = self._routes.get(path)
        if route is None or method not in {"GET", "HEAD"}:
            # The guide's server tells methods and paths apart no better.
            return Answer(HTTPStatus.NOT_FOUND, b"Not Found", TEXT)
        return route()


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


async def _answer(answer: Answer, method: str, send: Send) -> None:
    headers = [
        (b"content-type", answer.content_type.encode()),
        (b"content-length", b"%d" % len(answer.body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": int(answer.status), "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else answer.body})
