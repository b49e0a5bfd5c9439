"""Refused Engine.IO requests: the HTTP error codes, and the exceptions that carry them.

Layer: wire (standard library only). Source: engine.io 6 ``lib/server.ts`` for the codes and their messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, unique
from typing import Final

from roomcast.wire.engineio_effects import Effect
from roomcast.wire.errors import Fault, RemoteError


@unique
class HttpError(IntEnum):
    """The ``code`` in the JSON body of a refused Engine.IO request."""

    UNKNOWN_TRANSPORT = 0
    UNKNOWN_SID = 1
    BAD_HANDSHAKE_METHOD = 2
    BAD_REQUEST = 3
    FORBIDDEN = 4
    UNSUPPORTED_PROTOCOL_VERSION = 5


# Identical to Node's texts, since clients display them and compare against them.
HTTP_ERROR_MESSAGES: Final[dict[HttpError, str]] = {
    HttpError.UNKNOWN_TRANSPORT: "Transport unknown",
    HttpError.UNKNOWN_SID: "Session ID unknown",
    HttpError.BAD_HANDSHAKE_METHOD: "Bad handshake method",
    HttpError.BAD_REQUEST: "Bad request",
    HttpError.FORBIDDEN: "Forbidden",
    HttpError.UNSUPPORTED_PROTOCOL_VERSION: "Unsupported protocol version",
}


class RequestRefused(RemoteError):
    """An HTTP request or websocket handshake must be answered with an Engine.IO error.

    Attributes:
        http_error: The Engine.IO error code.
        status: The HTTP status: 403 for ``FORBIDDEN``, else 400.
        message: The text in the response body; by default the one in `HTTP_ERROR_MESSAGES`.
        header_value: The refused value of ``Origin`` or ``Host``, for ``FORBIDDEN``.
        effects: Effects on the session named in the request. The caller carries them out before it responds.
    """

    def __init__(
        self,
        http_error: HttpError,
        detail: str,
        *,
        message: str | None = None,
        header_value: str | None = None,
        effects: Sequence[Effect] = (),
    ) -> None:
        super().__init__(Fault.BAD_REQUEST, detail)
        self.http_error = http_error
        self.status = 403 if http_error is HttpError.FORBIDDEN else 400
        self.message = HTTP_ERROR_MESSAGES[http_error] if message is None else message
        self.header_value = header_value
        self.effects = effects

    @property
    def cause(self) -> str:
        """A label for logs and metrics, from a small set: the error code, or for ``FORBIDDEN`` the failed check."""
        return self.detail if self.http_error is HttpError.FORBIDDEN else self.http_error.name.lower()


class UpgradeRefused(RequestRefused):
    """A websocket upgrade was refused; the session continues on its current transport.

    As in Node, the caller completes the websocket handshake and then closes the websocket. The conformance suites
    depend on this: in their clients, a 400 response to the handshake raises an error that they do not handle.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(HttpError.BAD_REQUEST, detail)
