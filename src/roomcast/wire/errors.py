"""Errors of the caller, and errors of the peer.

    WireError
    ├── LocalError             a bug of the caller
    │   ├── EncodeError        a value that JSON or the packet format cannot carry
    │   └── IllegalTransition  a call that the session's state does not allow
    └── RemoteError            the peer violated the protocol: close its session and count the fault
        └── RequestRefused     (`engineio_refusals`) answer an HTTP request with an Engine.IO error
            └── UpgradeRefused (`engineio_refusals`) complete a websocket handshake, then close the websocket

Layer: wire (standard library only).
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final

# Longer input of the peer is truncated in error messages, so that each message is one short log line.
_QUOTE_LENGTH: Final = 40


@unique
class Fault(StrEnum):
    """How the peer violated the protocol: a small closed set, usable as a metrics label."""

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
    UNFINISHED = "unfinished"
    BAD_REQUEST = "bad-request"


class WireError(Exception):
    """Base of this package's errors."""


class LocalError(WireError):
    """The caller violated the protocol: a bug in this server or in the application."""


class EncodeError(LocalError):
    """A value cannot be sent: it is not JSON, not finite, circular, or looks like an attachment placeholder."""


class IllegalTransition(LocalError):
    """A call that the session's state does not allow.

    Attributes:
        state: Name of the state.
        trigger: Name of the transition that was requested.
    """

    def __init__(self, state: str, trigger: str) -> None:
        super().__init__(f"{trigger} is illegal in state {state}")
        self.state = state
        self.trigger = trigger


class RemoteError(WireError):
    """The peer violated the protocol: close its session and count the fault.

    Attributes:
        fault: The kind of violation.
        detail: One line for the log. Quoted input of the peer is escaped and truncated.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail


def quote(text: object) -> str:
    """Return input of the peer as one short, escaped line for an error message or a log."""
    if isinstance(text, str | bytes) and len(text) > _QUOTE_LENGTH:
        return f"{text[:_QUOTE_LENGTH]!a}… ({len(text)} in all)"
    return ascii(text)
