"""The causes of failed connections, as people read them."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from roomcast.client.address import gateway_base, socket_url
from roomcast.client.errors import cause_of
from roomcast.contract.rest import GatewayAddress


def caused_by(inner: BaseException) -> httpx.ConnectError:
    error = httpx.ConnectError("All connection attempts failed")
    error.__cause__ = inner
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (caused_by(OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)")), "Connection refused"),
        (caused_by(ExceptionGroup("several", [OSError(errno.EHOSTUNREACH, "x")])), "No route to host"),
        (caused_by(socket.gaierror(-2, "Name or service not known")), "Name or service not known"),
        (caused_by(ssl.SSLError(1, "certificate verify failed")), "certificate verify failed"),
        (httpx.ReadTimeout(""), "ReadTimeout"),
        (httpx.ReadError("broken"), "broken"),
    ],
)
def test_the_cause_is_that_of_the_system_call(error: Exception, text: str) -> None:
    assert text in cause_of(error)


@pytest.mark.parametrize(
    ("api", "address", "expected"),
    [
        ("https://host/chat", (None, None), "wss://host/chat/socket.io/"),
        ("http://host:3000", (None, 3001), "ws://host:3001/socket.io/"),
        ("https://host/chat", (None, 3001), "wss://host:3001/chat/socket.io/"),
        ("http://[::1]:3000", (None, 3001), "ws://[::1]:3001/socket.io/"),
        ("http://[::1]", (None, 3001), "ws://[::1]:3001/socket.io/"),
        ("http://api", ("https://gateway/live", None), "wss://gateway/live/socket.io/"),
    ],
)
def test_the_gateway_is_where_the_configuration_of_the_api_says(
    api: str, address: tuple[str | None, int | None], expected: str
) -> None:
    base = gateway_base(api, GatewayAddress(url=address[0], port=address[1]))
    assert socket_url(base) == f"{expected}?EIO=4&transport=websocket"
