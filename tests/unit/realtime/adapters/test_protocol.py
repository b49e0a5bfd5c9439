"""Bytes and channels of the classic protocol; `tests/integration/adapters` compares them with Node's."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from roomcast.realtime import EncodedEvent
from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.protocol import (
    AcknowledgedBroadcast,
    FetchQuery,
    NamespaceChannels,
    RemoteCommand,
    RoomsQuery,
    ServerSideEmit,
    SocketsQuery,
    decode_broadcast,
    decode_request,
    encode_command,
    encode_json,
    room_of,
    servers_of,
)
from roomcast.realtime.cluster.commands import Broadcast, Command, Disconnect, Join, Leave, Selection
from roomcast.wire.errors import EncodeError

EVENT = EncodedEvent.from_args("e", {"b": b"1"})
ALL = Selection("/", None)
PACKET: dict[str, Any] = {"type": 2, "data": ["e", 1], "nsp": "/"}


def test_the_channels_of_a_namespace_and_the_escaping_of_its_pattern() -> None:
    assert NamespaceChannels.of("socket.io", "/", "abcdef") == NamespaceChannels(
        "/",
        "socket.io#/#",
        "socket.io#/#*",
        "socket.io-request#/#",
        "socket.io-response#/#",
        "socket.io-response#/#abcdef#",
    )
    assert NamespaceChannels.of("k", "/[a]*?\\", "u").pattern == "k#/\\[a\\]\\*\\?\\\\#*"


@pytest.mark.parametrize(
    ("selection", "channel"),
    [
        (ALL, "socket.io#/#"),
        (Selection("/x", ("r",)), "socket.io#/x#r#"),
        (Selection("/x", ("r", "r")), "socket.io#/x#r#"),
        (Selection("/x", ("r", "s"), ("t",)), "socket.io#/x#"),
    ],
)
def test_a_broadcast_to_exactly_one_room_goes_to_the_channel_of_the_room(selection: Selection, channel: str) -> None:
    encoded = encode_command("socket.io", "abcdef", Broadcast(selection, EVENT, volatile=True))
    assert encoded is not None
    assert encoded[0] == channel
    assert msgpack.unpackb(encoded[1]) == [
        "abcdef",
        {"type": 2, "data": ["e", {"b": b"1"}], "nsp": selection.namespace},
        {
            "rooms": list(dict.fromkeys(selection.rooms or ())),
            "except": list(selection.skip),
            "flags": {"volatile": True},
        },
    ]


def test_the_room_of_a_channel() -> None:
    channels = NamespaceChannels.of("k", "/x", "u")
    assert room_of(channels, "k#/x#") is None
    assert room_of(channels, "k#/x#a#b#") == "a#b"


def test_an_event_made_of_json_travels_decoded() -> None:
    encoded = encode_command("k", "u", Broadcast(ALL, EncodedEvent.from_json(b'["e",{"a":[1]}]')))
    assert encoded is not None
    assert msgpack.unpackb(encoded[1])[1]["data"] == ["e", {"a": [1]}]
    with pytest.raises(EncodeError):
        encode_command("k", "u", Broadcast(ALL, EncodedEvent.from_json(b"no json")))


@pytest.mark.parametrize("uid", ["abcdef", None])
@pytest.mark.parametrize(
    "command",
    [
        Join(Selection("/", ("a",), ("b",)), ("r", "s")),
        Leave(ALL, ("r",)),
        Disconnect(Selection("/", ("sid",)), close=True),
    ],
)
def test_a_command_comes_back_as_it_was_sent(uid: str | None, command: Command) -> None:
    encoded = encode_command("k", uid, command)
    assert encoded is not None
    assert encoded[0] == "k-request#/#"
    assert decode_request("/", encoded[1]) == RemoteCommand(uid, command)
    assert ("uid" in json.loads(encoded[1])) == (uid is not None)


@pytest.mark.parametrize("command", [Broadcast(Selection("/", ()), EVENT), Leave(Selection("/", ()), ("r",))])
def test_an_empty_selection_is_not_sent_since_on_the_wire_it_would_select_every_socket(command: Command) -> None:
    assert encode_command("k", "u", command) is None


def test_a_broadcast_is_decoded_as_leniently_as_node_does() -> None:
    data = msgpack.packb(["emitter", {"type": 5, "data": ["e", b"1"]}, {"rooms": ["r", 7, 1.5], "flags": None}])
    got = decode_broadcast("/", "u", data)
    assert got is not None
    assert got.to == Selection("/", ("r", "7", "1.5"))
    assert not got.volatile
    assert list(got.message.args) == ["e", b"1"]


def test_own_broadcasts_and_those_of_other_namespaces_are_ignored() -> None:
    assert decode_broadcast("/", "u", msgpack.packb(["u", PACKET, {}])) is None
    assert decode_broadcast("/x", "u", msgpack.packb(["v", PACKET, {}])) is None


@pytest.mark.parametrize(
    "message",
    [
        None,
        {},
        ["u"],
        ["v", None, {}],
        ["v", PACKET, None],
        ["v", PACKET, {"rooms": "r"}],
        ["v", PACKET, {"rooms": [None]}],
        ["v", PACKET | {"type": 1}, {}],
        ["v", PACKET | {"type": [2]}, {}],
        ["v", PACKET | {"type": True}, {}],
        ["v", PACKET | {"data": []}, {}],
        ["v", PACKET | {"data": [[]]}, {}],
        ["v", PACKET | {"data": ["disconnect"]}, {}],
        ["v", PACKET | {"data": {"0": "e"}}, {}],
        ["v", PACKET | {"data": ["e", {"_placeholder": True, "num": 0}, b"1"]}, {}],
    ],
    ids=repr,
)
def test_any_other_message_is_a_malformed_broadcast(message: Any) -> None:
    with pytest.raises(MalformedMessage):
        decode_broadcast("/", "u", msgpack.packb(message))


OPTS = {"rooms": ["r"], "except": ["x"]}
SELECTION = Selection("/", ("r",), ("x",))


@pytest.mark.parametrize("packed", [False, True], ids=["JSON", "msgpack"])
@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"uid": "v", "requestId": "q", "type": 0, "rooms": ["r"]}, SocketsQuery("q", "v", ("r",))),
        ({"uid": "v", "requestId": "q", "type": 0, "rooms": []}, SocketsQuery("q", "v", None)),
        ({"uid": "v", "requestId": "q", "type": 1}, RoomsQuery("q", "v")),
        ({"uid": "v", "requestId": "q", "type": 5, "opts": OPTS}, FetchQuery("q", "v", SELECTION)),
        ({"uid": "v", "type": 6, "data": ["e", 1]}, ServerSideEmit(None, "v", ("e", 1))),
        ({"uid": "v", "requestId": "q", "type": 6, "data": []}, ServerSideEmit("q", "v", ())),
        (
            {
                "uid": "v",
                "requestId": "q",
                "type": 7,
                "packet": PACKET,
                "opts": OPTS | {"flags": {"timeout": 1500}},
            },
            AcknowledgedBroadcast("q", "v", SELECTION, ("e", 1), 1.5),
        ),
        ({"type": 8, "requestId": "q"}, None),
        ({"type": 10, "requestId": "q"}, None),
        ({"type": "5", "requestId": "q"}, None),
        ({}, None),
    ],
)
def test_requests(request_: dict[str, Any], expected: Any, packed: bool) -> None:
    data = msgpack.packb(request_) if packed else json.dumps(request_).encode()
    assert decode_request("/", data) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"{",
        b"{\xff}",
        b"[]",
        b'{"type":0}',
        b'{"type":5,"requestId":"q"}',
        b'{"type":5,"requestId":5,"opts":{}}',
        b'{"type":2,"opts":[]}',
        b'{"type":2}',
        b'{"type":2,"sid":"s","room":"r"}',
        b'{"type":6,"data":{}}',
        b'{"type":7,"requestId":"q","opts":{}}',
        b'{"type":7,"requestId":"q","opts":{},"packet":{}}',
    ],
    ids=repr,
)
def test_any_other_message_is_a_malformed_request(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        decode_request("/", data)


def test_a_response_in_json_is_as_javascript_writes_it_and_cannot_hold_bytes() -> None:
    assert encode_json({"requestId": "q", "sockets": ["ü"]}) == '{"requestId":"q","sockets":["ü"]}'.encode()
    with pytest.raises(EncodeError):
        encode_json({"data": b""})


def test_the_servers_of_a_namespace_are_those_with_a_channel_of_their_own() -> None:
    channels = [
        "socket.io-response#/#",
        "socket.io-request#/#",
        "socket.io-response#/#abcdef#",
        "socket.io-response#/x#ghijkl#",
        "socket.io-response#/x#",
        # The namespace "/#mnopqr".
        "socket.io-request#/#mnopqr#",
        "socket.io-response#/#mnopqr#",
        "socket.io-response#/#mnopqr#stuvwx#",
        "socket.io-response#/#",
        "other-response#/#yz0123#",
    ]
    assert servers_of("socket.io", "/", channels) == {"abcdef"}
    assert servers_of("socket.io", "/x", channels) == {"ghijkl"}
    assert servers_of("socket.io", "/#mnopqr", channels) == {"stuvwx"}
