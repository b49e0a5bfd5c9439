from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from uvicorn.protocols.utils import get_local_addr, get_remote_addr

from roomcast.realtime import loop_factory
from roomcast.realtime.transports.proxies import ProxyHeaders, TrustedProxies, address_of


def forwarded(value: str, proto: str | None = None) -> list[tuple[bytes, bytes]]:
    headers = [(b"x-forwarded-for", value.encode())]
    return [*headers, (b"x-forwarded-proto", proto.encode())] if proto else headers


@pytest.mark.parametrize(
    ("trusted", "peer", "value", "expected"),
    [
        ((), "10.0.0.1", "1.2.3.4", "10.0.0.1"),
        (("10.0.0.1",), "10.0.0.1", "1.2.3.4", "1.2.3.4"),
        (("10.0.0.0/8",), "10.9.9.9", "6.6.6.6, 1.2.3.4, 10.1.1.1", "1.2.3.4"),
        (("10.0.0.0/8",), "192.0.2.1", "1.2.3.4", "192.0.2.1"),
        (("10.0.0.0/8",), "10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        (("10.0.0.0/8",), "10.0.0.1", "junk, 10.0.0.2", "10.0.0.2"),
        (("10.0.0.0/8",), "10.0.0.1", "junk", "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
        (("::1",), "::1", "[2001:db8::1]:99", "2001:db8::1"),
        (("::1",), "::1", "2001:db8::1", "2001:db8::1"),
        (("127.0.0.1",), "::ffff:127.0.0.1", "1.2.3.4", "1.2.3.4"),
        (("*",), "192.0.2.1", "1.2.3.4, 5.6.7.8", "1.2.3.4"),
        (("10.0.0.1",), None, "1.2.3.4", "1.2.3.4"),
    ],
)
def test_the_client_is_the_rightmost_address_that_is_not_a_trusted_proxy(
    trusted: tuple[str, ...], peer: str | None, value: str, expected: str
) -> None:
    assert TrustedProxies(trusted).client(peer, False, forwarded(value)).address == expected


@pytest.mark.parametrize(
    ("proto", "secure", "expected"),
    [("https", False, True), ("wss", False, True), ("http", True, False), ("gopher", True, True), (None, True, True)],
)
def test_the_scheme_is_the_one_that_the_proxy_reports(proto: str | None, secure: bool, expected: bool) -> None:
    assert TrustedProxies(("*",)).client("10.0.0.1", secure, forwarded("1.2.3.4", proto)).secure is expected


def test_an_invalid_proxy_address_is_rejected() -> None:
    with pytest.raises(ValueError, match="proxy"):
        TrustedProxies(("proxy.example",))


@pytest.mark.parametrize(("kind", "scheme", "expected"), [("http", "http", "https"), ("websocket", "ws", "wss")])
async def test_the_middleware_rewrites_address_and_scheme(kind: str, scheme: str, expected: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["scheme"]))

    middleware: Any = ProxyHeaders(app, TrustedProxies(("10.0.0.1",)))
    scope = {
        "type": kind,
        "client": ("10.0.0.1", 1),
        "scheme": scheme,
        "headers": forwarded("1.2.3.4", "https"),
        "path": "/",
    }
    await middleware(scope, None, None)
    await middleware({**scope, "client": ("9.9.9.9", 1), "scheme": scheme}, None, None)
    assert seen == [(("1.2.3.4", 0), expected), (("9.9.9.9", 1), scheme)]


def sent(**headers: str) -> list[tuple[bytes, bytes]]:
    lines = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return [(b"host", b"inner:3000"), *lines]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("chat.example", "chat.example"),
        ("forged.example, chat.example:8443", "chat.example:8443"),
        ("[2001:db8::1]:443", "[2001:db8::1]:443"),
        ("a b", None),
        ('a"b', None),
        ("a; script-src *", None),
        ("user@host", None),
        ("host:99999999", None),
        ("host/chat", None),
        ("", None),
    ],
)
def test_the_host_is_the_one_that_the_nearest_trusted_proxy_reports(value: str, expected: str | None) -> None:
    headers = sent(x_forwarded_host=value)
    view = TrustedProxies(("10.0.0.1",)).client("10.0.0.1", False, headers)
    assert view.host == expected
    assert dict(view.headers(headers))[b"host"] == (expected or "inner:3000").encode()
    assert TrustedProxies(("10.0.0.1",)).client("10.0.0.2", False, headers).host is None


