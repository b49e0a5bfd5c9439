"""Examples: RFC 6455 §5.7; the frames are read back by the parser of ``websockets``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode
from websockets.protocol import CLIENT, Protocol

from roomcast.wire.errors import EncodeError
from roomcast.wire.websocket_frames import (
    CloseCode,
    binary_frame,
    close_frame,
    packet_frame,
    packet_frames,
    ping_frame,
    pong_frame,
    text_frame,
)


def read_back(buffer: bytes) -> list[tuple[Opcode, bytes]]:
    client = Protocol(CLIENT)
    client.receive_data(buffer)
    assert client.parser_exc is None
    return [(frame.opcode, bytes(frame.data)) for frame in client.events_received()]


def test_the_examples_of_the_rfc() -> None:
    assert text_frame(b"Hello") == bytes.fromhex("810548656c6c6f")
    assert ping_frame(b"Hello") == bytes.fromhex("890548656c6c6f")
    assert pong_frame(b"Hello") == bytes.fromhex("8a0548656c6c6f")
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


def test_a_close_frame_may_be_empty_or_say_why() -> None:
    assert close_frame() == b"\x88\x00"
    assert close_frame(CloseCode.TOO_BIG) == b"\x88\x02\x03\xf1"
    assert close_frame(1008, "no é") == b"\x88\x07\x03\xf0no \xc3\xa9"


def test_a_reason_needs_a_code() -> None:
    with pytest.raises(EncodeError):
        close_frame(reason="why")


def test_a_control_frame_is_at_most_125_bytes() -> None:
    assert len(ping_frame(b"x" * 125)) == 127
    assert len(close_frame(1000, "x" * 123)) == 127
    with pytest.raises(EncodeError):
        ping_frame(b"x" * 126)
    with pytest.raises(EncodeError):
        pong_frame(b"x" * 126)
    with pytest.raises(EncodeError):
        close_frame(1000, "x" * 124)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])) | st.binary()))
def test_packets_come_back_as_they_were(packets: list[str | bytes]) -> None:
    buffer = packet_frames(packets)
    assert buffer == b"".join(packet_frame(packet) for packet in packets)
    assert read_back(buffer) == [
        (Opcode.TEXT, packet.encode()) if isinstance(packet, str) else (Opcode.BINARY, packet) for packet in packets
    ]
