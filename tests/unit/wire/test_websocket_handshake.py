"""The handshake accepts what the ``websockets`` library accepts, with the same key, and refuses the rest."""

from __future__ import annotations

import time
from http import HTTPStatus

import httptools
import pytest
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from roomcast.wire.websocket_handshake import HandshakeInvalid, accept, read_plain_head

VALUES = {
    "connection": ["Upgrade", "keep-alive, Upgrade", "upgrade", "keep-alive", "close"],
    "upgrade": ["websocket", "WebSocket", "h2c"],
    "sec-websocket-key": [
        "dGhlIHNhbXBsZSBub25jZQ==",
        "AAAAAAAAAAAAAAAAAAAAAA==",
        "AAAA",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "a b",
    ],
    "sec-websocket-version": ["13", "8", "13, 8"],
    "sec-websocket-extensions": ["permessage-deflate"],
    "sec-websocket-protocol": ["chat"],
}
HEADERS = st.tuples(
    *(
        st.lists(st.sampled_from(values), min_size=0, max_size=2).map(lambda v, n=name: [(n, x) for x in v])
        for name, values in VALUES.items()
    )
).map(lambda lists: [pair for pairs in lists for pair in pairs])
VALID = [(name, values[0]) for name, values in VALUES.items()]


@settings(max_examples=500, deadline=None)
@generated(method=st.sampled_from(["GET", "GET", "GET", "POST"]), headers=st.one_of(st.just(VALID), HEADERS))
def test_the_answer_is_that_of_the_library(method: str, headers: list[tuple[str, str]]) -> None:
    theirs = ServerProtocol().accept(Request(path="/", headers=Headers(headers), method=method))
    given = [(name.encode(), value.encode()) for name, value in headers]
    if theirs.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
        answer = f"sec-websocket-accept: {theirs.headers['sec-websocket-accept']}\r\n"
        assert answer.encode() in accept(method, given)
    else:
        with pytest.raises(HandshakeInvalid):
            accept(method, given)


def test_the_key_of_the_rfc_gets_its_answer() -> None:
    headers = [(name.encode(), value.encode()) for name, value in VALID]
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in accept("GET", headers)


class _Head:
    """What an HTTP parser finds in a head."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))


PLAIN = b"\r\n".join([b"GET /socket.io/?EIO=4 HTTP/1.1", *(f"{n}: {v}".encode() for n, v in VALID), b"", b""])


@settings(max_examples=1500, deadline=None)
@generated(
    edits=st.lists(
        st.tuples(
            st.integers(0, len(PLAIN)),
            st.integers(0, 3),
            st.sampled_from(
                [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b": ", b"\x00", b"\xe9", b"%", b"#"]
            )
            | st.binary(max_size=3),
        ),
        max_size=3,
    ),
    line=st.sampled_from(
        [b"", b"Content-Length: 1", b"Upgrade: websocket", b"Connection: close", b"x: y", b"Expect: 1"]
    ),
)
def test_a_plain_head_is_what_an_http_parser_finds(edits: list[tuple[int, int, bytes]], line: bytes) -> None:
    data = PLAIN[:-2] + (line and line + b"\r\n") + b"\r\n"
    for at, cut, put in edits:
        data = data[:at] + put + data[at + cut :]
    plain = read_plain_head(data)
    if not edits and line in {b"", b"x: y"}:
        assert plain is not None
    if plain is None:
        return
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    with pytest.raises(httptools.HttpParserUpgrade) as upgrade:
        parser.feed_data(data)
    assert upgrade.value.args == (len(data),)
    assert parser.get_method() == b"GET"
    assert plain == (head.url, head.headers)


def test_a_long_head_that_is_not_plain_takes_no_longer_than_others() -> None:
    began = time.thread_time()
    for data in (b"GET / HTTP/1.1\r\n" + b"a" * 2**20, PLAIN[:-2] + b"x: " + b"y " * 2**19 + b"\r\n", b"GET /" * 2**18):
        assert read_plain_head(data) is None
    assert time.thread_time() - began < 2
