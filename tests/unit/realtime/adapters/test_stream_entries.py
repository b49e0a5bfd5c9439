from __future__ import annotations

import base64
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.cluster_messages import ClusterMessage, MessageType, message_of
from roomcast.realtime.adapters.redis.messages.protocol import RemoteCommand
from roomcast.realtime.adapters.redis.messages.stream_entries import (
    decode_entry,
    decode_session,
    encode_entry,
    encode_session,
    format_id,
    parse_id,
)
from roomcast.realtime.cluster.commands import Broadcast, Command, Disconnect, Join, Leave, Selection
from roomcast.realtime.core.recovery.event_log import RoomHistory
from roomcast.realtime.core.recovery.ordered import decode_session as session_of
from roomcast.realtime.core.recovery.ordered import encode_session as fields_of
from roomcast.realtime.core.recovery.sessions import SavedSession
from roomcast.realtime.fanout.message import EncodedEvent

NAMES = st.lists(st.text(max_size=5), max_size=3, unique=True).map(tuple)
SELECTIONS = st.builds(Selection, st.just("/n"), st.one_of(st.none(), NAMES.filter(bool)), NAMES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
COMMANDS = st.one_of(
    st.builds(Join, SELECTIONS, NAMES),
    st.builds(Leave, SELECTIONS, NAMES),
    st.builds(Disconnect, SELECTIONS, st.booleans()),
    st.builds(
        Broadcast,
        SELECTIONS,
        st.lists(JSON, max_size=3).map(lambda args: EncodedEvent.from_args("e", *args)),
        st.booleans(),
    ),
)


def comparable(command: Command) -> Any:
    if isinstance(command, Broadcast):
        return command.to, list(command.message.args), command.volatile
    return command


@given(COMMANDS)
def test_a_command_survives_the_stream_and_the_sharded_channel(command: Command) -> None:
    message = message_of("u", command)
    assert message is not None
    entry = [part.encode(errors="surrogatepass") if isinstance(part, str) else part for part in encode_entry(message)]
    for decoded in (decode_entry(entry), ClusterMessage.decode(message.encode())):
        assert decoded is not None
        content = decoded.content()
        found = content.command if isinstance(content, RemoteCommand) else content
        assert isinstance(found, Broadcast | Join | Leave | Disconnect)
        assert comparable(found) == comparable(command)


def test_a_command_for_no_room_is_not_sent() -> None:
    assert message_of("u", Join(Selection("/", ()), ("r",))) is None


@given(st.lists(st.binary(max_size=20), max_size=8), st.binary(max_size=40))
def test_any_entry_is_a_message_or_malformed(fields: list[bytes], data: bytes) -> None:
    known = [b"uid", b"u", b"nsp", b"/", b"type", b"3", b"data", data]
    for entry in (fields, known, [*fields, *known]):
        try:
            message = decode_entry(entry)
            if message is not None:
                message.content()
        except MalformedMessage:
            pass


@given(st.binary(max_size=60), JSON)
def test_any_stored_session_is_a_session_or_malformed(data: bytes, value: Any) -> None:
    for stored in (
        data,
        base64.b64encode(data),
        base64.b64encode(msgpack.packb({"sid": "s", "pid": "p", "rooms": value})),
    ):
        try:
            fields = decode_session(stored)
        except MalformedMessage:
            continue
        session_of(fields, "/", "p")


@given(JSON, JSON)
def test_a_session_with_anything_of_this_package_in_it_is_read_or_refused(extra: Any, value: Any) -> None:
    fields = {"sid": "s", "pid": "p", "rooms": value, "data": {}, "roomcast": extra}
    session_of(fields, "/", "p")
    if isinstance(extra, dict):
        good: dict[str, Any] = {"nsp": "/", "session": {}, "start": [0, 0], "unknown": [0, 0], "ended": [1, 1]}
        session_of(fields | {"roomcast": good | {"joined": value, "left": value} | extra}, "/", "p")


def test_a_session_survives_its_storage_and_is_for_its_namespace_only() -> None:
    history = RoomHistory("s", (1, 0))
    history.join("r", (2, 0))
    history.join("left", (3, 0))
    history.leave("left", (4, 1))
    history.unknown = (1, 5)
    saved = SavedSession("/n", "p", "s", history, {"k": b"\x00"}, {"a": [1]}, (5, 0))
    fields = decode_session(encode_session(fields_of(saved)))
    assert session_of(fields, "/", "p") is None
    assert session_of(fields, "/n", "other") is None
    found = session_of(fields, "/n", "p")
    assert found is not None
    assert (found.sid, found.data, found.session, found.ended) == ("s", {"k": b"\x00"}, {"a": [1]}, (5, 0))
    assert (found.history.joined, list(found.history.left)) == (history.joined, list(history.left))
    assert (found.history.start, found.history.unknown) == ((1, 0), (1, 5))


def test_ids_are_offsets() -> None:
    assert parse_id(b"1732900000000-12") == (1_732_900_000_000, 12)
    assert format_id((1, 2)) == "1-2"


def test_a_message_of_a_newer_type_is_unknown() -> None:
    assert decode_entry([b"uid", b"u", b"nsp", b"/", b"type", b"77"]) is None
    with pytest.raises(MalformedMessage):
        ClusterMessage.of(MessageType.BROADCAST.value, {}, None, "/")
