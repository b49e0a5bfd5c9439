from __future__ import annotations

import pytest

from roomcast.realtime import EncodedEvent
from roomcast.realtime.fanout.message import NOOP, PING
from roomcast.realtime.transports.encoded_websocket import negotiate
from roomcast.wire.limits import DEFAULT_LIMITS
from roomcast.wire.msgpack import unpack
from roomcast.wire.websocket_frames import binary_frame, compressed_frame, text_frame

NO_TAKEOVER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    ("offers", "answer"),
    [
        ("permessage-deflate; client_max_window_bits", NO_TAKEOVER),
        ("permessage-deflate", NO_TAKEOVER),
        ("x-webkit-deflate-frame, permessage-deflate", NO_TAKEOVER),
        ("permessage-deflate; server_max_window_bits=15", f"{NO_TAKEOVER}; server_max_window_bits=15"),
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", NO_TAKEOVER),
        ("permessage-deflate; server_max_window_bits=10", None),
        ("permessage-deflate; unknown=1", None),
        ("permessage-deflate; client_max_window_bits=99", None),
        ("x-other", None),
        (";;;,", None),
    ],
)
def test_the_first_usable_offer_is_accepted_without_context_takeover(offers: str, answer: str | None) -> None:
    found = negotiate(offers)
    assert (None if found is None else found[0]) == answer


def test_only_what_reaches_the_threshold_is_compressed_and_only_once() -> None:
    message = EncodedEvent.from_args("e", "x" * 2_000, b"y" * 100, b"z" * 3_000).message("/")
    text, small, large = message.text, *message.attachments
    expected = compressed_frame(text, text=True) + binary_frame(small) + compressed_frame(large, text=False)
    assert message.compressed_frames(1024) == expected
    assert message.compressed_frames(1024) is message.compressed_frames(1024)
    assert len(expected) < 300
    huge = EncodedEvent.from_args("e", "x" * 200_000).message("/")
    assert huge.compressed_frames(1024) == text_frame(huge.text), "its compression would hold up the event loop"


def test_a_message_is_converted_to_msgpack_once_and_other_packets_are_not() -> None:
    message = EncodedEvent.from_args("e", {"a": [b"\x00", None, 1.5]}).message("/x")
    packed = message.packed
    assert packed is message.packed
    assert packed.text == b""
    assert unpack(packed.attachments[0], DEFAULT_LIMITS) == {
        "type": 2,
        "nsp": "/x",
        "data": ["e", {"a": [b"\x00", None, 1.5]}],
    }
    assert packed.frames == binary_frame(packed.attachments[0])
    assert packed.payload.startswith(b"b")
    assert PING.packed is PING


@pytest.mark.parametrize(
    "event",
    [
        EncodedEvent.from_args("e", 10**400),
        EncodedEvent.from_json(b'["e",' + b"[" * 2_000 + b"]" * 2_000 + b"]"),
        EncodedEvent.from_json(b'["e",not JSON]'),
    ],
    ids=["a number", "nested too deep", "not JSON"],
)
def test_a_message_that_msgpack_cannot_hold_is_replaced_so_that_the_others_of_its_write_are_sent(
    event: EncodedEvent, caplog: pytest.LogCaptureFixture
) -> None:
    message = event.message("/")
    assert message.packed is message.packed is NOOP
    assert [record.levelname for record in caplog.records] == ["ERROR"]
