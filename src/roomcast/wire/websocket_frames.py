"""Websocket data frames of a server: encoded once, written to any number of clients.

A server does not mask its frames (RFC 6455 §5.1), so a frame depends only on its payload. Control frames are encoded
by the ``websockets`` library, since each belongs to one connection.

Layer: wire (standard library only). Source: RFC 6455 §5.2.
"""

from __future__ import annotations

import struct
import zlib
from enum import IntEnum, unique
from typing import Final

# FIN and the opcode: each frame is a whole message.
_TEXT: Final = 0x81
_BINARY: Final = 0x82

# RFC 7692 §6: the frame is compressed; §7.2.1: what ends a flushed block and is left out.
_RSV1: Final = 0x40
_EMPTY_BLOCK: Final = b"\x00\x00\xff\xff"
# JSON becomes nearly as small as with zlib's default of 6, in half of the time.
_LEVEL: Final = 3

# §5.2: a length byte up to 125 is the length itself; 126 and 127 mean that two or eight length bytes follow.
_MAX_SHORT: Final = 125
_MAX_MEDIUM: Final = 0xFFFF
_MEDIUM_HEAD: Final = struct.Struct("!BBH").pack
_SHORT_HEADS: Final = {head: [bytes((head, length)) for length in range(_MAX_SHORT + 1)] for head in (_TEXT, _BINARY)}


@unique
class CloseCode(IntEnum):
    """Close codes that a server sends (§7.4.1; 1012: IANA registry)."""

    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    SERVICE_RESTART = 1012


def text_frame(payload: bytes) -> bytes:
    """Encode one text message; ``payload`` is UTF-8."""
    return _frame(_TEXT, payload)


def binary_frame(payload: bytes) -> bytes:
    """Encode one binary message."""
    return _frame(_BINARY, payload)


def compressed_frame(payload: bytes, *, text: bool) -> bytes:
    """Encode one message for clients that have negotiated permessage-deflate without context takeover.

    Such a frame, too, depends on its payload only. Source: RFC 7692 §7.2.1 and §7.2.3.6.
    """
    compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    shorter = data[: -len(_EMPTY_BLOCK)]
    return _long_frame((_TEXT if text else _BINARY) | _RSV1, shorter)


def packet_frame(packet: str | bytes) -> bytes:
    """Encode one Engine.IO packet: ``str`` in a text frame, ``bytes`` in a binary frame."""
    return _frame(_TEXT, packet.encode()) if isinstance(packet, str) else _frame(_BINARY, packet)


def _frame(head: int, payload: bytes) -> bytes:
    length = len(payload)
    if length <= _MAX_SHORT:
        return _SHORT_HEADS[head][length] + payload
    return _long_frame(head, payload)


def _long_frame(head: int, payload: bytes) -> bytes:
    length = len(payload)
    if length <= _MAX_SHORT:
        return bytes((head, length)) + payload
    if length <= _MAX_MEDIUM:
        return _MEDIUM_HEAD(head, 126, length) + payload
    return b"%c\x7f%b%b" % (head, length.to_bytes(8, "big"), payload)
