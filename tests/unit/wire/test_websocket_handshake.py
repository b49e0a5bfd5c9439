"""The handshake accepts what the ``websockets`` library accepts, with the same key, and refuses the rest."""

from __future__ import annotations

from http import HTTPStatus

import pytest
from hypothesis import given as generated
from hypothesis import settings
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from roomcast.wire.websocket_handshake import HandshakeInvalid, accept

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
