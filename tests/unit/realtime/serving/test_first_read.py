"""A handshake that is answered at the first read, and the same handshake through HTTP."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.config import Config
from uvicorn.server import ServerState

from roomcast.realtime import ServeOptions, Server, ServerOptions
from roomcast.realtime.limits.timers import TimerWheel
from roomcast.realtime.serving import http_protocol
from roomcast.realtime.serving.application_websocket import application_websocket
from roomcast.realtime.serving.descriptors import ClientConnections, DescriptorLimits
from roomcast.realtime.serving.first_read import FirstRead, Protocols
from roomcast.realtime.serving.http_protocol import bounded_http_protocol
from roomcast.realtime.transports.encoded_websocket import websocket_protocol
from roomcast.realtime.transports.proxies import TrustedProxies
from support.virtual_time import run_in_virtual_time
from unit.realtime.conftest import StreamTransport, settle

RESOLUTION_S = 0.25
LINES = [
    b"Host: chat.example:3000",
    b"Connection: Upgrade",
    b"Upgrade: websocket",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
]
HEAD = b"\r\n".join([b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1", *LINES, b"", b""])
OTHER_LINES = [
    b"Origin: http://chat.example:3000",
    b"Origin: http://evil.example",
    b"Host: evil.example",
    b"Cookie: a=b; c=\xc3\xa9",
    b"User-Agent: x \t y ",
    b"X-Empty:",
    b"X-Forwarded-For: 192.0.2.7",
    b"X-Forwarded-Prefix: /chat",
    b"Connection: keep-alive, Upgrade",
    b"Connection: close",
    b"Upgrade: h2c",
    b"Expect: 100-continue",
    b"Content-Length: 3",
    b"Transfer-Encoding: chunked",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Protocol: chat",
    b"X: " + b"y" * 600,
]


class Transport(StreamTransport):
    """Has the addresses of a socket, and counts writes."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.writes = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 40000) if name in {"peername", "sockname"} else default

    def write(self, data: Any) -> None:
        self.writes += 1
        if not self.closed:
            super().write(data)

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol


class Site:
    """The protocols of one site."""

    def __init__(
        self,
        *,
        connections: ClientConnections | None = None,
        proxies: TrustedProxies | None = None,
        mounted: bool = False,
        full: bool = False,
        **options: Any,
    ) -> None:
        self.server = Server(ServerOptions(allowed_hosts=("chat.example",)))
        self.server.engine.accepting = not full
        trusted = proxies or TrustedProxies(())
        self.wheel = TimerWheel(asyncio.get_running_loop(), RESOLUTION_S)
        paths = {"/socket.io/", "/socket.io"} if mounted else None
        http = bounded_http_protocol(ServeOptions(**options), self.wheel, connections, paths, trusted)
        websocket = websocket_protocol(self.server.engine, trusted)
        self.requests: list[dict[str, Any]] = []
        config = Config(self._app, http=http, ws=websocket, log_config=None, interface="asgi3", proxy_headers=False)
        config.load()
        self.protocols = Protocols(config, ServerState(), {}, http, websocket)
        if connections is not None:
            connections.count_site(self.protocols.state)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests.append({**scope, "extensions": None})
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await receive()
            await send({"type": "websocket.close"})

    def connect(self, *, directly: bool = True) -> Transport:
        """A new connection; not ``directly``: HTTP from the start."""
        transport = Transport()
        protocols = self.protocols
        transport.protocol = (
            FirstRead(protocols) if directly else protocols.http(protocols.config, protocols.state, protocols.app_state)
        )
        transport.protocol.connection_made(transport)
        return transport


def end(transport: Transport) -> None:
    transport.protocol.connection_lost(None)


async def outcome(head: bytes, *, directly: bool, **site_options: Any) -> tuple[object, ...]:
    site = Site(**site_options)
    transport = site.connect(directly=directly)
    transport.protocol.data_received(head)
    await settle()
    written = re.sub(rb'"sid":"[\w-]+"|Date: [^\r]+', b"", bytes(transport.written))
    kept = [
        (dict(connection.handshake.headers), connection.handshake.address, connection.handshake.query_string)
        for connection in site.server.engine.connections.values()
    ]
    result = (written, transport.closed, type(transport.protocol).__mro__[1].__name__, kept, site.requests)
    await site.server.engine.abort()
    if not transport.closed:
        assert len(site.protocols.state.connections) == 1
    end(transport)
    assert not site.protocols.state.connections
    site.wheel.stop()
    return result


