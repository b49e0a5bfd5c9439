"""Coverage-guided fuzzing of one decoder: ``python fuzz_decoder.py NAME -runs=100000``; without a name, lists them.

Ends with an error, and the input, at the first input that raises anything but an error of the protocol, or that takes
more than 100 ms of processor time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris
import msgpack

with atheris.instrument_imports(include=["roomcast"]):
    from roomcast.realtime.adapters.redis.errors import MalformedMessage
    from roomcast.realtime.adapters.redis.messages import protocol, stream_entries
    from roomcast.realtime.adapters.redis.messages.cluster_messages import ClusterMessage
    from roomcast.wire import (
        engineio,
        engineio_http,
        socketio,
        socketio_msgpack,
        socketio_session,
        strict_json,
        websocket_handshake,
    )
    from roomcast.wire.engineio_refusals import RequestRefused
    from roomcast.wire.errors import RemoteError
    from roomcast.wire.limits import DEFAULT_LIMITS

LIMIT_S = 0.1
PACKETS = [
    b'0\xff2["x"]\xff21["x",{"a":[1,2.5,null]}]',
    b'0/admin,{"token":"t"}\xff2/admin,3["y"]\xff1/admin,',
    b'52-["x",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]\xffb12\xffb34',
    b'31[]\xff61-1[{"_placeholder":true,"num":0}]\xffb1',
]
HEAD = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def messages(data: bytes) -> list[str | bytes]:
    """The messages of a client: 0xFF ends one; a binary one begins with ``b``."""
    parts = data.split(b"\xff")
    return [part[1:] if part.startswith(b"b") else part.decode("utf-8", "replace") for part in parts]


def decoder(data: bytes) -> None:
    decoding = socketio.Decoder()
    for message in messages(data):
        decoding.add(message)


def session(data: bytes) -> None:
    receiving = socketio_session.SocketSession()
    receiving.receive("0")
    receiving.accept("/", "sid")
    for message in messages(data):
        receiving.receive(message)
        if receiving.state_of("/admin") is socketio_session.NamespaceState.CONNECTING:
            receiving.accept("/admin", "sid")


def plain_event(data: bytes) -> None:
    socketio.decode_plain_event(data.decode("utf-8", "replace"), strict_json.reader_for(DEFAULT_LIMITS))


def cluster_message(data: bytes) -> None:
    message = ClusterMessage.decode(data)
    if message is not None:
        message.content()


def payload(data: bytes) -> None:
    list(engineio.decode_payload(data))


#: The function, and examples of its input, from which the fuzzer derives others.
#: The data of the sharded and the streams adapter.
CLUSTER_MESSAGE = {
    "uid": "you",
    "nsp": "/",
    "type": 3,
    "data": {
        "packet": {"type": 2, "data": ["x", b"1"], "nsp": "/"},
        "opts": {"rooms": ["a"], "except": [], "flags": {}},
    },
}
DECODERS: dict[str, tuple[Callable[[bytes], object], list[bytes]]] = {
    "socketio-packets": (decoder, PACKETS),
    "socketio-session": (session, PACKETS),
    "socketio-plain-event": (plain_event, [b'42["x",1,{"a":[null]}]', b'4217["x"]']),
    "engineio-payload": (payload, [b"4hello\x1ebAQID\x1e2probe", b"1", b"4\xe2\x82\xac"]),
    "engineio-query": (
        engineio_http.parse_query,
        [b"EIO=4&transport=polling&t=x&sid=abc%20", b"EIO=4&transport=websocket"],
    ),
    "websocket-head": (websocket_handshake.read_plain_head, [HEAD]),
    "socketio-msgpack": (
        lambda data: socketio_msgpack.decode_packet(data, DEFAULT_LIMITS),
        [
            msgpack.packb({"type": 0, "nsp": "/admin", "data": {"token": "t"}}),
            msgpack.packb({"type": 2, "nsp": "/", "data": ["x", 1.5, b"1", [None, True], "y" * 40], "id": 3}),
        ],
    ),
    "redis-cluster-message": (
        cluster_message,
        [
            msgpack.packb(CLUSTER_MESSAGE),
            b'{"uid":"a","nsp":"/","type":7,"data":{"requestId":"b","opts":{"rooms":[],"except":[]}}}',
            b'{"uid":"a","nsp":"/","type":8,"data":{"requestId":"b","sockets":[{"id":"c","rooms":[],"data":{}}]}}',
        ],
    ),
    "redis-stream-session": (
        stream_entries.decode_session,
        [stream_entries.encode_session({"sid": "a", "pid": "b", "rooms": ["c"], "data": {}})],
    ),
    "redis-broadcast": (
        lambda data: protocol.decode_broadcast("/", "me", data),
        [
            msgpack.packb(
                ["you", {"type": 2, "data": ["x", 1], "nsp": "/"}, {"rooms": ["a"], "except": [], "flags": {}}]
            ),
            msgpack.packb(["you", {"type": 2, "data": ["x", b"1"]}, {"rooms": [], "flags": {"volatile": True}}]),
        ],
    ),
    "redis-request": (
        lambda data: protocol.decode_request("/", data),
        [
            b'{"uid":"a","requestId":"b","type":0,"rooms":["c"]}',
            b'{"uid":"a","type":2,"opts":{"rooms":["c"],"except":[]},"rooms":["d"]}',
            b'{"uid":"a","requestId":"b","type":6,"data":["e",1]}',
            msgpack.packb({"uid": "a", "requestId": "b", "type": 7, "packet": {"data": ["e"]}, "opts": {"rooms": []}}),
        ],
    ),
}
REFUSED = (RemoteError, RequestRefused, MalformedMessage)


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] not in DECODERS:
        sys.exit(f"usage: fuzz_decoder.py {'|'.join(DECODERS)} [-runs=N] [-max_len=BYTES] [-seed=N]")
    decode, examples = DECODERS[sys.argv.pop(1)]
    corpus = Path(tempfile.mkdtemp())
    for number, example in enumerate(examples):
        (corpus / str(number)).write_bytes(example)

    def test(data: bytes) -> None:
        began = time.process_time()
        with suppress(*REFUSED):
            decode(data)
        if time.process_time() - began > LIMIT_S:
            raise TimeoutError(f"{len(data)} bytes took {time.process_time() - began:.3f} s")

    atheris.Setup([*sys.argv, str(corpus)], test)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
