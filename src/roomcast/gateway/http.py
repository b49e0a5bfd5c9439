"""HTTP routes of the gateway beside Socket.IO: ``GET /health`` and the routes that the caller adds.

Layer: gateway. Source: the guide's ``server.ts`` (the JSON of ``/health``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from roomcast.observability.http import HttpResponse, PlainApp, Route, json_response


def health_app(connections: Callable[[], int], routes: Mapping[str, Route] | None = None) -> PlainApp:
    """An application that serves ``GET /health`` and ``routes``, and responds to other paths with 404.

    Args:
        connections: Returns the number of connected clients.
        routes: Additional routes by path.
    """

    def health() -> HttpResponse:
        body = {"status": "healthy", "service": "websocket-server", "connections": connections()}
        return json_response(HTTPStatus.OK, body)

    return PlainApp({**(routes or {}), "/health": health})