@settings(max_examples=250, deadline=None)
@given(
    lines=st.permutations(LINES),
    target=st.sampled_from(
        [b"/socket.io/?EIO=4&transport=websocket"] * 4
        + [b"/socket.io?EIO=4&transport=websocket&x=%20", b"/socket.io/?EIO=3&transport=websocket", b"/other/?a=b"]
        + [b"/chat/socket.io/?EIO=4&transport=websocket", b"/socket%2Eio/?EIO=4&transport=websocket", b"/socket.io/"]
    ),
    others=st.lists(st.sampled_from(OTHER_LINES), max_size=2),
    left_out=st.sampled_from([None] * 5 + LINES),
    method=st.sampled_from([b"GET"] * 6 + [b"POST"]),
    rest=st.sampled_from([b""] * 6 + [b"\x81\x80\x00\x00\x00\x00", b"GET / HTTP/1.1\r\n\r\n"]),
    base_path=st.sampled_from(["", "", "/chat", "/socket.io"]),
    trusted=st.sampled_from([(), ("192.0.2.1",)]),
    mounted=st.booleans(),
    head_limit=st.sampled_from([65_536, 65_536, 300]),
    full=st.booleans(),
)
def test_a_handshake_has_the_same_outcome_with_and_without_http(
    lines: list[bytes],
    target: bytes,
    others: list[bytes],
    left_out: bytes | None,
    method: bytes,
    rest: bytes,
    base_path: str,
    trusted: tuple[str, ...],
    mounted: bool,
    head_limit: int,
    full: bool,
) -> None:
    lines = [line for line in lines if line != left_out] + others
    head = b"\r\n".join([method + b" " + target + b" HTTP/1.1", *lines, b"", b""]) + rest

    async def both() -> None:
        outcomes = [
            await outcome(
                head,
                directly=directly,
                proxies=TrustedProxies(trusted, base_path),
                mounted=mounted,
                head_limit_bytes=head_limit,
                full=full,
            )
            for directly in (True, False)
        ]
        assert outcomes[0] == outcomes[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http_protocol, "TURN_S", 60.0)  # a turn of real time would end at a point that differs
        asyncio.run(both())


async def test_the_response_and_the_open_packet_are_one_write() -> None:
    site = Site()
    transport = site.connect()
    transport.protocol.data_received(HEAD)
    assert transport.writes == 1
    assert re.fullmatch(rb"HTTP/1.1 101 .*\r\n\r\n\x81.0\{.*\}", bytes(transport.written), re.DOTALL)
    end(transport)
    site.wheel.stop()


async def test_a_site_without_a_socketio_server_passes_handshakes_to_http() -> None:
    site = Site()
    wheel = site.wheel
    config = Config(site._app, ws=application_websocket(wheel, 1.0), log_config=None, interface="asgi3")
    config.load()
    site.protocols = Protocols(config, ServerState(), {}, site.protocols.http, None)
    transport = site.connect()
    transport.protocol.data_received(HEAD)
    await settle()
    assert transport.written.startswith(b"HTTP/1.1 403 ")
    assert [request["type"] for request in site.requests] == ["websocket"]
    end(transport)
    wheel.stop()


@pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nx: "])
def test_the_time_for_a_head_begins_with_the_connection(first: bytes) -> None:
    async def main() -> None:
        site = Site(head_deadline_s=10)
        transport = site.connect()
        await asyncio.sleep(6)
        if first:
            transport.protocol.data_received(first)
        await asyncio.sleep(3.5)
        assert not transport.closed
        await asyncio.sleep(0.5 + 2 * RESOLUTION_S)
        assert transport.closed
        assert transport.written.startswith(b"HTTP/1.1 408 " if first else b"")
        end(transport)
        site.wheel.stop()

    run_in_virtual_time(main())


async def test_connections_beyond_the_limit_are_refused_or_close_the_oldest_without_a_request() -> None:
    limits = DescriptorLimits(open_files=9, websockets=0, connections=2, forwards=0, burst=1)
    site = Site(connections=ClientConnections(limits))
    oldest, second, third = (site.connect() for _ in range(3))
    assert [transport.aborted for transport in (oldest, second, third)] == [True, False, False]
    end(oldest)
    second.protocol.data_received(HEAD)
    third.protocol.data_received(HEAD)
    assert second.written.startswith(b"HTTP/1.1 101 ")
    assert third.written.startswith(b"HTTP/1.1 503 ")
    for transport in (second, third):
        end(transport)
    site.wheel.stop()


async def test_a_connection_is_refused_if_each_other_has_a_request_in_progress() -> None:
    limits = DescriptorLimits(open_files=9, websockets=1, connections=1, forwards=0, burst=1)
    site = Site(connections=ClientConnections(limits))
    first = site.connect()
    first.protocol.data_received(HEAD)
    second = site.connect()
    assert second.written.startswith(b"HTTP/1.1 503 ")
    assert second.closed
    for transport in (first, second):
        end(transport)
    site.wheel.stop()


async def test_a_drain_closes_a_connection_without_a_request() -> None:
    site = Site()
    transport = site.connect()
    for connection in list(site.protocols.state.connections):
        connection.shutdown()
    assert transport.closed
    end(transport)
    assert not site.protocols.state.connections
    site.wheel.stop()
