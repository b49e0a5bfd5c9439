"""Advisories that concern the parser: each attack raises ``RemoteError`` at the earliest possible message."""

import gc
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from roomcast.wire.errors import Fault, RemoteError
from roomcast.wire.limits import DEFAULT_LIMITS, Limits
from roomcast.wire.socketio import RESERVED_EVENTS, Decoder
from roomcast.wire.socketio_session import EventReceived, SocketSession

PLACEHOLDER = '{"_placeholder":true,"num":%s}'


def fault_of(decoder: Decoder, message: str | bytes) -> Fault:
    with pytest.raises(RemoteError) as caught:
        decoder.add(message)
    return caught.value.fault


def connected() -> SocketSession:
    session = SocketSession()
    session.receive("0")
    session.accept("/", "sid")
    return session


def test_python_socketio_1574_a_binary_header_before_connect_is_fault_of() -> None:
    session = SocketSession()
    with pytest.raises(RemoteError, match="unexpected-packet"):
        session.receive('51-["x",{"_placeholder":true,"num":0}]')
    with pytest.raises(RemoteError, match="unexpected-binary"):
        session.receive(b"x" * 1000)


def test_python_socketio_1574_a_binary_header_for_another_namespace_is_fault_of() -> None:
    session = connected()
    with pytest.raises(RemoteError, match="unexpected-packet"):
        session.receive('51-/admin,["x",{"_placeholder":true,"num":0}]')


def test_python_socketio_1574_a_binary_header_while_connecting_is_fault_of() -> None:
    session = SocketSession()
    session.receive("0")
    with pytest.raises(RemoteError, match="unexpected-packet"):
        session.receive('51-["x",{"_placeholder":true,"num":0}]')


@pytest.mark.parametrize("count", ["11", "999999999", "1000000000", "9999999999"])
def test_cve_2026_33151_more_than_ten_attachments_are_refused_at_the_header(count: str) -> None:
    decoder = Decoder()
    assert fault_of(decoder, f'5{count}-["x"]') is Fault.TOO_MANY_ATTACHMENTS
    assert fault_of(decoder, b"x") is Fault.UNEXPECTED_BINARY


@pytest.mark.parametrize("count", ["", "-1", "1.5", "1e1", "x", "0x1", " 1", "9" * 11, "9" * 100_000, "\u0661"])
def test_cve_2026_33151_a_count_that_is_no_number_is_fault_of(count: str) -> None:
    decoder = Decoder()
    assert fault_of(decoder, f'5{count}-["x"]') is Fault.BAD_ATTACHMENTS
    assert fault_of(decoder, f'6{count}-1["x"]') is Fault.BAD_ATTACHMENTS
    assert fault_of(decoder, f"5{count}") is Fault.BAD_ATTACHMENTS


def test_cve_2026_33151_the_count_of_attachments_may_be_limited_further() -> None:
    assert fault_of(Decoder(Limits(max_attachments=0)), '51-["x"]') is Fault.TOO_MANY_ATTACHMENTS


def test_ten_attachments_are_accepted() -> None:
    decoder = Decoder()
    places = ",".join(PLACEHOLDER % num for num in range(10))
    assert decoder.add(f'510-["x",{places}]') is None
    for num in range(9):
        assert decoder.add(bytes([num])) is None
    packet = decoder.add(bytes([9]))
    assert packet is not None
    assert packet.data == ["x", *(bytes([num]) for num in range(10))]


def test_cve_2026_69185_a_header_without_attachments_is_complete() -> None:
    decoder = Decoder()
    packet = decoder.add('50-["x"]')
    assert packet is not None
    assert packet.data == ["x"]
    assert decoder.add('2["y"]') is not None
    assert fault_of(decoder, b"surplus") is Fault.UNEXPECTED_BINARY


def test_cve_2026_69185_a_placeholder_without_attachments_is_fault_of() -> None:
    assert fault_of(Decoder(), f'50-["x",{PLACEHOLDER % 0}]') is Fault.BAD_ATTACHMENTS


def test_missing_attachments_are_detected_at_the_next_text() -> None:
    decoder = Decoder()
    decoder.add(f'52-["x",{PLACEHOLDER % 0},{PLACEHOLDER % 1}]')
    decoder.add(b"one")
    assert fault_of(decoder, '2["y"]') is Fault.UNEXPECTED_TEXT
    assert fault_of(decoder, f'51-["x",{PLACEHOLDER % 0}]') is Fault.UNEXPECTED_TEXT


def test_surplus_attachments_are_fault_of() -> None:
    decoder = Decoder()
    decoder.add(f'51-["x",{PLACEHOLDER % 0}]')
    decoder.add(b"one")
    assert fault_of(decoder, b"two") is Fault.UNEXPECTED_BINARY


