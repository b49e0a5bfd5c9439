"""``cors_allowed_origins``, with python-socketio's rules.

Layer: realtime.compat. Source: python-engineio 4.15, ``BaseServer._cors_allowed_origins``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

from roomcast.realtime.options import ANY_ORIGIN, ServerOptions
from roomcast.realtime.requests.origins import Header, OriginPolicy

OriginCheck: TypeAlias = Callable[..., Any]
#: None: the own origin; ``*`` or one origin; several; a function that decides; ``[]``: no checks, and no CORS headers.
Origins: TypeAlias = str | Collection[str] | OriginCheck | None


class CompatOrigins(OriginPolicy):
    """The rules for ``Origin``.

    Unlike `OriginPolicy`, it answers ``*`` with the origin itself, so that requests with cookies pass, and a list does
    not contain the own origin.

    Args:
        options: The options of the server.
        origins: As given. A function is called with the origin and, if it takes two arguments, with
            ``{"HTTP_ORIGIN": …, "HTTP_HOST": …, "wsgi.url_scheme": …}``.
    """

    def __init__(self, options: ServerOptions, origins: Origins) -> None:
        super().__init__(options)
        self._with_credentials = options.cors_credentials
        self._unchecked = False
        self._check: OriginCheck | None = None
        self._listed: frozenset[str] | None = None
        if callable(origins):
            self._check = origins
            self._takes_environ = _takes_two(origins)
        elif origins is not None:
            self._listed = frozenset([origins] if isinstance(origins, str) else origins)
            self._unchecked = not self._listed

    def allows_origin(self, origin: str | None, host: str | None, *, secure: bool) -> bool:
        """See `OriginPolicy`."""
        if origin is None or self._unchecked:
            return True
        if self._listed is not None:
            return origin in self._listed or ANY_ORIGIN in self._listed
        if self._check is None:
            return super().allows_origin(origin, host, secure=secure)
        if not self._takes_environ:
            return bool(self._check(origin))
        environ = {"HTTP_ORIGIN": origin, "wsgi.url_scheme": "https" if secure else "http"}
        if host is not None:
            environ["HTTP_HOST"] = host
        return bool(self._check(origin, environ))

    def cors_headers(self, origin: str | None, host: str | None, *, secure: bool) -> list[Header]:
        """See `OriginPolicy`."""
        if origin is None or self._unchecked:
            return []
        headers = [(b"vary", b"Origin")]
        if self.allows_origin(origin, host, secure=secure):
            headers.append((b"access-control-allow-origin", origin.encode("latin-1")))
            if self._with_credentials:
                headers.append((b"access-control-allow-credentials", b"true"))
        return headers


def _takes_two(check: OriginCheck) -> bool:
    try:
        inspect.signature(check).bind("origin", {})
    except TypeError:
        return False
    return True
