from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.wire.errors import Fault, RemoteError
from roomcast.wire.limits import DEFAULT_LIMITS
from roomcast.wire.msgpack import pack, unpack
from roomcast.wire.socketio import Packet, PacketType, encode_ack, encode_event
from roomcast.wire.socketio_msgpack import MsgpackSession, decode_packet, encode_packet
from roomcast.wire.socketio_session import SocketSession


@pytest.mark.parametrize(
    ("packet", "fields"),
    [
        (Packet(PacketType.CONNECT, "/", {"sid": "x"}), {"type": 0, "nsp": "/", "data": {"sid": "x"}}),
        (Packet(PacketType.DISCONNECT, "/a"), {"type": 1, "nsp": "/a"}),
        (Packet(PacketType.EVENT, "/", ["e", b"\x00"], 7), {"type": 2, "nsp": "/", "data": ["e", b"\x00"], "id": 7}),
        (Packet(PacketType.ACK, "/", [], 0), {"type": 3, "nsp": "/", "data": [], "id": 0}),
        (Packet(PacketType.CONNECT_ERROR, "/", {"message": "m"}), {"type": 4, "nsp": "/", "data": {"message": "m"}}),
    ],
)
def test_a_packet_is_a_map_without_what_it_does_not_have(packet: Packet, fields: dict[str, Any]) -> None:
    assert unpack(encode_packet(packet), DEFAULT_LIMITS) == fields
    assert decode_packet(encode_packet(packet), DEFAULT_LIMITS) == packet
    assert decode_packet(pack({**fields, "options": {"compress": True}}), DEFAULT_LIMITS) == packet


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ([2, "/", ["e"]], Fault.BAD_PAYLOAD),
        ({"type": 5, "nsp": "/", "data": ["e"]}, Fault.BAD_PACKET_TYPE),
        ({"type": True, "nsp": "/", "data": ["e"]}, Fault.BAD_PACKET_TYPE),
        ({"type": 2.0, "nsp": "/", "data": ["e"]}, Fault.BAD_PACKET_TYPE),
        ({"nsp": "/", "data": ["e"]}, Fault.BAD_PACKET_TYPE),
        ({"type": 2, "data": ["e"]}, Fault.BAD_NAMESPACE),
        ({"type": 2, "nsp": "a", "data": ["e"]}, Fault.BAD_NAMESPACE),
        ({"type": 2, "nsp": "/a,b", "data": ["e"]}, Fault.BAD_NAMESPACE),
        ({"type": 2, "nsp": "/", "data": ["e"], "id": -1}, Fault.BAD_ACK_ID),
        ({"type": 2, "nsp": "/", "data": ["e"], "id": "1"}, Fault.BAD_ACK_ID),
        ({"type": 2, "nsp": "/", "data": ["e"], "id": 2**53}, Fault.BAD_ACK_ID),
        ({"type": 3, "nsp": "/", "data": []}, Fault.BAD_ACK_ID),
        ({"type": 2, "nsp": "/", "data": []}, Fault.BAD_PAYLOAD),
        ({"type": 2, "nsp": "/", "data": ["disconnect"]}, Fault.BAD_EVENT_NAME),
        ({"type": 2, "nsp": "/", "data": [{"toString": 1}]}, Fault.BAD_EVENT_NAME),
        ({"type": 0, "nsp": "/", "data": ["auth"]}, Fault.BAD_PAYLOAD),
        ({"type": 1, "nsp": "/", "data": 1}, Fault.BAD_PAYLOAD),
    ],
)
def test_a_packet_that_is_not_valid_is_refused(fields: Any, fault: Fault) -> None:
    with pytest.raises(RemoteError) as refused:
        decode_packet(pack(fields), DEFAULT_LIMITS)
    assert refused.value.fault is fault


FEW = settings(max_examples=60, deadline=None)
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.binary(max_size=5)
ARGS = st.lists(VALUES, max_size=3)
PACKETS = st.one_of(
    st.builds(Packet, st.just(PacketType.CONNECT), st.sampled_from(["/", "/a"]), st.just({"k": 1}) | st.none()),
    st.builds(Packet, st.just(PacketType.DISCONNECT), st.sampled_from(["/", "/a"])),
    st.builds(
        Packet,
        st.just(PacketType.EVENT),
        st.sampled_from(["/", "/a"]),
        ARGS.map(lambda args: ["event", *args]),
        st.none() | st.integers(0, 3),
    ),
    st.builds(Packet, st.just(PacketType.ACK), st.sampled_from(["/", "/a"]), ARGS, st.integers(0, 3)),
    st.builds(Packet, st.just(PacketType.CONNECT_ERROR), st.just("/"), st.just({"message": "m"})),
)


def as_text(packet: Packet) -> list[str | bytes]:
    """The packet's Engine.IO messages with the default parser, without the Engine.IO type."""
    head = "" if packet.namespace == "/" else f"{packet.namespace},"
    match packet.type:
        case PacketType.EVENT:
            messages = encode_event(packet.namespace, packet.data, packet.ack_id)
        case PacketType.ACK:
            messages = encode_ack(packet.namespace, packet.data, packet.ack_id or 0)
        case PacketType.DISCONNECT:
            messages = [f"41{head}"]
        case kind:
            data = {None: ""}.get(packet.data) if packet.data is None else str(packet.data).replace("'", '"')
            messages = [f"4{kind.value}{head}{data}"]
    return [message[1:] if isinstance(message, str) else message for message in messages]


@FEW
@given(packets=st.lists(PACKETS, max_size=8))
def test_a_session_behaves_as_one_of_the_default_parser(packets: list[Packet]) -> None:
    sessions = SocketSession(DEFAULT_LIMITS), MsgpackSession(DEFAULT_LIMITS)
    results: list[list[Any]] = [[], []]
    for number, packet in enumerate(packets):
        inputs: list[list[str | bytes]] = [as_text(packet), [encode_packet(packet)]]
        for session, messages, seen in zip(sessions, inputs, results, strict=True):
            try:
                event = None
                for message in messages:
                    event = session.receive(message)
            except RemoteError as error:
                seen.append(error.fault)
                continue
            seen.append(event)
            if packet.type is PacketType.CONNECT and event is not None:
                session.accept(packet.namespace, "sid")
                session.expect_ack(packet.namespace, number)
        assert results[0] == results[1]
        if isinstance(results[0][-1], Fault):
            return


def test_text_is_refused_and_a_closed_session_ignores_everything() -> None:
    session = MsgpackSession(DEFAULT_LIMITS)
    with pytest.raises(RemoteError, match="text"):
        session.receive("0")
    session.close()
    assert session.receive(b"\xc1") is None
