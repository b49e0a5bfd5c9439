"""A cheap load generator, raw sockets and one epoll, so that the server limits the result.

Implements just enough of Engine.IO and Socket.IO over WebSocket to connect, join a room and count the bytes received.
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import struct
import time
from typing import Any

HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
RECEIVE_BYTES = 262_144
#: Engine.IO's ping in a server's frame.
PING = b"\x81\x012"


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


def server_frame_length(payload_bytes: int) -> int:
    """Length of an unmasked server frame with that payload."""
    if payload_bytes < 126:
        return payload_bytes + 2
    return payload_bytes + (4 if payload_bytes < 65_536 else 10)


class Client:
    """One Socket.IO client on a blocking socket, for the join; a `Swarm` then receives for it."""

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


class Swarm:
    """Many connected clients that only count the bytes they receive."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self._poll = select.epoll()
        self._sockets = {client.socket.fileno(): client.socket for client in clients}
        for descriptor, sock in self._sockets.items():
            sock.setblocking(False)
            self._poll.register(descriptor, select.EPOLLIN)

    def receive_bytes(self, expected: int, timeout_s: float) -> float:
        """Read until all clients together have received ``expected`` bytes.

        Returns:
            Seconds that it took.

        Raises:
            TimeoutError: fewer bytes arrived within ``timeout_s``.
        """
        got = 0
        started = time.perf_counter()
        deadline = started + timeout_s
        sockets = self._sockets
        buffer = bytearray(RECEIVE_BYTES)  # shared: the bytes are only counted
        while got < expected:
            ready = self._poll.poll(1.0)
            for descriptor, _ in ready:
                size = sockets[descriptor].recv_into(buffer)
                if not size:
                    raise ConnectionError("the server closed a connection during the run")
                got += size
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{got} of {expected} bytes within {timeout_s} s")
        if got > expected:
            raise AssertionError(f"{got} bytes instead of {expected}: a delivery was repeated")
        return time.perf_counter() - started

    def receive_each(self, each: int, frame_bytes: int, timeout_s: float) -> float:
        """Read until every client has received ``each`` frames of that size; heartbeats are answered, not counted.

        Returns:
            Seconds that it took.

        Raises:
            AssertionError: a client received an extra frame, or other bytes.
            TimeoutError: a client received too few within ``timeout_s``.
        """
        started = time.perf_counter()
        deadline = started + timeout_s
        counts = dict.fromkeys(self._sockets, 0)
        buffer = bytearray(RECEIVE_BYTES)  # shared: the bytes are only counted
        left = len(counts) * each * frame_bytes
        while True:
            for descriptor, _ in self._poll.poll(0.0 if left <= 0 else 1.0):
                size = self._sockets[descriptor].recv_into(buffer)
                if not size:
                    raise ConnectionError("the server closed a connection during the run")
                counts[descriptor] += size
                left -= size
            if left <= 0 and self._complete(counts, each, frame_bytes):
                break
            if time.perf_counter() > deadline:
                raise TimeoutError(f"after {timeout_s} s {left} bytes are missing (0 or less: some are no frames)")
        took_s = time.perf_counter() - started
        for client in self.clients:
            for _ in range((counts[client.socket.fileno()] - each * frame_bytes) // len(PING)):
                client.pong()
        return took_s

    def _complete(self, counts: dict[int, int], each: int, frame_bytes: int) -> bool:
        """Whether every client has its frames, and besides them complete pings only."""
        whole = True
        for count in counts.values():
            rest = count - each * frame_bytes
            if rest >= frame_bytes:
                raise AssertionError(f"{count} bytes instead of {each * frame_bytes}: a delivery was repeated")
            whole = whole and rest >= 0 and rest % len(PING) == 0
        return whole

    def close(self) -> None:
        """Close every connection."""
        self._poll.close()
        for client in self.clients:
            client.socket.close()
