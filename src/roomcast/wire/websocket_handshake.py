"""The server's part of a WebSocket handshake, and a parser for request heads of its ordinary form.

Layer: wire (standard library only). Source: RFC 6455 §4.2; RFC 9112 §3 and §5.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16
_VERSION: Final = b"13"

# A strict subset of RFC 9112: one space after each colon, no empty value, ASCII only.
_HEAD: Final = re.compile(
    rb"GET (/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*) HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9!#$%&'*+.^_`|~-]+: [!-~](?:[ -~]*[!-~])?\r\n)+)\r\n"
)
_CONNECTIONS: Final = frozenset({b"upgrade", b"keep-alive, upgrade"})
# With these, more than the head belongs to the request.
_NOT_PLAIN: Final = frozenset({b"content-length", b"transfer-encoding", b"proxy-connection", b"expect"})
_OWN_NAMES: Final = frozenset({b"connection", b"upgrade", b"sec-websocket-key", b"sec-websocket-version"})

Headers = list[tuple[bytes, bytes]]


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


def read_plain_head(data: bytes) -> tuple[bytes, Headers] | None:
    """Parse the head of nearly all handshakes in a tenth of the time that an HTTP parser takes.

    Args:
        data: All bytes of the connection so far.

    Returns:
        The target, and the headers with names in lower case, as an HTTP parser finds them; None if the data is not
        exactly one head of that form, which may be valid nevertheless.
    """
    found = _HEAD.fullmatch(data)
    if found is None:
        return None
    url, lines = found.groups()
    headers: Headers = []
    upgrades = connections = 0
    for line in lines[:-2].split(b"\r\n"):
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name == b"upgrade":
            upgrades += 1 if value.lower() == b"websocket" else 2
        elif name == b"connection":
            connections += 1 if value.lower() in _CONNECTIONS else 2
        elif name in _NOT_PLAIN:
            return None
        headers.append((name, value))
    return (url, headers) if upgrades == connections == 1 else None


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
        if name in _OWN_NAMES:
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
