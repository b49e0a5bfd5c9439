from __future__ import annotations

from typing import Any

import pytest

from roomcast.realtime.transports.proxies import ProxyHeaders, TrustedProxies


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
    assert TrustedProxies(trusted).client(peer, False, forwarded(value))[0] == expected


@pytest.mark.parametrize(
    ("proto", "secure", "expected"),
    [("https", False, True), ("wss", False, True), ("http", True, False), ("gopher", True, True), (None, True, True)],
)
def test_the_scheme_is_the_one_that_the_proxy_reports(proto: str | None, secure: bool, expected: bool) -> None:
    assert TrustedProxies(("*",)).client("10.0.0.1", secure, forwarded("1.2.3.4", proto))[1] is expected


def test_an_invalid_proxy_address_is_rejected() -> None:
    with pytest.raises(ValueError, match="proxy"):
        TrustedProxies(("proxy.example",))


@pytest.mark.parametrize(("kind", "scheme", "expected"), [("http", "http", "https"), ("websocket", "ws", "wss")])
async def test_the_middleware_rewrites_address_and_scheme(kind: str, scheme: str, expected: str) -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["client"], scope["scheme"]))

    middleware: Any = ProxyHeaders(app, TrustedProxies(("10.0.0.1",)))
    scope = {"type": kind, "client": ("10.0.0.1", 1), "scheme": scheme, "headers": forwarded("1.2.3.4", "https")}
    await middleware(scope, None, None)
    await middleware({**scope, "client": ("9.9.9.9", 1), "scheme": scheme}, None, None)
    assert seen == [(("1.2.3.4", 0), expected), (("9.9.9.9", 1), scheme)]
