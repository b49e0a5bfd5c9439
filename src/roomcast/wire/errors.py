"""What can go wrong on the wire, and whose fault it is.

    WireError
    ├── LocalError            we broke the protocol: a bug here
    │   ├── EncodeError       a value that JSON or the packet format cannot carry
    │   └── IllegalTransition a session was driven out of order
    └── RemoteError           the peer broke the protocol: close its session and count it
        └── RequestRefused    an HTTP request that is answered with an Engine.IO error
            └── UpgradeRefused a websocket that may not take a session over: accepted, then closed

Layer: wire (standard library only). Source: engine.io 6 ``lib/server.ts`` for the HTTP codes and their messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum, unique
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the effects belong to the session, which raises the errors of this module
    from roomcast.wire.engineio_session import Effect

# Quoted peer input is cut here, so that a message stays one short log line.
_QUOTE_LENGTH: Final = 40


@unique
class Fault(StrEnum):
    """What the peer did wrong: a small closed set, fit for a metrics label."""

    BAD_UTF8 = "bad-utf8"
    BAD_BASE64 = "bad-base64"
    BAD_JSON = "bad-json"
    BAD_PACKET_TYPE = "bad-packet-type"
    BAD_PAYLOAD = "bad-payload"
    BAD_EVENT_NAME = "bad-event-name"
    BAD_NAMESPACE = "bad-namespace"
    BAD_ACK_ID = "bad-ack-id"
    BAD_ATTACHMENTS = "bad-attachments"
    TOO_LARGE = "too-large"
    TOO_MANY_PACKETS = "too-many-packets"
    TOO_MANY_ATTACHMENTS = "too-many-attachments"
    TOO_MANY_NAMESPACES = "too-many-namespaces"
    TOO_DEEP = "too-deep"
    UNEXPECTED_PACKET = "unexpected-packet"
    UNEXPECTED_BINARY = "unexpected-binary"
    UNEXPECTED_TEXT = "unexpected-text"
    CONNECT_TIMEOUT = "connect-timeout"
    BAD_REQUEST = "bad-request"


@unique
class HttpError(IntEnum):
    """The ``code`` in the JSON body of a refused Engine.IO request."""

    UNKNOWN_TRANSPORT = 0
    UNKNOWN_SID = 1
    BAD_HANDSHAKE_METHOD = 2
    BAD_REQUEST = 3
    FORBIDDEN = 4
    UNSUPPORTED_PROTOCOL_VERSION = 5


# Word for word what Node answers, since clients show and match it.
HTTP_ERROR_MESSAGES: Final[dict[HttpError, str]] = {
    HttpError.UNKNOWN_TRANSPORT: "Transport unknown",
    HttpError.UNKNOWN_SID: "Session ID unknown",
    HttpError.BAD_HANDSHAKE_METHOD: "Bad handshake method",
    HttpError.BAD_REQUEST: "Bad request",
    HttpError.FORBIDDEN: "Forbidden",
    HttpError.UNSUPPORTED_PROTOCOL_VERSION: "Unsupported protocol version",
}


class WireError(Exception):
    """Base of this package; ``code`` names the kind of error in a bounded set of words."""

    code: str = "wire"


class LocalError(WireError):
    """We broke the protocol: a bug here or in the application."""

    code = "local"


class EncodeError(LocalError):
    """A value cannot be sent: not JSON, not finite, circular, or it looks like an attachment placeholder."""

    code = "encode"


class IllegalTransition(LocalError):
    """A session was asked for a step that its state does not have.

    Attributes:
        state: Name of the state it was in.
        trigger: Name of what was asked.
    """

    code = "illegal-transition"

    def __init__(self, state: str, trigger: str) -> None:
        super().__init__(f"{trigger} is illegal in state {state}")
        self.state = state
        self.trigger = trigger


class RemoteError(WireError):
    """The peer broke the protocol: close its session and count it.

    Attributes:
        fault: What it did wrong.
        code: ``fault`` as text.
        detail: One line for the log; what it quotes of the peer is escaped and cut.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.code = fault.value
        self.detail = detail


class RequestRefused(RemoteError):
    """An HTTP request (or websocket handshake) is answered with an Engine.IO error.

    Attributes:
        http_error: The Engine.IO error code.
        status: HTTP status: 403 for ``FORBIDDEN``, else 400.
        message: The text that goes with the code.
        effects: What the refusal does to the session it was meant for, in order; apply them before answering.
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
        """One of a small set of words, for logs and counters: what is forbidden says which rule forbade it."""
        return self.detail if self.http_error is HttpError.FORBIDDEN else self.http_error.name.lower()


class UpgradeRefused(RequestRefused):
    """A websocket may not take a session over, which goes on untouched.

    Node finishes the websocket's handshake and closes it then, and the conformance suites rely on it: to their clients
    a handshake that is answered with 400 is an error without a handler.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(HttpError.BAD_REQUEST, detail)


def quote(text: object) -> str:
    """Peer input as one short, escaped line for a message or a log."""
    if isinstance(text, str | bytes) and len(text) > _QUOTE_LENGTH:
        return f"{text[:_QUOTE_LENGTH]!a}… ({len(text)} in all)"
    return ascii(text)
