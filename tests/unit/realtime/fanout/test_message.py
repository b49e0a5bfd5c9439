from __future__ import annotations

import pytest

from roomcast.realtime.fanout.message import Batch, EncodedEvent, OutgoingMessage
from roomcast.wire.errors import EncodeError
from roomcast.wire.websocket_frames import binary_frame, text_frame


def test_an_event_of_json_is_framed_without_being_parsed() -> None:
    event = EncodedEvent.from_json(b'["new-msg",{not even json}]')
    assert event.message("/").text == b'42["new-msg",{not even json}]'
    assert event.message("/room").text == b'42/room,["new-msg",{not even json}]'


def test_an_event_is_encoded_and_framed_once_for_each_namespace() -> None:
    event = EncodedEvent.from_args("x", 1)
    assert event.message("/") is event.message("/")
    assert event.message("/").frames is event.message("/").frames
    assert event.message("/a") is not event.message("/b")


def test_the_arguments_of_an_event_are_available_in_both_forms() -> None:
    assert EncodedEvent.from_args("x", 1, [2]).args == ("x", 1, [2])
    assert EncodedEvent.from_json(b'["x",1,[2]]').args == ["x", 1, [2]]


def test_bytes_anywhere_become_attachments_on_both_transports() -> None:
    message = EncodedEvent.from_args("f", {"a": [b"\x00\xff"]}).message("/")
    text = b'451-["f",{"a":[{"_placeholder":true,"num":0}]}]'
    assert message.frames == text_frame(text) + binary_frame(b"\x00\xff")
    assert message.payload == text + b"\x1ebAP8="
    assert message.size_bytes == len(text) + 2


def test_arguments_that_cannot_be_encoded_fail_when_the_event_is_created() -> None:
    with pytest.raises(EncodeError):
        EncodedEvent.from_args("x", object())
    with pytest.raises(EncodeError):
        EncodedEvent.from_args("x", float("nan"))


def test_a_batch_of_one_message_reuses_its_frames() -> None:
    message = OutgoingMessage(b"2")
    assert Batch([message], [False]).frames is message.frames


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_the_length_field_of_a_frame_matches_its_size(size: int) -> None:
    header = 2 if size < 126 else 4 if size < 65536 else 10
    assert len(OutgoingMessage(b"x" * size).frames) == header + size
