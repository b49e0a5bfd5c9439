"""The examples are from the Engine.IO protocol v4, "Packet encoding"."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.wire.engineio import (
    SEPARATOR,
    Packet,
    PacketType,
    decode_packet,
    decode_payload,
    decode_text,
    encode_payload,
)
from roomcast.wire.errors import EncodeError, Fault, RemoteError
from roomcast.wire.limits import Limits

# Text that can be encoded as UTF-8, without the separator.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SEPARATOR))
packets = st.builds(Packet, st.sampled_from(PacketType), texts) | st.builds(
    Packet, st.just(PacketType.MESSAGE), st.binary()
)


def websocket_form(packet: Packet) -> str | bytes:
    return packet.type + packet.data if isinstance(packet.data, str) else packet.data


def fault_of(data: str | bytes) -> Fault:
    with pytest.raises(RemoteError) as caught:
        decode_packet(data)
    return caught.value.fault


def payload_fault(body: bytes, limits: Limits | None = None) -> Fault:
    with pytest.raises(RemoteError) as caught:
        list(decode_payload(body, limits or Limits()))
    return caught.value.fault


def test_the_websocket_example_of_the_document() -> None:
    assert decode_packet("4hello") == Packet(PacketType.MESSAGE, "hello")


def test_the_polling_examples_of_the_document() -> None:
    assert list(decode_payload(b"4hello\x1e2\x1e4world")) == [
        Packet(PacketType.MESSAGE, "hello"),
        Packet(PacketType.PING),
        Packet(PacketType.MESSAGE, "world"),
    ]
    assert encode_payload(["4hello", "2", "4world"]) == b"4hello\x1e2\x1e4world"
    assert list(decode_payload(b"4hello\x1ebAQIDBA==")) == [
        Packet(PacketType.MESSAGE, "hello"),
        Packet(PacketType.MESSAGE, b"\x01\x02\x03\x04"),
    ]
    assert encode_payload(["4hello", b"\x01\x02\x03\x04"]) == b"4hello\x1ebAQIDBA=="


@pytest.mark.parametrize(("digit", "packet_type"), [(member.value, member) for member in PacketType])
def test_each_type_has_its_digit(digit: str, packet_type: PacketType) -> None:
    assert decode_packet(digit) == Packet(packet_type, "")
    assert decode_packet(f"{digit}probe") == Packet(packet_type, "probe")


def test_the_digits_are_those_of_the_document() -> None:
    assert [member.name for member in PacketType] == ["OPEN", "CLOSE", "PING", "PONG", "MESSAGE", "UPGRADE", "NOOP"]
    assert "".join(PacketType) == "0123456"


def test_binary_data_is_a_message() -> None:
    assert decode_packet(b"\x00\xff") == Packet(PacketType.MESSAGE, b"\x00\xff")


@pytest.mark.parametrize("data", ["", "7", "abc", "a4", "-1", " 4", "\x1e", "é", "٤", "4"[:0]])
def test_text_without_a_type_digit_is_rejected(data: str) -> None:
    assert fault_of(data) is Fault.BAD_PACKET_TYPE


@pytest.mark.parametrize(
    "data",
    ["bA", "bAA", "bAAA", "bAQIDBA=", "bAQIDBA===", "bAQ ID", "bAQID\n", "b=", "b====", "bé", "b_-_-", "bAQ==AQ=="],
)
def test_base64_that_is_not_strict_is_rejected(data: str) -> None:
    assert fault_of(data) is Fault.BAD_BASE64


def test_binary_data_may_be_empty() -> None:
    assert decode_packet("b") == Packet(PacketType.MESSAGE, b"")
    assert encode_payload([b""]) == b"b"


@pytest.mark.parametrize("body", [b"4\xff", b"4\xc3", b"\x80", b"4\xed\xa0\x80", b"4\xf5\x80\x80\x80"])
def test_a_payload_that_is_not_utf8_is_rejected(body: bytes) -> None:
    assert payload_fault(body) is Fault.BAD_UTF8
    with pytest.raises(RemoteError):
        decode_text(body)


def test_text_is_decoded_from_utf8() -> None:
    assert decode_text("你好 👋".encode()) == "你好 👋"


def test_an_empty_packet_in_a_payload_is_rejected() -> None:
    assert payload_fault(b"") is Fault.BAD_PACKET_TYPE
    assert payload_fault(b"4a\x1e") is Fault.BAD_PACKET_TYPE


def test_packets_before_an_invalid_one_are_decoded() -> None:
    read = decode_payload(b"4hello\x1eabc\x1e4world")
    assert next(read) == Packet(PacketType.MESSAGE, "hello")
    with pytest.raises(RemoteError):
        next(read)
    assert list(read) == []


def test_a_payload_of_exactly_the_maximum_size_is_accepted() -> None:
    limits = Limits(max_payload_bytes=10)
    assert list(decode_payload(b"4" + b"x" * 9, limits)) == [Packet(PacketType.MESSAGE, "x" * 9)]
    assert payload_fault(b"4" + b"x" * 10, limits) is Fault.TOO_LARGE


def test_a_payload_of_exactly_the_maximum_number_of_packets_is_accepted() -> None:
    limits = Limits(max_payload_packets=3)
    assert len(list(decode_payload(b"6\x1e6\x1e6", limits))) == 3
    assert payload_fault(b"6\x1e6\x1e6\x1e6", limits) is Fault.TOO_MANY_PACKETS


def test_a_packet_that_contains_the_separator_cannot_be_sent_over_polling() -> None:
    with pytest.raises(EncodeError):
        encode_payload(["4a\x1eb"])


@given(packets)
def test_a_packet_round_trips_over_websocket(packet: Packet) -> None:
    assert decode_packet(websocket_form(packet)) == packet


@given(st.lists(packets, min_size=1))
def test_packets_round_trip_over_polling(sent: list[Packet]) -> None:
    assert list(decode_payload(encode_payload(websocket_form(packet) for packet in sent))) == sent


@given(st.lists(packets, min_size=2), st.data())
def test_payloads_may_be_joined_from_parts(sent: list[Packet], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(sent) - 1))
    encoded = [websocket_form(packet) for packet in sent]
    joined = encode_payload(encoded[:cut]) + SEPARATOR.encode() + encode_payload(encoded[cut:])
    assert joined == encode_payload(encoded)
