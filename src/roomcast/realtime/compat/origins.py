"""``cors_allowed_origins`` in the forms that no list of origins can express: a function, and ``[]``.

Layer: realtime.compat. Source: python-engineio 4.15, ``BaseServer._cors_allowed_origins``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

from roomcast.realtime.core.origins import Header, OriginPolicy
from roomcast.realtime.options import ServerOptions

OriginCheck: TypeAlias = Callable[..., Any]


class UncheckedOrigins(OriginPolicy):
    """``[]``: every page may connect by websocket, and responses have no CORS headers."""

    def allows_origin(self, origin: str | None, host: str | None, *, secure: bool) -> bool:  # noqa: ARG002
        """See `OriginPolicy`."""
        return True

    def cors_headers(self, origin: str | None, host: str | None, *, secure: bool) -> list[Header]:  # noqa: ARG002
        """See `OriginPolicy`."""
        return []


class CheckedOrigins(OriginPolicy):
    """A function that decides.

    Args:
        options: The options of the server.
        check: Called with the origin and, if it takes two arguments, with ``{"HTTP_ORIGIN": …, "HTTP_HOST": …,
            "wsgi.url_scheme": …}``; true: the page may connect.
    """

    def __init__(self, options: ServerOptions, check: OriginCheck) -> None:
        super().__init__(options)
        self._check = check
        self._takes_environ = _takes_two(check)

    def allows_origin(self, origin: str | None, host: str | None, *, secure: bool) -> bool:
        """See `OriginPolicy`."""
        if origin is None:
            return True
        if not self._takes_environ:
            return bool(self._check(origin))
        environ = {"HTTP_ORIGIN": origin, "wsgi.url_scheme": "https" if secure else "http"}
        if host is not None:
            environ["HTTP_HOST"] = host
        return bool(self._check(origin, environ))


def _takes_two(check: OriginCheck) -> bool:
    try:
        inspect.signature(check).bind("origin", {})
    except TypeError:
        return False
    return True
