"""A cheap Socket.IO client: one asyncio protocol with just enough of WebSocket and Engine.IO."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import struct
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

#: Called with the event's name, a function that parses its first argument, and the packet.
OnEvent = Callable[[str, Callable[[], Any], bytes], None]
OnAck = Callable[[Any], None]

_HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MESSAGE = b'42["new-msg",'


class SocketIoClient(asyncio.Protocol):
    """One connection.

    Attributes:
        closed: Done when the connection has ended.
        ignores_heartbeat: Keep the connection when pings are overdue, which no real client does.
    """

    def __init__(self, port: int, on_event: OnEvent) -> None:
        self._port = port
        self._on_event = on_event
        self._buffer = bytearray()
        self._upgraded = False
        self._last_ack_id = 0
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._opened: asyncio.Future[None] = loop.create_future()
        self._acks: dict[int, tuple[asyncio.Future[Any], OnAck | None]] = {}
        self.ignores_heartbeat = False
        self._heartbeat_s = 0.0
        self._heartbeat_timer: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, port: int, on_event: OnEvent) -> Self:
        """Connect and request the WebSocket upgrade."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            _, client = await loop.create_connection(lambda: cls(port, on_event), "127.0.0.1", port)
        return client

    async def open(self) -> None:
        """Wait until the default namespace is joined."""
        await self._opened

    async def call(self, event: str, payload: Any, on_ack: OnAck | None = None) -> Any:
        """Emit and wait for the ack's first argument. ``on_ack`` gets it before any later packet is handled."""
        self._last_ack_id += 1
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._acks[self._last_ack_id] = done, on_ack
        self._send(f"42{self._last_ack_id}{json.dumps([event, payload])}")
        return await done

    def abort(self) -> None:
        """Close the TCP connection without a close packet."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Request the WebSocket upgrade."""
        # uvloop's transports are no subclass.
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(_HANDSHAKE.format(port=self._port, key=key).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail every pending call."""
        if self._heartbeat_timer is not None:
            self._heartbeat_timer.cancel()
        for pending in (self._opened, *(done for done, _ in self._acks.values())):
            if not pending.done():
                pending.set_exception(ConnectionError("the connection ended"))
                pending.exception()  # marks it as retrieved: the caller may have been cancelled
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Handle every complete frame."""
        buffer = self._buffer
        buffer += data
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self._transport.abort()
                return
            self._upgraded = True
            del buffer[: end + 4]
        start, size = 0, len(buffer)
        while size - start >= 2:
            opcode, length, body = buffer[start] & 0x0F, buffer[start + 1], start + 2
            if length == 126:
                if size - start < 4:
                    break
                length, body = struct.unpack_from("!H", buffer, start + 2)[0], start + 4
            elif length == 127:
                if size - start < 10:
                    break
                length, body = struct.unpack_from("!Q", buffer, start + 2)[0], start + 10
            if size < body + length:
                break
            start = body + length
            self._frame(opcode, bytes(buffer[body:start]))
        del buffer[:start]

    def _frame(self, opcode: int, payload: bytes) -> None:
        if opcode == 0x1:
            self._packet(payload)
        elif opcode == 0x9:
            self._transport.write(struct.pack("!BB", 0x8A, 0x80 | len(payload)) + b"\0\0\0\0" + payload)
        elif opcode == 0x8:
            self._transport.abort()

    def _packet(self, packet: bytes) -> None:
        if packet.startswith(_MESSAGE):
            self._on_event("new-msg", lambda: json.loads(packet[2:])[1], packet)
        elif packet.startswith(b"42"):
            name, *args = json.loads(packet[2:])
            self._on_event(name, lambda: args[0] if args else None, packet)
        elif packet.startswith(b"43"):
            self._ack(packet)
        elif packet == b"2":
            self._send("3")
            self._restart_heartbeat_timer()
        elif packet.startswith(b"0"):
            handshake = json.loads(packet[1:])
            self._heartbeat_s = (handshake["pingInterval"] + handshake["pingTimeout"]) / 1_000
            self._restart_heartbeat_timer()
            self._send("40")
        elif packet.startswith(b"40"):
            if not self._opened.done():
                self._opened.set_result(None)
        elif packet.startswith((b"41", b"44", b"1")):
            self._transport.abort()

    def _ack(self, packet: bytes) -> None:
        ack_id, _, rest = packet[2:].partition(b"[")
        pending, on_ack = self._acks.pop(int(ack_id))
        answer = (json.loads(b"[" + rest) or [None])[0]
        if on_ack is not None:
            on_ack(answer)
        if not pending.done():
            pending.set_result(answer)

    def _restart_heartbeat_timer(self) -> None:
        """The official client closes a connection without a ping for ``pingInterval`` + ``pingTimeout``, too."""
        if self._heartbeat_timer is not None:
            self._heartbeat_timer.cancel()
        self._heartbeat_timer = asyncio.get_running_loop().call_later(self._heartbeat_s, self._heartbeat_missed)

    def _heartbeat_missed(self) -> None:
        if not self.ignores_heartbeat:
            self._transport.abort()

    def _send(self, text: str) -> None:
        payload = text.encode()
        head = struct.pack("!BB", 0x81, 0x80 | len(payload)) if len(payload) < 126 else None
        head = head or struct.pack("!BBH", 0x81, 0xFE, len(payload))
        # A zero mask leaves the payload as it is.
        self._transport.write(head + b"\0\0\0\0" + payload)


def rotate(ports: Sequence[int], first: int) -> list[int]:
    """The ports in the order in which a load balancer tries them."""
    start = first % len(ports)
    return [*ports[start:], *ports[:start]]


async def connect_to_first(ports: Sequence[int], on_event: OnEvent) -> SocketIoClient:
    """Connect to the first port that accepts, as a load balancer does."""
    for port in ports[:-1]:
        with contextlib.suppress(ConnectionRefusedError):
            return await SocketIoClient.connect(port, on_event)
    return await SocketIoClient.connect(ports[-1], on_event)
