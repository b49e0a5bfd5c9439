"""The cheapest Socket.IO client there is: one asyncio protocol that speaks just enough WebSocket and Engine.IO."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import struct
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

#: Called with the event's name, a way to its first argument, and the packet.
OnEvent = Callable[[str, Callable[[], Any], bytes], None]
OnAck = Callable[[Any], None]

_HANDSHAKE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
_MESSAGE = b'42["new-msg",'


class Wire(asyncio.Protocol):
    """One connection.

    Attributes:
        closed: Done once the connection is gone.
        patient: Whether it stays although the server's pings are overdue, which no real client does.
    """

    def __init__(self, port: int, on_event: OnEvent) -> None:
        self._port = port
        self._on_event = on_event
        self._buffer = bytearray()
        self._upgraded = False
        self._number = 0
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._opened: asyncio.Future[None] = loop.create_future()
        self._acks: dict[int, tuple[asyncio.Future[Any], OnAck | None]] = {}
        self.patient = False
        self._heartbeat_s = 0.0
        self._overdue: asyncio.TimerHandle | None = None

    @classmethod
    async def connect(cls, port: int, on_event: OnEvent) -> Self:
        """Connect and ask for the upgrade."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(5):
            _, wire = await loop.create_connection(lambda: cls(port, on_event), "127.0.0.1", port)
        return wire

    async def open(self) -> None:
        """Wait until the default namespace is joined."""
        await self._opened

    async def call(self, event: str, payload: Any, on_ack: OnAck | None = None) -> Any:
        """Emit and wait for the ack's first argument, which ``on_ack`` gets before anything that comes behind it."""
        self._number += 1
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._acks[self._number] = done, on_ack
        self._send(f"42{self._number}{json.dumps([event, payload])}")
        return await done

    def abort(self) -> None:
        """End without a goodbye."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the upgrade."""
        # uvloop's transports are no subclass.
        self._transport = cast("asyncio.Transport", transport)
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(_HANDSHAKE.format(port=self._port, key=key).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        if self._overdue is not None:
            self._overdue.cancel()
        for waiting in (self._opened, *(done for done, _ in self._acks.values())):
            if not waiting.done():
                waiting.set_exception(ConnectionError("the connection ended"))
                waiting.exception()  # whoever waits still gets it; nobody has to wait
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Take every whole frame."""
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
            self._expect_ping()
        elif packet.startswith(b"0"):
            handshake = json.loads(packet[1:])
            self._heartbeat_s = (handshake["pingInterval"] + handshake["pingTimeout"]) / 1_000
            self._expect_ping()
            self._send("40")
        elif packet.startswith(b"40"):
            if not self._opened.done():
                self._opened.set_result(None)
        elif packet.startswith((b"41", b"44", b"1")):
            self._transport.abort()

    def _ack(self, packet: bytes) -> None:
        number, _, rest = packet[2:].partition(b"[")
        waiting, on_ack = self._acks.pop(int(number))
        answer = (json.loads(b"[" + rest) or [None])[0]
        if on_ack is not None:
            on_ack(answer)
        if not waiting.done():
            waiting.set_result(answer)

    def _expect_ping(self) -> None:
        """As the official client does: a server that is silent for too long is given up."""
        if self._overdue is not None:
            self._overdue.cancel()
        self._overdue = asyncio.get_running_loop().call_later(self._heartbeat_s, self._give_up)

    def _give_up(self) -> None:
        if not self.patient:
            self._transport.abort()

    def _send(self, text: str) -> None:
        payload = text.encode()
        head = struct.pack("!BB", 0x81, 0x80 | len(payload)) if len(payload) < 126 else None
        head = head or struct.pack("!BBH", 0x81, 0xFE, len(payload))
        # A zero mask leaves the payload as it is.
        self._transport.write(head + b"\0\0\0\0" + payload)


def in_turn(ports: Sequence[int], first: int) -> list[int]:
    """The ports in the order in which a load balancer tries them."""
    start = first % len(ports)
    return [*ports[start:], *ports[:start]]


async def connect_to_one(ports: Sequence[int], on_event: OnEvent) -> Wire:
    """Connect to the first that is not down, as a load balancer does."""
    for port in ports[:-1]:
        with contextlib.suppress(ConnectionRefusedError):
            return await Wire.connect(port, on_event)
    return await Wire.connect(ports[-1], on_event)
