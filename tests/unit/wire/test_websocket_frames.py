"""The examples are from RFC 6455 §5.7; the ``websockets`` library parses the frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from roomcast.wire.websocket_frames import (
    binary_frame,
    packet_frame,
    text_frame,
)


def read_back(buffer: bytes) -> list[tuple[Opcode, bytes]]:
    client = Protocol(CLIENT)
    client.receive_data(buffer)
    assert client.parser_exc is None
    return [(frame.opcode, bytes(frame.data)) for frame in client.events_received()]


def test_the_examples_of_the_rfc() -> None:
    assert text_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
    assert binary_frame(bytes(256))[:4] == bytes.fromhex("827e0100")
    assert binary_frame(bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")


@pytest.mark.parametrize(
    ("length", "head"), [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65535, 4), (65536, 10), (1_000_000, 10)]
)
def test_the_shortest_length_form_is_used(length: int, head: int) -> None:
    frame = text_frame(b"x" * length)
    assert len(frame) == head + length
    assert read_back(frame) == [(Opcode.TEXT, b"x" * length)]


def test_a_server_frame_is_final_and_not_masked() -> None:
    frame = text_frame(b"4hello")
    assert frame[0] & 0x80
    assert not frame[1] & 0x80


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.binary()))
def test_packets_round_trip(packets: list[str | bytes]) -> None:
    buffer = b"".join(packet_frame(packet) for packet in packets)
    assert read_back(buffer) == [
        (Opcode.TEXT, packet.encode()) if isinstance(packet, str) else (Opcode.BINARY, packet) for packet in packets
    ]
