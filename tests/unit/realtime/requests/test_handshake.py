from __future__ import annotations

from dataclasses import replace

import pytest

from roomcast.realtime.requests.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName


@pytest.fixture
def handshake() -> Handshake:
    return Handshake(
        headers=Headers([(b"Host", b"x:1"), (b"accept", b"a"), (b"Accept", b"b"), (b"x-odd", b"caf\xe9: 1")]),
        address="192.0.2.1",
        query_string="EIO=4&name=%C3%BC&empty=",
        time=1.5,
        transport=TransportName.POLLING,
        path="/socket.io/",
        secure=True,
        auth={"token": "secret"},
    )


def test_headers_are_found_in_any_case_and_repeats_are_joined(handshake: Handshake) -> None:
    headers = handshake.headers
    assert headers["HOST"] == "x:1"
    assert headers["accept"] == "a, b"
    assert headers.all("accept") == ["a", "b"]
    assert headers["x-odd"] == "café: 1"
    assert "cookie" not in headers
    assert sorted(headers) == ["accept", "host", "x-odd"]
    assert len(headers) == 3
    assert len(Headers([])) == 0


def test_the_query_is_decoded(handshake: Handshake) -> None:
    assert handshake.query == {"EIO": "4", "name": "ü", "empty": ""}


def test_reprs_contain_no_secrets(handshake: Handshake) -> None:
    assert "secret" not in repr(replace(handshake, auth="secret"))
    assert "café" not in repr(handshake.headers)
