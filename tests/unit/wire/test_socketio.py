"""The examples are from the Socket.IO protocol v5, "Examples", with the Engine.IO type ``4`` added."""

import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.wire.errors import EncodeError, Fault, RemoteError
from roomcast.wire.limits import Limits
from roomcast.wire.socketio import (
    RESERVED_EVENTS,
    Decoder,
    Packet,
    PacketType,
    encode_ack,
    encode_connect,
    encode_connect_error,
    encode_disconnect,
    encode_event,
    encode_event_json,
    encode_event_once,
)

EVENT, ACK = PacketType.EVENT, PacketType.ACK

# Objects that look like placeholders cannot be sent with binary values, and have tests of their own.
keys = st.text().filter("_placeholder".__ne__)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
names = st.text(min_size=1, max_size=20).filter(lambda name: name not in RESERVED_EVENTS)
namespaces = st.just("/") | st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",")).map("/".__add__)
ack_ids = st.none() | st.integers(0, 2**53 - 1)


def strip(message: str | bytes) -> str | bytes:
    if isinstance(message, bytes):
        return message
    assert message[0] == "4"
    return message[1:]


def read(*messages: str | bytes, limits: Limits | None = None) -> Packet:
    """The packet that the last message completes, and no earlier one."""
    decoder = Decoder(limits or Limits())
    for message in messages[:-1]:
        assert decoder.add(message) is None
    packet = decoder.add(messages[-1])
    assert packet is not None
    with pytest.raises(RemoteError, match="unexpected-binary"):
        decoder.add(b"surplus")
    return packet


def fault_of(*messages: str | bytes, limits: Limits | None = None) -> Fault:
    decoder = Decoder(limits or Limits())
    for message in messages[:-1]:
        decoder.add(message)
    with pytest.raises(RemoteError) as caught:
        decoder.add(messages[-1])
    return caught.value.fault


# -- the examples of the document -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "packet"),
    [
        ("0", Packet(PacketType.CONNECT)),
        (
            '0/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}',
            Packet(PacketType.CONNECT, "/admin", {"sid": "oSO0OpakMV_3jnilAAAA"}),
        ),
        ('4{"message":"Not authorized"}', Packet(PacketType.CONNECT_ERROR, "/", {"message": "Not authorized"})),
        ('2["foo"]', Packet(EVENT, "/", ["foo"])),
        ('2/admin,["bar"]', Packet(EVENT, "/admin", ["bar"])),
        ('212["foo"]', Packet(EVENT, "/", ["foo"], 12)),
        ('3/admin,13["bar"]', Packet(ACK, "/admin", ["bar"], 13)),
        ("1", Packet(PacketType.DISCONNECT)),
        ("1/admin,", Packet(PacketType.DISCONNECT, "/admin")),
        ('2/admin,1["tellme"]', Packet(EVENT, "/admin", ["tellme"], 1)),
    ],
)
def test_the_text_examples_are_decoded(text: str, packet: Packet) -> None:
    assert read(text) == packet


@pytest.mark.parametrize(
    ("messages", "packet"),
    [
        (('51-["baz",{"_placeholder":true,"num":0}]', b"\1\2\3\4"), Packet(EVENT, "/", ["baz", b"\1\2\3\4"])),
        (
            (
                '52-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
                b"\1\2",
                b"\3\4",
            ),
            Packet(EVENT, "/admin", ["baz", b"\1\2", b"\3\4"]),
        ),
        (('61-15["bar",{"_placeholder":true,"num":0}]', b"\1\2\3\4"), Packet(ACK, "/", ["bar", b"\1\2\3\4"], 15)),
        (('61-/admin,1[{"_placeholder":true,"num":0}]', b""), Packet(ACK, "/admin", [b""], 1)),
    ],
)
def test_the_binary_examples_are_decoded(messages: tuple[str | bytes, ...], packet: Packet) -> None:
    assert read(*messages) == packet


def test_the_examples_are_encoded() -> None:
    assert encode_connect("/", "wZX3oN0bSVIhsaknAAAI") == '40{"sid":"wZX3oN0bSVIhsaknAAAI"}'
    assert encode_connect("/admin", "oSO0OpakMV_3jnilAAAA") == '40/admin,{"sid":"oSO0OpakMV_3jnilAAAA"}'
    assert encode_connect_error("/", "Not authorized") == '44{"message":"Not authorized"}'
    assert encode_event("/", ["foo"]) == ['42["foo"]']
    assert encode_event("/admin", ["bar"]) == ['42/admin,["bar"]']
    assert encode_event("/", ["baz", b"\1\2\3\4"]) == ['451-["baz",{"_placeholder":true,"num":0}]', b"\1\2\3\4"]
    assert encode_event("/admin", ["baz", b"\1\2", b"\3\4"]) == [
        '452-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]',
        b"\1\2",
        b"\3\4",
    ]
    assert encode_event("/", ["foo"], 12) == ['4212["foo"]']
    assert encode_ack("/admin", ["bar"], 13) == ['43/admin,13["bar"]']
    assert encode_ack("/", ["bar", b"\1\2\3\4"], 15) == ['461-15["bar",{"_placeholder":true,"num":0}]', b"\1\2\3\4"]
    assert encode_disconnect("/") == "41"
    assert encode_disconnect("/admin") == "41/admin,"


