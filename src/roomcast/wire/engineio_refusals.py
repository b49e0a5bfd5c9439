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


# Exactly the texts of Node, since clients display them and compare with them.
HTTP_ERROR_MESSAGES: Final[dict[HttpError, str]] = {
    HttpError.UNKNOWN_TRANSPORT: "Transport unknown",
    HttpError.UNKNOWN_SID: "Session ID unknown",
    HttpError.BAD_HANDSHAKE_METHOD: "Bad handshake method",
    HttpError.BAD_REQUEST: "Bad request",
    HttpError.FORBIDDEN: "Forbidden",
    HttpError.UNSUPPORTED_PROTOCOL_VERSION: "Unsupported protocol version",
}


class RequestRefused(RemoteError):
    """Answer this HTTP request or websocket handshake with an Engine.IO error.

    Attributes:
        http_error: The Engine.IO error code.
        status: The HTTP status: 403 for ``FORBIDDEN``, else 400.
        message: The text in the body: that of the code, unless another one is given.
        effects: Effects on the session that the request names. Carry them out before the response.
    """

    def __init__(
        self, http_error: HttpError, detail: str, *, message: str | None = None, effects: Sequence[Effect] = ()
    ) -> None:
        super().__init__(Fault.BAD_REQUEST, detail)
        self.http_error = http_error
        self.status = 403 if http_error is HttpError.FORBIDDEN else 400
        self.message = HTTP_ERROR_MESSAGES[http_error] if message is None else message
        self.effects = effects

    @property
    def cause(self) -> str:
        """A label from a small set for logs and metrics: the error code, or for ``FORBIDDEN`` the rule that applied."""
        return self.detail if self.http_error is HttpError.FORBIDDEN else self.http_error.name.lower()


class UpgradeRefused(RequestRefused):
    """A websocket may not take over the session, which continues unchanged.

    As in Node, complete the websocket handshake and then close the websocket. The conformance suites depend on that:
    in their clients, a handshake that is answered with 400 raises an error without a handler.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(HttpError.BAD_REQUEST, detail)