@pytest.mark.parametrize(
    "num",
    [
        "-1",
        '"x"',
        '"0"',
        "1e9",
        "1000000000",
        "true",
        "false",
        "null",
        "0.5",
        "0.0",
        "1",
        "{}",
        "[0]",
        '"__proto__"',
        "-0.0",
    ],
)
def test_cve_2022_2421_a_placeholder_number_is_an_index_of_an_attachment(num: str) -> None:
    decoder = Decoder()
    assert fault_of(decoder, f'51-["x",{PLACEHOLDER % num}]') is Fault.BAD_ATTACHMENTS
    assert fault_of(decoder, b"x") is Fault.UNEXPECTED_BINARY


@pytest.mark.parametrize(
    "header", ['51-["x",{"_placeholder":true}]', '51-["x"]', f'52-["x",{PLACEHOLDER % 0}]', "61-1[]"]
)
def test_cve_2022_2421_every_attachment_needs_a_place(header: str) -> None:
    assert fault_of(Decoder(), header) is Fault.BAD_ATTACHMENTS


def test_two_placeholders_for_one_attachment_are_rejected() -> None:
    assert fault_of(Decoder(), f'51-["x",{PLACEHOLDER % 0},{PLACEHOLDER % 0}]') is Fault.BAD_ATTACHMENTS
    assert fault_of(Decoder(), f'52-["x",{PLACEHOLDER % 0},{PLACEHOLDER % 0}]') is Fault.BAD_ATTACHMENTS


@pytest.mark.parametrize("name", ["{}", "[]", "null", "true", "false", '{"toString":1}', PLACEHOLDER % 0])
def test_cve_2023_32695_an_event_name_is_text_or_a_number(name: str) -> None:
    assert fault_of(Decoder(), f"2[{name}]") is Fault.BAD_EVENT_NAME
    assert fault_of(Decoder(), f"51-[{name}]") is Fault.BAD_EVENT_NAME


@pytest.mark.parametrize("name", sorted(RESERVED_EVENTS))
def test_cve_2023_32695_a_reserved_name_is_fault_of(name: str) -> None:
    assert fault_of(Decoder(), f'2["{name}"]') is Fault.BAD_EVENT_NAME
    assert fault_of(Decoder(), f'21["{name}"]') is Fault.BAD_EVENT_NAME
    assert fault_of(Decoder(), f'51-["{name}",{PLACEHOLDER % 0}]') is Fault.BAD_EVENT_NAME


def test_reserved_names_are_those_of_node() -> None:
    assert sorted(RESERVED_EVENTS) == [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    ]


@pytest.mark.parametrize("name", ["__proto__", "constructor", "hasOwnProperty", "__class__", "__init__"])
def test_a_name_with_a_meaning_in_a_language_is_an_ordinary_name(name: str) -> None:
    assert connected().receive(f'2["{name}"]') == EventReceived("/", name, [], None)


def test_the_attachments_of_an_incomplete_packet_are_limited() -> None:
    session = connected()
    places = ",".join(PLACEHOLDER % num for num in range(10))
    session.receive(f'510-["x",{places}]')
    attachment = bytes(DEFAULT_LIMITS.max_payload_bytes)
    fitting = DEFAULT_LIMITS.max_reassembly_bytes // len(attachment)
    for _ in range(fitting):
        session.receive(attachment)
    with pytest.raises(RemoteError, match="too-large"):
        session.receive(attachment)


@pytest.fixture
def frozen_heap() -> Iterator[None]:
    """Keeps objects of other tests out of garbage collections, which would count as time of the parser."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(
    "text",
    [
        "2" + "[" * 999_999,
        '2["x",' + "[" * 499_990 + "]" * 499_990 + "]",
        '2["x",' + ",".join(["[]"] * 333_000) + "]",
        '2["x",' + "1," * 499_990 + "1]",
        '2["x",' + "9" * 999_000 + "]",
        '2["x",0.' + "9" * 999_000 + "]",
        '510-["x",' + ",".join(["{}"] * 333_000) + "]",
        "2/" + "a" * 999_998,
        "2" + "9" * 999_999,
        "5" + "9" * 999_999,
        '2["' + "\\ud800" * 166_000 + '"]',
        "2" + "{" * 999_999,
    ],
    ids=lambda text: text[:12],
)
def test_cve_2024_27454_a_megabyte_of_hostile_input_takes_bounded_time(text: str, frozen_heap: None) -> None:
    started = time.thread_time()
    with suppress(RemoteError):
        Decoder().add(text)
    # CPU time of the thread, so that the load of the machine does not count. Slow CI machines need more than 100 ms.
    assert time.thread_time() - started < 0.5


def test_input_of_the_peer_is_escaped_in_error_messages() -> None:
    for text in ("\r\nFAKE", "2\x1b[31m", '2["\x1b[2J"]', "0/\r\n,[]", "2/x\ud800,["):
        with pytest.raises(RemoteError) as caught:
            connected().receive(text)
        assert str(caught.value).isprintable()