def test_arguments_that_are_json_are_framed_unchanged() -> None:
    assert encode_event_json("/", b'["foo","\xe4\xbd\xa0"]') == '42["foo","你"]'.encode()
    assert encode_event_json("/admin", b'["foo"]') == b'42/admin,["foo"]'


def test_a_connect_error_has_data_only_if_given() -> None:
    assert encode_connect_error("/x", "no", {"code": 1}) == '44/x,{"message":"no","data":{"code":1}}'


def test_a_connect_error_carries_no_binary() -> None:
    with pytest.raises(EncodeError):
        encode_connect_error("/", "no", {"a": b"x"})


# -- decoding ---------------------------------------------------------------------------------------------------------


def test_the_comma_after_a_namespace_is_optional_at_the_end() -> None:
    assert read("0/custom") == Packet(PacketType.CONNECT, "/custom")
    assert read("1/custom") == Packet(PacketType.DISCONNECT, "/custom")


def test_a_namespace_keeps_its_query_string_as_in_node() -> None:
    # Node strips it for Engine.IO protocol version 3 only.
    assert read("0/admin?token=1,") == Packet(PacketType.CONNECT, "/admin?token=1")


def test_a_slash_alone_is_the_main_namespace() -> None:
    assert read('2/,["foo"]') == Packet(EVENT, "/", ["foo"])


@pytest.mark.parametrize("text", ["", "7", "9[]", "abc", "-1", " 2[]", '"', "٢[]", "4abc"[1:]])
def test_an_unknown_type_is_rejected(text: str) -> None:
    assert fault_of(text) is Fault.BAD_PACKET_TYPE


@pytest.mark.parametrize(
    "text",
    [
        "2",
        "2/admin,",
        "213",
        "2{}",
        '2"foo"',
        "2[]",
        "21",
        "0null",
        "1null",
        "2null",
        "31null",
        "25",
        "3",
        "3{}",
        "35{}",
        "0[]",
        '0"x"',
        "01[]",
        "1[]",
        "1{}",
        '1"x"',
        "4",
        "4[]",
        "41",
        "51-{}",
        "51-",
        "61-{}",
    ],
)
def test_a_payload_that_does_not_match_its_type_is_rejected(text: str) -> None:
    assert fault_of(text) is Fault.BAD_PAYLOAD


@pytest.mark.parametrize(
    "text", ["2abc", '2abc["x"]', "2[", '2["a"', '2,["a"]', '2-1["a"]', '2["a"]x', '21-["a"]', "2[NaN]"]
)
def test_invalid_json_is_rejected(text: str) -> None:
    assert fault_of(text) is Fault.BAD_JSON


def test_an_ack_needs_its_id() -> None:
    assert fault_of("3[]") is Fault.BAD_ACK_ID


def test_an_ack_id_is_at_most_the_maximum_safe_integer() -> None:
    assert read('29007199254740991["x"]').ack_id == 2**53 - 1
    assert read('2007["x"]').ack_id == 7
    assert fault_of('29007199254740992["x"]') is Fault.BAD_ACK_ID
    assert fault_of('299999999999999999["x"]') is Fault.BAD_ACK_ID


def test_an_ack_id_of_a_million_digits_is_rejected() -> None:
    assert fault_of("2" + "9" * 1_000_000 + '["x"]') is Fault.BAD_ACK_ID
    assert fault_of("2" + "0" * 1_000_000 + '1["x"]') is Fault.BAD_JSON


def test_the_length_of_an_event_name_is_limited() -> None:
    limits = Limits(max_event_name_length=3)
    assert read('2["abc"]', limits=limits).data == ["abc"]
    assert fault_of('2["abcd"]', limits=limits) is Fault.BAD_EVENT_NAME


@pytest.mark.parametrize("name", ["1", "1.5", "-3"])
def test_a_number_is_an_event_name_as_in_node(name: str) -> None:
    assert read(f"2[{name},true]").data == [float(name), True]


def test_an_event_name_may_be_empty() -> None:
    assert read('2[""]').data == [""]


def test_a_placeholder_in_a_text_event_is_plain_data() -> None:
    assert read('2["x",{"_placeholder":true,"num":5}]').data == ["x", {"_placeholder": True, "num": 5}]


