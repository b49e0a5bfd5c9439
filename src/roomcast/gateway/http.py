"""The gateway's plain HTTP: the guide's health check, and the routes of its process.

Layer: gateway. Source: the guide's ``server.ts`` (the same JSON).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from roomcast.observability.http import HttpResponse, PlainApp, Route, json_response


def health_app(connections: Callable[[], int], routes: Mapping[str, Route] | None = None) -> PlainApp:
    """An application with ``GET /health`` and ``routes``; other paths answer 404.

    Args:
        connections: Returns the number of connected clients.
        routes: Further routes by path.
    """

    def health() -> HttpResponse:
        body = {"status": "healthy", "service": "websocket-server", "connections": connections()}
        return json_response(HTTPStatus.OK, body)

    return PlainApp({**(routes or {}), "/health": health})
