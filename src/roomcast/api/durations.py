"""How long requests take, by method, route and status, and the log line of each request.

Layer: api.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import Scope

from roomcast.histogram import Histogram

logger = logging.getLogger(__name__)

#: Below each of these values a request is fast, and above the last one it is too slow for any page.
_BOUNDS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
#: The label ``route`` of the page's files, and of what no route answers: unknown paths, malformed requests.
PAGE: Final = "page"
UNMATCHED: Final = "unmatched"
#: Requests that take longer are logged at level info, as are errors of the server; all others at level debug.
_SLOW_S: Final = 1.0
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: Method, route and class of the status, such as ``2xx``.
Key = tuple[str, str, str]


class RequestDurations:
    """Measures and logs each request until its response begins: a stream lasts as long as its answer.

    The label ``route`` is a template, never a path, and all values are from closed sets.

    Args:
        durations: Receives the durations.
    """

    def __init__(self, durations: dict[Key, Histogram]) -> None:
        self._durations = durations

    def observe(self, method: str, scope: Scope, status: int, began: float) -> None:
        """Measure and log a request whose response begins now.

        Args:
            method: The method of the request.
            scope: Its scope, into which the router has written the route.
            status: Of the response.
            began: `time.perf_counter` at its begin.
        """
        seconds = time.perf_counter() - began
        name = getattr(scope.get("route"), "path", None) or (PAGE if status < HTTPStatus.BAD_REQUEST else UNMATCHED)
        key = (method if method in _METHODS else "other", name, f"{status // 100}xx")
        histogram = self._durations.get(key)
        if histogram is None:
            histogram = self._durations[key] = Histogram(_BOUNDS_S)
        histogram.observe(seconds)
        notable = status >= HTTPStatus.INTERNAL_SERVER_ERROR or seconds > _SLOW_S
        level = logging.INFO if notable else logging.DEBUG
        if logger.isEnabledFor(level):
            facts = {
                "method": key[0],
                "route": name,
                "status": status,
                "seconds": round(seconds, 6),
                "ip": scope["client"][0] if scope.get("client") else None,
                "user_agent": Headers(scope=scope).get("user-agent"),
            }
            logger.log(level, "request answered", extra=facts)


def empty_durations(routes: Iterable[BaseRoute]) -> dict[Key, Histogram]:
    """A histogram for each class of statuses that each route answers with."""
    keys = [
        (method, route.path, status)
        for route in routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
        for status in ("2xx", "4xx", "5xx")
    ]
    keys += [("GET", PAGE, "2xx"), ("GET", UNMATCHED, "4xx"), ("POST", UNMATCHED, "4xx")]
    return {key: Histogram(_BOUNDS_S) for key in keys}
