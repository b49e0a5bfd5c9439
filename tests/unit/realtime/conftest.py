"""Connections without a network, over transports that record what is written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from roomcast.realtime import Reason, Server
from roomcast.realtime.core.connection import Connection
from roomcast.realtime.fanout.message import Batch, OutgoingMessage
from roomcast.realtime.requests.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName
from support.recording_observer import RecordingObserver


class StreamTransport(asyncio.Transport):
    """The transport of an asyncio protocol: keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.aborted = False
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class FakeTransport:
    """A websocket transport that records messages and calls."""

    def __init__(self, *, fast: bool = False) -> None:
        self.messages: list[OutgoingMessage] = []
        self.frames: list[bytes] = []
        self.closed: Reason | None = None
        self.aborted = False
        self.paused = False
        self.overflow_at: int | None = None
        self.backlog = 0
        self._fast = fast
        self.connection: Connection

    @property
    def texts(self) -> list[str]:
        """The packets that the client received, without OPEN."""
        return [m.text.decode() for m in self.messages if not m.text.startswith(b"0")]

    def bind(self, connection: Connection) -> FakeTransport:
        self.connection = connection
        return self

    @property
    def backlog_bytes(self) -> int:
        return self.backlog

    def direct_write(self) -> Callable[[bytes], object] | None:
        return self.frames.append if self._fast else None

    def send(self, batch: Batch) -> None:
        if self.overflow_at is not None and len(self.messages) >= self.overflow_at:
            self.connection.overflow(len(self.messages))
            return
        self.messages += batch.messages

    def take_queue(self) -> list[OutgoingMessage]:
        return []

    def release_poll(self, last: OutgoingMessage | None) -> None: ...

    def close(self, reason: Reason) -> None:
        self.closed = reason

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


HANDSHAKE = Handshake(
    headers=Headers([(b"host", b"x"), (b"user-agent", b"test")]),
    address="192.0.2.1",
    query_string="EIO=4&transport=websocket",
    time=0.0,
    transport=TransportName.WEBSOCKET,
    path="/socket.io/",
)
POLLING = Handshake(
    headers=Headers([(b"host", b"x")]),
    address="192.0.2.1",
    query_string="EIO=4&transport=polling",
    time=0.0,
    transport=TransportName.POLLING,
    path="/socket.io/",
)


class Peer:
    """A client at the other end of a fake transport."""

    def __init__(self, server: Server, **options: Any) -> None:
        self.transport = FakeTransport(**options)
        self.connection = server.engine.open(HANDSHAKE, self.transport.bind)
        self.server = server

    def say(self, *packets: str | bytes) -> None:
        for packet in packets:
            self.connection.receive(packet)

    async def enter(self, namespace: str = "/") -> str:
        """Connect to a namespace; returns the socket's id."""
        self.say("40" if namespace == "/" else f"40{namespace},")
        await settle()
        accepted = next(text for text in reversed(self.transport.texts) if text.startswith("40"))
        self.transport.messages.clear()
        return str(json.loads(accepted[accepted.index("{") :])["sid"])


async def settle(turns: int = 10) -> None:
    """Run scheduled callbacks for some loop iterations."""
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.fixture
def recording() -> RecordingObserver:
    return RecordingObserver()


@pytest.fixture
def peer() -> type[Peer]:
    return Peer


@pytest.fixture(name="settle")
def settle_fixture() -> Any:
    return settle
