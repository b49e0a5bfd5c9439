from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from roomcast.realtime.core.handshake import Environ, Handshake, Headers, environ_of
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


def test_the_environ_has_the_names_of_pep_3333(handshake: Handshake) -> None:
    environ = environ_of(handshake)
    assert environ["HTTP_HOST"] == "x:1"
    assert environ["HTTP_ACCEPT"] == "a, b"
    assert environ["QUERY_STRING"] == handshake.query_string
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["wsgi.url_scheme"] == "https"


def test_the_environ_of_a_connect_handler_is_a_mapping_like_the_dictionary(handshake: Handshake) -> None:
    environ = Environ(handshake)
    assert environ.get("HTTP_HOST") == "x:1"
    assert "HTTP_ACCEPT" in environ
    assert "HTTP_NONE" not in environ
    assert dict(environ) == {**environ} == environ_of(handshake)
    environ["app.user"] = "u"
    assert environ["app.user"] == "u"
    assert environ.copy() == environ


def test_the_environ_of_a_connect_handler_is_copied_and_merged_like_a_dictionary(handshake: Handshake) -> None:
    expected = environ_of(handshake)
    assert copy.copy(Environ(handshake)) == Environ(handshake).copy() == expected
    assert Environ(handshake) | {"app.user": "u"} == expected | {"app.user": "u"}
    assert {"app.user": "u"} | Environ(handshake) == {"app.user": "u"} | expected
