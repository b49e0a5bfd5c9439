"""A client of Socket.IO on a raw socket, for answers.py."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from typing import Any

HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RECEIVE_BYTES = 262_144


def client_frame(text: str) -> bytes:
    """One masked text frame (RFC 6455 §5.2) with a zero mask, which leaves the payload as it is."""
    payload = text.encode()
    length = len(payload)
    if length < 126:
        head = struct.pack("!BB", 0x81, 0x80 | length)
    elif length < 65_536:
        head = struct.pack("!BBH", 0x81, 0x80 | 126, length)
    else:
        head = struct.pack("!BBQ", 0x81, 0x80 | 127, length)
    return head + b"\0\0\0\0" + payload


class Client:
    """One Socket.IO client on a blocking socket, for the join."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection((host, port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(HANDSHAKE.format(key=key).encode())
        self._until(b"\r\n\r\n")
        self.expect("0{")
        self.socket.sendall(client_frame("40"))
        self.expect("40")

    def _more(self) -> None:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._buffer += data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            self._more()
        head, _, self._buffer = self._buffer.partition(mark)
        return head

    def receive(self) -> str:
        """The next text frame's payload."""
        while True:
            if len(self._buffer) >= 2:
                length, start = self._buffer[1] & 0x7F, 2
                if length == 126 and len(self._buffer) >= 4:
                    length, start = struct.unpack_from("!H", self._buffer, 2)[0], 4
                if (length < 126 or start == 4) and len(self._buffer) >= start + length:
                    payload = self._buffer[start : start + length]
                    self._buffer = self._buffer[start + length :]
                    return payload.decode()
            self._more()

    def expect(self, prefix: str) -> str:
        """The next frame that starts with ``prefix``; others are skipped."""
        while not (text := self.receive()).startswith(prefix):
            pass
        return text

    def emit(self, *args: Any, ack: int | None = None) -> None:
        """Send an event."""
        self.socket.sendall(client_frame(f"42{'' if ack is None else ack}{json.dumps(args, separators=(',', ':'))}"))

    def pong(self) -> None:
        """Answer a heartbeat."""
        self.socket.sendall(client_frame("3"))

    def call(self, *args: Any) -> str:
        """Send an event and wait for its ack."""
        self.emit(*args, ack=1)
        return self.expect("431")
