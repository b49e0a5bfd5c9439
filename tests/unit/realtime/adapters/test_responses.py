from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from roomcast.realtime.adapters.redis.errors import MalformedMessage
from roomcast.realtime.adapters.redis.messages.responses import Responder, Response, encode_socket, new_request_id
from roomcast.realtime.cluster.commands import SocketDescription
from roomcast.realtime.requests.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName

NODE = Responder.to("abcdef", "node01", "me")
OURS = Responder.to(new_request_id("peer01"), "peer01", "me")
HANDSHAKE = Handshake(
    headers=Headers([(b"Host", b"x"), (b"Cookie", b"a=1"), (b"Cookie", b"b=\xfc")]),
    address="::1",
    query_string="EIO=4&transport=websocket",
    time=1_700_000_000.123,
    transport=TransportName.WEBSOCKET,
    path="/socket.io/",
    secure=True,
    auth={"token": "t"},
)
SOCKET = SocketDescription("s1", HANDSHAKE, frozenset({"r", "ü"}), {"user": ["ann"]})


def test_an_acknowledgement_without_argument_has_no_packet() -> None:
    assert msgpack.unpackb(NODE.encode_ack([])) == {"type": 9, "requestId": "abcdef"}
    assert msgpack.unpackb(NODE.encode_ack([b"1", 2])) == {"type": 9, "requestId": "abcdef", "packet": b"1"}


@pytest.mark.parametrize("args", [[], [None], ["a"], [{"a": 1}, b"b", None]])
def test_a_server_of_this_package_gets_every_argument_of_an_acknowledgement_and_node_the_first(args: list[Any]) -> None:
    response = Response.decode(OURS.encode_ack(args))
    assert response is not None
    assert response.args == args
    response = Response.decode(NODE.encode_ack(args))
    assert response is not None
    assert response.args == args[:1]


def test_only_a_server_of_this_package_gets_the_name_of_the_server() -> None:
    assert json.loads(NODE.encode(rooms=[])) == {"requestId": "abcdef", "rooms": []}
    assert json.loads(OURS.encode(rooms=[])) == {"requestId": OURS.request_id, "rooms": [], "uid": "me"}
    assert NODE.encode_gone() is None
    assert json.loads(OURS.encode_gone() or "") == {"type": 10, "requestId": OURS.request_id, "gone": 1, "uid": "me"}
    # An emitter has no uid, and another server's id does not begin with that of the sender.
    assert Responder.to("peer01-x", None, "me").uid is None
    assert Responder.to("peer01-x", "peer02", "me").uid is None


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_the_parts_of_an_answer_hold_every_socket_and_the_last_one_says_so(count: int) -> None:
    sockets = [json.dumps({"id": number}).encode() for number in range(count)]
    parts = [json.loads(part) for part in OURS.encode_sockets(sockets, 20)]
    assert [socket["id"] for part in parts for socket in part["sockets"]] == list(range(count))
    assert [part["more"] for part in parts] == [True] * (len(parts) - 1) + [False]
    assert [part["part"] for part in parts] == list(range(len(parts)))
    assert all(part["uid"] == "me" for part in parts)
    (whole,) = NODE.encode_sockets(sockets, 20)
    assert json.loads(whole) == {"requestId": "abcdef", "sockets": [{"id": number} for number in range(count)]}


def test_a_socket_is_read_as_it_was_described() -> None:
    (data,) = OURS.encode_sockets([encode_socket(SOCKET)], 10_000)
    response = Response.decode(data)
    assert response is not None
    assert (response.server, response.more) == ("me", False)
    (read,) = response.sockets
    assert (read.sid, read.rooms, read.data) == (SOCKET.sid, SOCKET.rooms, SOCKET.data)
    for name in ("address", "query_string", "transport", "path", "secure", "auth"):
        assert getattr(read.handshake, name) == getattr(HANDSHAKE, name), name
    assert dict(read.handshake.headers) == dict(HANDSHAKE.headers)
    assert read.handshake.time == pytest.approx(HANDSHAKE.time, abs=0.001)


@pytest.mark.parametrize(
    "handshake",
    [
        {},
        {"headers": 5, "url": 5, "issued": "now", "query": 5, "auth": [], "address": 5, "secure": 1},
        {
            "headers": {"a": ["1", 5, "2"], "b": {"c": 1}, "d": "x\nhost: y", "ü": "ü", "漢": "漢"},
            "query": {"transport": 5},
        },
    ],
)
def test_a_handshake_of_any_shape_is_read(handshake: dict[str, Any]) -> None:
    data = json.dumps({"requestId": "q", "sockets": [{"id": "s", "handshake": handshake, "rooms": []}]}).encode()
    response = Response.decode(data)
    assert response is not None
    (read,) = response.sockets
    assert read.handshake.transport is TransportName.POLLING
    assert set(read.handshake.headers) <= {"a", "ü", "?"}


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xc0", b'{"requestId":5}', b'{"requestId":"q","uid":5}'])
def test_what_is_no_response_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        Response.decode(data)


def test_a_response_without_a_request_is_ignored() -> None:
    assert Response.decode(b"{}") is None
