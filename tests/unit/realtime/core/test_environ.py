from __future__ import annotations

import copy
from typing import Any

import pytest

from roomcast.realtime import Server
from roomcast.realtime.core.environ import Environ, environ_of, kept_scope
from roomcast.realtime.requests.handshake import Handshake, Headers
from roomcast.wire.engineio_http import TransportName


def opened(host: bytes = b"x:1", *, secure: bool = True) -> Handshake:
    return Handshake(
        headers=Headers([(b"Host", host), (b"accept", b"a"), (b"Accept", b"b"), (b"content-type", b"text/plain")]),
        address="192.0.2.1",
        query_string="EIO=4&name=%C3%BC&empty=",
        time=1.5,
        transport=TransportName.POLLING,
        path="/socket.io/",
        secure=secure,
    )


def test_the_environ_has_the_names_of_pep_3333() -> None:
    environ = environ_of(opened())
    assert environ["HTTP_HOST"] == "x:1"
    assert environ["HTTP_ACCEPT"] == "a, b"
    assert environ["CONTENT_TYPE"] == "text/plain"
    assert environ["QUERY_STRING"] == "EIO=4&name=%C3%BC&empty="
    assert environ["REMOTE_ADDR"] == "192.0.2.1"
    assert environ["SERVER_PROTOCOL"] == "HTTP/1.1"
    assert environ["wsgi.url_scheme"] == "https"


@pytest.mark.parametrize(
    ("host", "secure", "name", "port"),
    [
        (b"chat.example:8443", True, "chat.example", "8443"),
        (b"chat.example", True, "chat.example", "443"),
        (b"chat.example", False, "chat.example", "80"),
        (b"[::1]:3001", False, "[::1]", "3001"),
        (b"[::1]", False, "[::1]", "80"),
        (b"chat.example:x", False, "chat.example:x", "80"),
    ],
)
def test_the_server_is_the_one_that_the_client_has_asked_for(host: bytes, secure: bool, name: str, port: str) -> None:
    environ = environ_of(opened(host, secure=secure))
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)


def test_a_scope_is_made_from_the_handshake() -> None:
    scope = environ_of(opened())["asgi.scope"]
    assert (scope["type"], scope["scheme"], scope["method"], scope["path"]) == ("http", "https", "GET", "/socket.io/")
    assert (b"host", b"x:1") in scope["headers"]
    assert scope["query_string"] == b"EIO=4&name=%C3%BC&empty="
    assert scope["client"] == ("192.0.2.1", 0)
    assert kept_scope(scope) is None


@pytest.mark.parametrize("added", [{"user": "ada"}, {"state": {"database": 1}}])
def test_a_scope_with_more_than_the_servers_keys_is_kept(added: dict[str, Any]) -> None:
    scope = {"type": "websocket", "headers": [], "state": {}} | added
    assert kept_scope(scope) is scope


def test_an_environ_is_a_mapping_like_the_dictionary() -> None:
    environ, expected = Environ(opened()), environ_of(opened())
    assert environ.get("HTTP_HOST") == "x:1"
    assert "HTTP_ACCEPT" in environ
    assert "HTTP_NONE" not in environ
    assert dict(environ) == {**environ} == environ == expected
    assert copy.copy(environ) == environ.copy() == expected
    assert environ | {"app.user": "u"} == expected | {"app.user": "u"}
    assert {"app.user": "u"} | environ == {"app.user": "u"} | expected
    assert environ.pop("HTTP_HOST") == "x:1"
    assert "HTTP_HOST" not in environ
    assert "192.0.2.1" not in repr(environ)


async def test_what_a_handler_stores_in_the_environ_stays_for_the_life_of_the_connection(
    peer: Any, settle: Any
) -> None:
    server = Server()
    server.on("message", lambda sid, *args: None, namespace="/other")

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        environ["app.user"] = "ada"
        del environ["HTTP_USER_AGENT"]

    client = peer(server)
    sid, other = await client.enter(), await client.enter("/other")
    for environ in (server.get_environ(sid), server.get_environ(other, "/other")):
        assert environ["app.user"] == "ada"
        assert "HTTP_USER_AGENT" not in environ
        environ.setdefault("app.seen", []).append(1)
    assert server.get_environ(sid)["app.seen"] == [1, 1]


async def test_a_scope_that_a_handler_has_read_stays(peer: Any) -> None:
    server = Server()

    @server.event
    def connect(sid: str, environ: Any) -> None:
        environ["asgi.scope"]["state"]["user"] = "ada"

    sid = await peer(server).enter()
    assert server.get_environ(sid)["asgi.scope"]["state"] == {"user": "ada"}


async def test_an_environ_without_changes_holds_no_dictionary_after_the_connect_handler(peer: Any) -> None:
    server = Server()

    @server.event
    async def connect(sid: str, environ: Any) -> None:
        assert environ["HTTP_HOST"] == "x"

    sid = await peer(server).enter()
    assert server.get_environ(sid)._data is None
    assert server.get_environ(sid)["HTTP_HOST"] == "x"