def test_a_repeated_host_header_stays_repeated_and_is_refused_later() -> None:
    headers = [*sent(x_forwarded_host="chat.example"), (b"host", b"other")]
    view = TrustedProxies(("*",)).client("10.0.0.1", False, headers)
    assert [value for name, value in view.headers(headers) if name == b"host"] == [b"chat.example"] * 2


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/team", "/team"),
        ("/team/", "/team"),
        ("/a/b", "/a/b"),
        ("/forged, /team", "/team"),
        ("/", ""),
        ("", "/chat"),
        ("team", "/chat"),
        ("//evil", "/chat"),
        ("//evil/", "/chat"),
        ("/a//b", "/chat"),
        ("/../x", "/chat"),
        ('/"><script>', "/chat"),
        ("/<b>", "/chat"),
        ("/a\r\nset-cookie: b", "/chat"),
        ("/a%0d%0ab", "/chat"),
        ("/a b", "/chat"),
        ("/\xe4", "/chat"),
        ("https://evil.example", "/chat"),
        ("/" + "a" * 128, "/chat"),
    ],
)
def test_a_valid_prefix_of_a_trusted_proxy_takes_the_place_of_the_base_path(value: str, expected: str) -> None:
    proxies = TrustedProxies(("10.0.0.1",), "/chat")
    assert proxies.client("10.0.0.1", False, sent(x_forwarded_prefix=value)).base_path == expected
    assert proxies.client("10.0.0.2", False, sent(x_forwarded_prefix=value)).base_path == "/chat"
    assert TrustedProxies((), "/chat").client(None, False, sent(x_forwarded_prefix=value)).base_path == "/chat"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/chat/api/chats", "/api/chats"),
        ("/api/chats", "/api/chats"),
        ("/chat/", "/"),
        ("/chat", "/"),
        ("/", "/"),
        ("/chatter", "/chatter"),
        ("/chat/chat/api", "/chat/api"),
        ("/Chat/api", "/Chat/api"),
        ("*", "*"),
    ],
)
async def test_the_middleware_removes_the_base_path_and_names_it(path: str, expected: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["root_path"], dict(scope["headers"])[b"host"]))

    middleware: Any = ProxyHeaders(app, TrustedProxies(("10.0.0.1",), "/chat"))
    headers = sent(x_forwarded_host="chat.example")
    scope = {"type": "http", "client": ("10.0.0.1", 1), "scheme": "http", "headers": headers, "path": path}
    await middleware(dict(scope), None, None)
    await middleware({**scope, "client": ("9.9.9.9", 1)}, None, None)
    assert seen == [(expected, "/chat", b"chat.example"), (expected, "/chat", b"inner:3000")]


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, loop_factory()], ids=["asyncio", "default"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "unix"])
def test_the_addresses_of_a_connection_are_those_that_uvicorn_finds(
    loop_factory: Any, address: str, tmp_path: Path
) -> None:
    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.found.set_result((address_of(transport, "peername"), address_of(transport, "sockname"), transport))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        Accepted.found = loop.create_future()
        if address == "unix":
            path = str(tmp_path / "socket")
            server = await loop.create_unix_server(Accepted, path)
            transport, _ = await loop.create_unix_connection(asyncio.Protocol, path)
        else:
            server = await loop.create_server(Accepted, address, 0)
            transport, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname()[:2])
        peer, own, accepted = await Accepted.found
        assert peer == get_remote_addr(accepted)
        assert own == (None if address == "unix" else get_local_addr(accepted))
        assert (peer is None) is (address == "unix")
        transport.close()
        accepted.close()
        server.close()
        await server.wait_closed()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(run())
