"""The gateway's plain HTTP: a health check, and what its process adds.

Layer: gateway. Source: the guide's ``server.ts`` (same JSON, same words).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus

from roomcast.observability.http import Answer, PlainApp, Route, json_answer


def health_app(connections: Callable[[], int], routes: Mapping[str, Route] | None = None) -> PlainApp:
    """``GET /health`` and the other routes, 404 elsewhere.

    Args:
        connections: How many clients are connected.
        routes: What else is answered.
    """

    def health() -> Answer:
        body = {"status": "healthy", "service": "websocket-server", "connections": connections()}
        return json_answer(HTTPStatus.OK, body)

    return PlainApp({**(routes or {}), "/health": health})