def test_attachments_are_inserted_at_any_depth() -> None:
    text = (
        '53-["x",{"_placeholder":true,"num":2},{"a":[{"_placeholder":true,"num":0}],"b":{"_placeholder":true,"num":1}}]'
    )
    assert read(text, b"0", b"1", b"2").data == ["x", b"2", {"a": [b"0"], "b": b"1"}]


def test_a_placeholder_that_is_not_true_is_plain_data() -> None:
    text = '51-["x",{"_placeholder":1,"num":9},{"_placeholder":true,"num":0}]'
    assert read(text, b"0").data == ["x", {"_placeholder": 1, "num": 9}, b"0"]


def test_the_total_size_of_attachments_is_limited() -> None:
    limits = Limits(max_reassembly_bytes=10)
    text = '52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert read(text, b"x" * 5, b"x" * 5, limits=limits).data == ["x", b"x" * 5, b"x" * 5]
    assert fault_of(text, b"x" * 11, limits=limits) is Fault.TOO_LARGE
    assert fault_of(text, b"x" * 5, b"x" * 6, limits=limits) is Fault.TOO_LARGE


def test_a_packet_without_its_attachments_holds_its_text_and_not_its_parsed_value() -> None:
    decoder = Decoder()
    text = '51-["x",{"_placeholder":true,"num":0},[' + ",".join(["[]"] * 30_000) + "]]"
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert decoder.add(text + "") is None
        assert tracemalloc.get_traced_memory()[0] - before < len(text)
    finally:
        tracemalloc.stop()
    assert len(text) <= decoder.held_bytes < len(text) + 100
    packet = decoder.add(b"attachment")
    assert packet is not None
    assert packet.data == ["x", b"attachment", [[]] * 30_000]
    assert decoder.held_bytes == 0


def test_a_packet_that_is_not_wanted_is_read_to_its_end_and_not_kept() -> None:
    decoder = Decoder(is_wanted=lambda packet: packet.data[0] == "wanted")
    for name in ("wanted", "other"):
        text = f'52-["{name}",{{"_placeholder":true,"num":1}},{{"_placeholder":true,"num":0}}]'
        assert decoder.add(text) is None
        assert decoder.add(b"a" * 1000) is None
        assert (decoder.held_bytes > 1000) == (name == "wanted")
        packet = decoder.add(b"b")
        assert (None if packet is None else packet.data) == (
            ["wanted", b"b", b"a" * 1000] if name == "wanted" else None
        )
    assert decoder.add('2["x"]') == Packet(EVENT, "/", ["x"])


def test_the_total_size_is_counted_per_packet() -> None:
    decoder = Decoder(Limits(max_reassembly_bytes=10))
    for _ in range(3):
        assert decoder.add('51-["x",{"_placeholder":true,"num":0}]') is None
        assert decoder.add(b"x" * 10) is not None


def test_the_header_is_checked_before_json_is_parsed() -> None:
    checked: list[tuple[PacketType, str]] = []

    def refuse(packet_type: PacketType, namespace: str) -> None:
        checked.append((packet_type, namespace))
        raise RemoteError(Fault.UNEXPECTED_PACKET, "no")

    decoder = Decoder(Limits(), refuse)
    for text in ("2[not json", "2/a,[not json", "51-/b,[not json", "61-/c,1[not json", "0/d,not json"):
        with pytest.raises(RemoteError, match="unexpected-packet"):
            decoder.add(text)
        with pytest.raises(RemoteError, match="unexpected-binary"):
            decoder.add(b"x")
    assert checked == [(EVENT, "/"), (EVENT, "/a"), (EVENT, "/b"), (ACK, "/c"), (PacketType.CONNECT, "/d")]


# -- round trips ------------------------------------------------------------------------------------------------------


@given(namespaces, names, st.lists(values, max_size=4), ack_ids)
def test_an_event_round_trips(namespace: str, name: str, args: list[Any], ack_id: int | None) -> None:
    encoded = encode_event(namespace, [name, *args], ack_id)
    if ack_id is not None:
        assert encode_event_once(namespace, [name, *args])(ack_id) == encoded
    messages = [strip(message) for message in encoded]
    assert read(*messages, limits=Limits(max_attachments=1000)) == Packet(EVENT, namespace, [name, *args], ack_id)


@given(namespaces, st.lists(values, max_size=4), st.integers(0, 2**53 - 1))
def test_an_ack_round_trips(namespace: str, args: list[Any], ack_id: int) -> None:
    messages = [strip(message) for message in encode_ack(namespace, args, ack_id)]
    assert read(*messages, limits=Limits(max_attachments=1000)) == Packet(ACK, namespace, args, ack_id)
