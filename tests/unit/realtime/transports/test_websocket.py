"""Reading frames: the fast path and the parser give the same messages for any segmentation of the bytes."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode
from websockets.utils import apply_mask

from roomcast.realtime import Server, ServerOptions
from roomcast.realtime.limits.reading import LARGE_BYTES, TURN_PACKETS
from roomcast.realtime.transports import websocket
from roomcast.realtime.transports.encoded_websocket import websocket_protocol
from roomcast.realtime.transports.proxies import TrustedProxies
from support.virtual_time import run_in_virtual_time
from unit.realtime.conftest import StreamTransport, settle

URL = b"/socket.io/?EIO=4&transport=websocket"
HEADERS = (
    (b"host", b"x"),
    (b"connection", b"Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-key", b"AAAAAAAAAAAAAAAAAAAAAA=="),
    (b"sec-websocket-version", b"13"),
)


def open_protocol(server: Server) -> tuple[Any, StreamTransport]:
    protocol_class = websocket_protocol(server.engine, TrustedProxies(()))
    protocol = protocol_class(Config(lambda: None), ServerState(), {})
    transport = StreamTransport()
    protocol.connection_made(transport)
    protocol.open("GET", URL, HEADERS)
    assert transport.written.startswith(b"HTTP/1.1 101 ")
    return protocol, transport


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([0, 1, 2, 124, 125, 126, 127, 300, 5000, 65535, 65536, 70000]),
        st.booleans(),  # binary
        st.integers(1, 4),  # fragments
        st.booleans(),  # a ping in front
    ),
    max_size=6,
)


@settings(max_examples=80, deadline=None)
@given(messages=MESSAGES, cuts=st.lists(st.integers(1, 20_000), max_size=30))
def test_every_message_arrives_complete_and_in_order_for_any_segmentation(
    messages: list[tuple[int, bool, int, bool]], cuts: list[int]
) -> None:
    expected: list[str | bytes] = []
    stream = bytearray()
    for size, binary, fragments, ping in messages:
        data = os.urandom(size) if binary else b"4" + b"x" * size
        expected.append(data if binary else data.decode())
        if ping:
            stream += masked(Opcode.PING, b"p")
        step = max(1, -(-len(data) // fragments))
        pieces = [data[i : i + step] for i in range(0, len(data), step)] or [b""]
        for index, piece in enumerate(pieces):
            opcode = Opcode.CONT if index else Opcode.BINARY if binary else Opcode.TEXT
            stream += masked(opcode, piece, fin=index == len(pieces) - 1)

    async def run() -> None:
        server = Server()
        protocol, _ = open_protocol(server)
        (connection,) = server.engine.connections.values()
        got: list[str | bytes] = []
        sink = {"receive": lambda _, data: got.append(data), "spend": lambda *_: 0.0}
        protocol._connection = type("Sink", (), sink)()
        at = 0
        for cut in cuts:
            protocol.data_received(bytes(stream[at : at + cut])) if at < len(stream) else None
            at += cut
        if at < len(stream):
            protocol.data_received(bytes(stream[at:]))
        await settle(200)  # at most 32 frames a turn
        assert got == expected
        protocol._connection = connection
        protocol.connection_lost(None)

    asyncio.run(run())


@settings(max_examples=300, deadline=None)
@given(
    head=st.sampled_from([0x81, 0x81, 0x81, 0x82, 0x01, 0x80, 0xC1, 0x88, 0x89, 0x8A, 0x83]),
    second=st.sampled_from([0x80, 0x80, 0x80, 0x00]),
    longer=st.sampled_from([0, 0, 0, 1, -1]),
    payload=st.sampled_from([b"3", b"41", b"1", b'42["echo",1]', b'427["echo",[1]]', b'428["no"]', b'42"x"', b"", b"5"])
    | st.binary(max_size=140),
    before=st.sampled_from([b"", masked(Opcode.TEXT, b"42", fin=False), masked(Opcode.PING, b"p")]),
    limit=st.sampled_from([8, 1000]),
)
def test_one_read_of_one_frame_is_processed_as_a_read_in_pieces(
    head: int, second: int, longer: int, payload: bytes, before: bytes, limit: int
) -> None:
    mask = b"\x11\x22\x33\x44"
    length = max(0, min(len(payload) + longer, 125))
    data = bytes([head, second | length]) + mask + apply_mask(payload, mask)

    async def run(pieces: list[bytes]) -> tuple[object, ...]:
        server = Server(ServerOptions(max_payload_bytes=limit))
        server.on("echo", lambda _sid, value: value)
        protocol, transport = open_protocol(server)
        (connection,) = server.engine.connections.values()
        connection.receive("40")  # not through the protocol, whose limit may be too low for later events
        await settle()
        transport.written.clear()
        if before:
            protocol.data_received(before)
        for piece in pieces:
            if not transport.closed:
                protocol.data_received(piece)
        await settle()
        outcome = (bytes(transport.written), transport.closed, transport.aborted, transport.reading, server.connections)
        protocol.connection_lost(None)
        await server.shutdown()
        return outcome

    assert asyncio.run(run([data])) == asyncio.run(run([data[:1], data[1:]]))


@settings(max_examples=200, deadline=None)
@given(junk=st.lists(st.binary(max_size=200), max_size=5), enter=st.booleans())
def test_random_bytes_never_raise(junk: list[bytes], enter: bool) -> None:
    async def run() -> None:
        server = Server(ServerOptions(max_payload_bytes=1000))
        protocol, _ = open_protocol(server)
        if enter:
            protocol.data_received(masked(Opcode.TEXT, b"40"))
        for data in junk:
            protocol.data_received(data)
        server.engine.log.flush()
        protocol.connection_lost(None)
        assert server.connections == 0
        await server.shutdown()

    asyncio.run(run())


@settings(max_examples=200, deadline=None)
@given(
    text=st.text(max_size=60)
    | st.from_regex(r"4[0-6]\d{0,3}(/[a-z]*,)?\d{0,4}[\[{\"\]}a-z0-9,:]{0,30}", fullmatch=True)
)
def test_malformed_packets_never_raise(text: str) -> None:
    async def run() -> None:
        server = Server(ServerOptions(namespaces=("*",)))
        protocol, _ = open_protocol(server)
        protocol.data_received(masked(Opcode.TEXT, b"40"))
        protocol.data_received(masked(Opcode.TEXT, text.encode()))
        protocol.data_received(masked(Opcode.BINARY, b"\x00"))
        server.engine.log.flush()
        protocol.connection_lost(None)
        assert server.connections == 0
        await server.shutdown()

    asyncio.run(run())


async def test_a_clients_close_frame_is_answered_and_ends_the_session(recording: Any) -> None:
    server = Server(observer=recording)
    protocol, transport = open_protocol(server)
    protocol.data_received(masked(Opcode.CLOSE, b"\x03\xe8bye"))
    assert transport.written.endswith(b"\x88\x05\x03\xe8bye")
    assert transport.closed
    assert [reason.value for _, reason in recording.of("connection_closed")] == ["transport close"]


async def test_a_close_frame_after_a_malformed_packet_still_ends_the_session(recording: Any) -> None:
    server = Server(observer=recording)
    protocol, transport = open_protocol(server)
    protocol.data_received(masked(Opcode.PING, b""))  # switches to the parser, which reads ahead to the close frame
    protocol.data_received(masked(Opcode.TEXT, b"4no packet") + masked(Opcode.CLOSE, b"\x03\xe8"))
    assert transport.closed
    assert server.connections == 0
    assert [reason.value for _, reason in recording.of("connection_closed")] == ["parse error"]
    protocol.connection_lost(None)


async def test_a_close_by_the_server_waits_for_the_clients_close_frame(recording: Any) -> None:
    server = Server(observer=recording)
    protocol, transport = open_protocol(server)
    protocol.shutdown()
    assert transport.written.endswith(b"\x88\x02\x03\xf4")
    assert not transport.closed
    protocol.data_received(masked(Opcode.TEXT, b"4ignored") + masked(Opcode.CLOSE, b"\x03\xf4"))
    assert transport.closed
    protocol.connection_lost(None)


@pytest.mark.parametrize(
    "end",
    [
        lambda protocol: protocol.data_received(masked(Opcode.TEXT, b"no packet")),
        lambda protocol: protocol.data_received(masked(Opcode.TEXT, b"4\xff")),
        lambda protocol: protocol.data_received(b"\x81\xff" + b"\x7f" * 12),
        lambda protocol: protocol.data_received(masked(Opcode.CLOSE, b"\x03\xe8")),
        lambda protocol: protocol.eof_received(),
        lambda protocol: protocol.shutdown(),
    ],
    ids=["no packet", "no text", "too large", "close frame", "half-closed", "shutdown"],
)
def test_a_closing_connection_is_aborted_if_its_client_does_not_read(end: Any) -> None:
    async def run() -> None:
        server = Server()
        protocol, transport = open_protocol(server)
        protocol.pause_writing()
        end(protocol)  # a closed transport stays open until its buffer is empty: here forever
        assert not transport.aborted
        await asyncio.sleep(3)
        assert transport.aborted
        protocol.connection_lost(None)

    run_in_virtual_time(run())


async def test_a_paused_transport_takes_the_connection_off_the_fast_path() -> None:
    server = Server()
    protocol, _ = open_protocol(server)
    (connection,) = server.engine.connections.values()
    assert connection.write is not None
    protocol.pause_writing()
    assert connection.write is None
    protocol.resume_writing()
    assert connection.write is not None
    protocol.connection_lost(ConnectionResetError())
    assert connection.write is None
    protocol.resume_writing()
    assert connection.write is None


async def test_events_of_one_read_share_the_write_of_their_acknowledgements(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server()

    @server.on("echo")
    def echo(_sid: str, number: int) -> int:
        return number

    writes: list[bytes] = []
    write = StreamTransport.write
    monkeypatch.setattr(StreamTransport, "write", lambda self, data: (writes.append(bytes(data)), write(self, data)))
    monkeypatch.setattr(websocket, "clock", lambda: 0.0)  # a turn of reading ends after some time
    protocol, _ = open_protocol(server)
    protocol.data_received(masked(Opcode.TEXT, b"40"))
    protocol.data_received(masked(Opcode.TEXT, b'420["echo",7]'))
    assert writes[-1].endswith(b"430[7]")  # at once
    writes.clear()
    protocol.data_received(b"".join(masked(Opcode.TEXT, b'42%d["echo",%d]' % (n, n)) for n in range(1, 10)))
    await settle()
    await settle()
    assert b"".join(writes).count(b"43") == 9
    assert len(writes) == 2  # the first event was acknowledged before the next one was found
    protocol.data_received(masked(Opcode.TEXT, b'4210["echo",7]'))
    assert writes[-1].endswith(b"4310[7]")


@pytest.mark.parametrize("cut", [1, 3, 20])
async def test_an_event_is_acknowledged_at_once_after_a_read_that_ended_within_a_frame(cut: int) -> None:
    server = Server()
    server.on("echo", lambda _sid, value: value)
    protocol, transport = open_protocol(server)
    protocol.data_received(masked(Opcode.TEXT, b"40"))
    event = masked(Opcode.TEXT, b'421["echo","0123456789"]')
    protocol.data_received(event + event[:cut])
    protocol.data_received(event[cut:])
    await settle()
    transport.written.clear()
    protocol.data_received(masked(Opcode.TEXT, b'422["echo",7]'))
    assert transport.written.endswith(b"432[7]")


@pytest.mark.parametrize(
    ("method", "url", "headers"),
    [
        ("POST", URL, HEADERS),
        ("GET", b"/other/?EIO=4&transport=websocket", HEADERS),
        ("GET", URL, HEADERS[:-1]),
        ("GET", URL, (*HEADERS, (b"host", b"y"))),
        ("GET", URL, (*HEADERS, (b"origin", b"http://x"), (b"origin", b"http://x"))),
    ],
)
async def test_an_invalid_handshake_is_refused(
    method: str, url: bytes, headers: tuple[tuple[bytes, bytes], ...], recording: Any
) -> None:
    server = Server(observer=recording)
    protocol = websocket_protocol(server.engine, TrustedProxies(()))(Config(lambda: None), ServerState(), {})
    transport = StreamTransport()
    protocol.connection_made(transport)
    protocol.open(method, url, headers)
    assert transport.written.startswith(b"HTTP/1.1 4")
    assert transport.closed
    assert len(recording.of("handshake_refused")) == 1
    assert server.connections == 0


FLOODS = {
    "pongs of Engine.IO": masked(Opcode.TEXT, b"3"),
    "pings": masked(Opcode.PING, b""),
    "pongs": masked(Opcode.PONG, b""),
    "empty fragments": masked(Opcode.CONT, b"", fin=False),
    "events": masked(Opcode.TEXT, b'42["x"]'),
}


class CountingSession:
    """A connection that counts the calls of `spend`."""

    def __init__(self) -> None:
        self.turns: list[int] = []
        self.pause_s = 0.0

    def receive(self, data: str | bytes) -> None: ...

    def spend(self, packets: int) -> float:
        self.turns.append(packets)
        return self.pause_s


@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_in_one_read_is_processed_in_turns(kind: str) -> None:
    server = Server()
    protocol, transport = open_protocol(server)
    (connection,) = server.engine.connections.values()
    session = protocol._connection = CountingSession()
    start = masked(Opcode.TEXT, b"4", fin=False) if kind == "empty fragments" else b""
    protocol.data_received(start + FLOODS[kind] * 1000)
    assert sum(session.turns) <= TURN_PACKETS
    assert len(session.turns) <= 1
    assert not transport.reading
    for _ in range(1000):
        await asyncio.sleep(0)
        if transport.reading:
            break
    assert 1000 - 16 < sum(session.turns) <= 1000 + bool(start)
    assert max(session.turns) < TURN_PACKETS + 16
    protocol._connection = connection
    protocol.connection_lost(None)


def test_a_client_above_its_rate_is_read_later() -> None:
    async def main() -> None:
        protocol, transport = open_protocol(Server())
        session = protocol._connection = CountingSession()
        session.pause_s = 5.0
        for _ in range(16):
            protocol.data_received(masked(Opcode.TEXT, b"3"))
        session.pause_s = 0.0
        await asyncio.sleep(4.9)
        assert not transport.reading
        await asyncio.sleep(0.2)
        assert transport.reading

    run_in_virtual_time(main())


def test_large_messages_count_as_one_packet_each() -> None:
    async def main() -> None:
        protocol, _ = open_protocol(Server())
        session = protocol._connection = CountingSession()
        for size in (LARGE_BYTES, 70_000):  # read by the fast path, and by the parser
            protocol.data_received(masked(Opcode.BINARY, bytes(size)))
            await settle()
            assert sum(session.turns) == 1  # at once: its parsing may have used up the budget
            session.turns.clear()

    run_in_virtual_time(main())


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_without_a_namespace_is_closed(kind: str, recording: Any) -> None:
    async def main() -> None:
        server = Server(observer=recording)
        protocol, transport = open_protocol(server)
        start = masked(Opcode.TEXT, b"4", fin=False) if kind == "empty fragments" else b""
        protocol.data_received(start + FLOODS[kind] * 1000)
        await settle(20)
        assert transport.closed
        assert server.connections == 0

    run_in_virtual_time(main())
    assert len(recording.of("peer_malformed")) == 1


def test_a_flood_does_not_delay_the_deadline_of_connect(recording: Any) -> None:
    async def main() -> None:
        server = Server(ServerOptions(connect_timeout_s=12), observer=recording)
        protocol, _ = open_protocol(server)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not recording.of("connection_closed"):
            protocol.data_received(masked(Opcode.TEXT, b"3"))
            await asyncio.sleep(0.25)
        assert 12 <= loop.time() - began < 13

    run_in_virtual_time(main())
    assert [reason.value for _, reason in recording.of("connection_closed")] == ["connect timeout"]


async def test_events_behind_a_full_inbox_are_not_read() -> None:
    server = Server(ServerOptions(handler_concurrency=1, inbox_limit=4))
    gate = asyncio.Event()
    handled: list[int] = []

    @server.on("work")
    async def work(_sid: str, number: int) -> None:
        handled.append(number)
        await gate.wait()

    protocol, transport = open_protocol(server)
    protocol.data_received(masked(Opcode.TEXT, b"40"))
    await settle()
    protocol.data_received(b"".join(masked(Opcode.TEXT, b'42["work",%d]' % n) for n in range(20)))
    await settle(50)
    (connection,) = server.engine.connections.values()
    assert connection.input_waits
    assert len(connection._inbox._jobs or ()) == 4
    assert not transport.reading
    gate.set()
    await settle(200)
    assert handled == list(range(20))
    assert transport.reading
    protocol.connection_lost(None)


def test_input_that_waits_for_handlers_is_not_late() -> None:
    async def main() -> None:
        server = Server(ServerOptions(handler_concurrency=1, inbox_limit=1, ping_interval_s=1000))
        handled: list[str | bytes] = []

        @server.on("work")
        async def work(_sid: str, data: str | bytes) -> None:
            await asyncio.sleep(50)
            handled.append(data)

        protocol, _ = open_protocol(server)
        protocol.data_received(masked(Opcode.TEXT, b"40"))
        await settle()
        texts = [masked(Opcode.TEXT, b'42["work","%d"]' % n) for n in range(2)]
        begun = masked(Opcode.TEXT, b'451-["work",{"_placeholder":true,"num":0}]')
        # The second event fills the inbox: the server does not read what is behind it.
        protocol.data_received(texts[0] + begun + masked(Opcode.BINARY, b"x") + texts[1] + begun)
        protocol.data_received(masked(Opcode.BINARY, bytes(10_000)))
        await asyncio.sleep(300)
        assert handled == ["0", b"x", "1", bytes(10_000)]
        assert server.engine.unfinished.size_bytes == 0
        protocol.connection_lost(None)

    run_in_virtual_time(main())


@pytest.mark.parametrize("size", [20_000, 200_000])
@pytest.mark.parametrize("read", [1000, 10**6])
async def test_a_large_message_pauses_reading_at_once(size: int, read: int) -> None:
    server = Server()
    protocol, transport = open_protocol(server)
    (connection,) = server.engine.connections.values()
    session = protocol._connection = CountingSession()
    session.pause_s = 5.0
    data = masked(Opcode.TEXT, b"4" + b"x" * size)
    for at in range(0, len(data), read):
        assert transport.reading
        protocol.data_received(data[at : at + read])
    assert session.turns
    assert not transport.reading
    protocol._connection = connection
    protocol.connection_lost(None)
