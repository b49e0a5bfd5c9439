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

from enum import StrEnum, unique
from typing import Final

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
    BAD_REQUEST = "bad-request"


class WireError(Exception):
    """Base of this package's errors."""


class LocalError(WireError):
    """We broke the protocol: a bug here or in the application."""


class EncodeError(LocalError):
    """A value cannot be sent: not JSON, not finite, circular, or it looks like an attachment placeholder."""


class IllegalTransition(LocalError):
    """A session was asked for a step that its state does not have.

    Attributes:
        state: Name of the state it was in.
        trigger: Name of what was asked.
    """

    def __init__(self, state: str, trigger: str) -> None:
        super().__init__(f"{trigger} is illegal in state {state}")
        self.state = state
        self.trigger = trigger


class RemoteError(WireError):
    """The peer broke the protocol: close its session and count it.

    Attributes:
        fault: What it did wrong.
        detail: One line for the log; what it quotes of the peer is escaped and cut.
    """

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail


def quote(text: object) -> str:
    """Peer input as one short, escaped line for a message or a log."""
    if isinstance(text, str | bytes) and len(text) > _QUOTE_LENGTH:
        return f"{text[:_QUOTE_LENGTH]!a}… ({len(text)} in all)"
    return ascii(text)
