"""The server's part of a WebSocket handshake, over a request head that is parsed already.

Layer: wire (standard library only). Source: RFC 6455 §4.2.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_VERSION: Final = b"13"


class HandshakeInvalid(Exception):
    """The request does not open a websocket.

    Attributes:
        status: The status of the response.
        headers: Further lines of the response's head.
    """

    def __init__(self, status: HTTPStatus, text: str, headers: bytes = b"") -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


def accept(method: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Check a handshake and return the header lines of the 101 response, without ``Date`` and the empty line.

    No extension and no subprotocol is accepted.

    Args:
        method: The HTTP method.
        headers: The request headers, names in lower case.

    Raises:
        HandshakeInvalid: the request does not open a websocket of version 13.
    """
    if method != "GET":
        raise HandshakeInvalid(HTTPStatus.METHOD_NOT_ALLOWED, "a websocket is opened with GET", b"allow: GET\r\n")
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value)
    options = b",".join(values.get(b"connection", ()))
    if b"upgrade" not in [option.strip() for option in options.lower().split(b",")]:
        raise _not_an_upgrade("the header Connection does not contain Upgrade")
    if [value.strip().lower() for value in values.get(b"upgrade", ())] != [b"websocket"]:
        raise _not_an_upgrade("the header Upgrade is not websocket")
    if values.get(b"sec-websocket-version") != [_VERSION]:
        text = "the header Sec-WebSocket-Version is not 13"
        raise HandshakeInvalid(HTTPStatus.UPGRADE_REQUIRED, text, b"sec-websocket-version: 13\r\n")
    keys = values.get(b"sec-websocket-key", ())
    if len(keys) != 1 or not _is_key(keys[0]):
        raise HandshakeInvalid(HTTPStatus.BAD_REQUEST, "the header Sec-WebSocket-Key is not one key of 16 bytes")
    digest = binascii.b2a_base64(hashlib.sha1(keys[0] + _GUID, usedforsecurity=False).digest(), newline=False)
    return b"upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: %b\r\n" % digest


def _not_an_upgrade(text: str) -> HandshakeInvalid:
    return HandshakeInvalid(HTTPStatus.UPGRADE_REQUIRED, text, b"upgrade: websocket\r\n")


def _is_key(value: bytes) -> bool:
    try:
        return len(binascii.a2b_base64(value, strict_mode=True)) == _KEY_BYTES
    except binascii.Error:
        return False
