"""Websocket frames from a server: built once, written to any number of clients.

A server does not mask (RFC 6455 §5.1), so a frame depends on its payload alone.

Layer: wire (standard library only). Source: RFC 6455 §5.2 and §5.5.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum, unique
from typing import Final

from roomcast.wire.errors import EncodeError

# FIN and the opcode: every frame here is a whole message.
_TEXT: Final = 0x81
_BINARY: Final = 0x82
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A

# §5.2: up to 125 the length byte is the length; 126 and 127 announce two and eight bytes of it.
_MAX_SHORT: Final = 125
_MAX_MEDIUM: Final = 0xFFFF

# §5.5: a control frame carries at most this; a close frame spends two bytes of it on the code.
_MAX_CONTROL: Final = 125


@unique
class CloseCode(IntEnum):
    """Close codes that a server sends (§7.4.1; 1012, 1013: IANA registry)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013


def text_frame(payload: bytes) -> bytes:
    """One text message; ``payload`` is UTF-8."""
    return _frame(_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """One binary message."""
    return _frame(_BINARY, payload)


def packet_frame(packet: str | bytes) -> bytes:
    """One Engine.IO packet: ``str`` in a text frame, ``bytes`` in a binary frame."""
    return _frame(_TEXT, packet.encode()) if isinstance(packet, str) else _frame(_BINARY, packet)


def packet_frames(packets: Iterable[str | bytes]) -> bytes:
    """The frames of several Engine.IO packets in one buffer, so that they cost one write."""
    return b"".join([packet_frame(packet) for packet in packets])


def ping_frame(payload: bytes = b"") -> bytes:
    """A ping of the websocket itself, not Engine.IO's.

    Raises:
        EncodeError: more than 125 bytes.
    """
    return _control(_PING, payload)


def pong_frame(payload: bytes = b"") -> bytes:
    """The answer to a ping, with its payload.

    Raises:
        EncodeError: more than 125 bytes.
    """
    return _control(_PONG, payload)


def close_frame(code: int | None = None, reason: str = "") -> bytes:
    """A close frame, with no code (§5.5.1 allows it) or with a code and a reason.

    Raises:
        EncodeError: the reason takes more than 123 bytes, or comes without a code.
    """
    if code is None:
        if reason:
            raise EncodeError("a reason needs a close code")
        return _control(_CLOSE, b"")
    return _control(_CLOSE, code.to_bytes(2, "big") + reason.encode())


def _control(head: int, payload: bytes) -> bytes:
    if len(payload) > _MAX_CONTROL:
        raise EncodeError(f"a control frame carries at most {_MAX_CONTROL} bytes, not {len(payload)}")
    return _frame(head, payload)


def _frame(head: int, payload: bytes) -> bytes:
    length = len(payload)
    if length <= _MAX_SHORT:
        return b"%c%c%b" % (head, length, payload)
    if length <= _MAX_MEDIUM:
        return b"%c\x7e%b%b" % (head, length.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (head, length.to_bytes(8, "big"), payload)
