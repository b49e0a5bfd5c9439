"""The process around the applications: start, request limits, proxies, shutdown."""

from __future__ import annotations

import asyncio
import os
import signal
import socket as stdlib_socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from roomcast.realtime import (
    AddressInUse,
    AddressUnavailable,
    ServeOptions,
    Server,
    ServerOptions,
    Site,
    StartupFailed,
    serve,
)
from support.ports import free_port

SCRIPT = Path(__file__).with_name("serving_process.py")
ROOT = Path(__file__).parents[3]
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n"
)


class Process:
    """The script in its own process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.ports: list[int] = []

    async def line(self) -> str:
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), 15)).decode().strip()

    async def rest(self) -> list[str]:
        assert self.process.stdout is not None
        lines = (await asyncio.wait_for(self.process.stdout.read(), 15)).decode().splitlines()
        await self.process.wait()
        return lines


@asynccontextmanager
async def process(mode: str, *args: str) -> AsyncIterator[Process]:
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        mode,
        *args,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    running = Process(started)
    try:
        if mode in {"uvloop", "asyncio"} and not args:
            running.ports = [int(port) for port in (await running.line()).split()[1:]]
        yield running
    finally:
        if started.returncode is None:
            started.kill()
        await started.wait()


async def entered(port: int) -> Any:
    websocket = await connect(f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", compression=None)
    await websocket.recv()
    await websocket.send("40")
    await websocket.recv()
    return websocket


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_sockets_and_requests_and_ends_the_process(loop: str, number: signal.Signals) -> None:
    async with process(loop) as running:
        sockets = [await entered(running.ports[0]) for _ in range(5)]
        reader, writer = await asyncio.open_connection("127.0.0.1", running.ports[1])
        writer.write(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await running.line() == "request"
        began = time.monotonic()
        running.process.send_signal(number)
        assert (await asyncio.wait_for(reader.read(), 10)).endswith(b"slow")
        for websocket in sockets:
            await asyncio.wait_for(websocket.wait_closed(), 5)
            assert websocket.close_code == 1012
        lines = await running.rest()
        assert time.monotonic() - began < 4
        assert lines[0] == "unready"
        assert lines[1:6] == ["disconnected server shutting down"] * 5
        assert lines[6:] == ["lifespan ended", "lifespan ended", f"ended {number.name}"]
        assert running.process.returncode == 0
        writer.close()


async def test_ctrl_c_does_not_wait_for_a_handler_that_does_not_end() -> None:
    async with process("uvloop") as running:
        websocket = await entered(running.ports[0])
        await websocket.send('42["busy",60]')
        assert await running.line() == "busy"
        began = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        lines = await running.rest()
        assert time.monotonic() - began < 5
        assert "not busy" in lines
        assert lines[-1] == "ended SIGINT"


async def test_a_second_ctrl_c_ends_the_process_at_once() -> None:
    async with process("uvloop") as running:
        websocket = await entered(running.ports[0])
        await websocket.send('42["busy",60]')
        assert await running.line() == "busy"
        running.process.send_signal(signal.SIGINT)
        assert await running.line() == "unready"
        began = time.monotonic()
        running.process.send_signal(signal.SIGINT)
        assert (await running.rest())[-1] == "ended SIGINT"
        assert time.monotonic() - began < 1.5


async def test_a_port_in_use_is_reported_in_one_line() -> None:
    with stdlib_socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with process("uvloop", str(port)) as running:
            (line,) = await running.rest()
            assert running.process.returncode == 3
        assert line.startswith(f"AddressInUse port {port} on 127.0.0.1 is in use: ")


async def test_the_process_ends_if_an_application_fails_to_start() -> None:
    async with process("broken") as running:
        (line,) = await running.rest()
        assert line.startswith("StartupFailed")


async def test_the_errors_of_an_address_carry_host_and_port() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None: ...

    with stdlib_socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse) as in_use:
            await serve([Site(app, "127.0.0.1", 0), Site(app, "127.0.0.1", port)])
    assert (in_use.value.host, in_use.value.port) == ("127.0.0.1", port)
    with pytest.raises(AddressUnavailable):
        await serve([Site(app, "no-such-host.invalid", 0)])
    with pytest.raises(AddressUnavailable):
        await serve([Site(app, "192.0.2.1", 0)])  # TEST-NET-1, RFC 5737: no host has it


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_port_that_another_process_takes_during_the_start_is_in_use(loop: str) -> None:
    port = free_port()

    async def scenario() -> None:
        # Two sockets can bind the same port as long as neither listens.
        with stdlib_socket.socket() as other:
            other.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))

            async def app(scope: Any, receive: Any, send: Any) -> None:
                await receive()
                other.listen()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})

            with pytest.raises(AddressInUse):
                async with asyncio.timeout(10):
                    await serve([Site(app, "127.0.0.1", port)])

    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(scenario())


async def test_serve_raises_if_an_application_fails_to_start() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "on purpose"})

    with pytest.raises(StartupFailed):
        await serve([Site(app, "127.0.0.1", 0)])


async def test_localhost_is_bound_on_every_family_with_one_port() -> None:
    ready = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(
        serve([Site(Server().asgi(), "localhost", 0)], ServeOptions(on_ready=ready.set_result), stop=stop)
    )
    (addresses,) = await ready
    assert len({port for _, port in addresses}) == 1
    assert {host for host, _ in addresses} >= {"127.0.0.1"}
    stop.set()
    assert await task is None


async def test_an_application_on_two_addresses_has_one_lifespan() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while scope["type"] == "lifespan":
            kind = (await receive())["type"]
            seen.append(kind)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    ready = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    sites = [Site(app, "127.0.0.1", 0), Site(app, "127.0.0.2", 0)]
    task = asyncio.create_task(serve(sites, ServeOptions(on_ready=ready.set_result), stop=stop))
    for ((host, port),) in await ready:
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 204 ")
        writer.close()
    stop.set()
    await task
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


async def test_incomplete_heads_get_408_at_the_deadline_and_other_clients_are_served(serving: Any) -> None:
    async with serving(Server(), head_deadline_s=0.3) as running:
        peers = [await running.raw(b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ") for _ in range(50)]
        silent, silent_writer = await running.raw()
        websocket = await running.open()
        for reader, writer in peers:
            assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 408 ")
            writer.close()
        assert await asyncio.wait_for(silent.read(), 2) == b""
        silent_writer.close()
        await websocket.send("41")
        await websocket.close()


async def test_a_second_head_on_a_kept_connection_has_a_deadline_too(serving: Any) -> None:
    async with serving(Server(), head_deadline_s=0.3) as running:
        reader, writer = await running.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\nNot Found")
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        assert (await asyncio.wait_for(reader.read(), 2)).startswith(b"HTTP/1.1 408 ")
        writer.close()


async def test_a_missing_body_closes_the_connection_at_its_deadline(serving: Any) -> None:
    async with serving(Server(), body_deadline_s=0.3) as running:
        sid = await running.poll_open()
        head = f"POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n4"
        reader, writer = await running.raw(head.encode())
        assert await asyncio.wait_for(reader.read(), 2) == b""
        writer.close()
        assert (await running.poll(sid)).status == 400


async def test_chunk_extensions_and_trailers_are_limited_and_never_become_headers(serving: Any) -> None:
    heads: list[list[tuple[bytes, bytes]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body", False):
                pass
            heads.append(list(scope["headers"]))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    start = b"POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0"
    async with serving(Server(), app, body_deadline_s=30) as running:
        reader, writer = await running.raw(start + b"\r\nauthorization: late\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204 ")
        assert [name for name, _ in heads[0]] == [b"host", b"transfer-encoding"]
        writer.close()
        for flood in (b"\r\n" + b"a: b\r\n" * 200_000, b"\r\na: " + b"b" * 1_000_000, b";x=" + b"y" * 1_000_000):
            reader, writer = await running.raw(start + flood)
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()


@pytest.mark.parametrize(
    ("behind", "answer"),
    [
        (b"\0\r\n\r\n", b"HTTP/1.1 400 "),
        (UPGRADE, b""),
    ],
    ids=["junk", "websocket"],
)
async def test_invalid_pipelined_data_does_not_fail_earlier_requests(
    serving: Any, until: Any, behind: bytes, answer: bytes
) -> None:
    gate = asyncio.Event()
    ended: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        try:
            await gate.wait()
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})
            await receive()
            ended.append((await receive())["type"])
        except Exception as error:
            ended.append(error)
            raise

    async with serving(Server(), app) as running:
        reader, writer = await running.raw(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n" + behind)
        assert (await reader.read())[:13] == answer
        writer.close()
        gate.set()
        await until(lambda: ended)
    assert ended == ["http.disconnect"]


async def test_an_unread_response_is_aborted_and_a_slowly_read_one_is_not(serving: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x" * 16_000_000})

    async with serving(Server(), app, unread_deadline_s=0.3) as running:
        stalled, stalled_writer = await running.raw(b"GET /x HTTP/1.1\r\nhost: x\r\n\r\n")
        stalled_writer.transport.pause_reading()
        reader, writer = await running.raw(b"GET /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        size = 0
        while data := await reader.read(1_000_000):
            size += len(data)
            await asyncio.sleep(0.02)
        assert size > 16_000_000
        stalled_writer.transport.resume_reading()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(stalled.readexactly(16_000_000), 5)
        writer.close()
        stalled_writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000,
        b"GET /" + b"y" * 20_000,
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 2000 + b"\r\n",
        b"GET / HTTP/1.1\r\nupgrade: websocket\r\nconnection: upgrade\r\n" + b"a: b\r\n" * 2000 + b"\r\n",
    ],
    ids=["long value", "endless value", "endless target", "101 lines", "2000 lines", "2000 lines, websocket"],
)
async def test_an_oversize_head_is_refused_with_431(serving: Any, head: bytes) -> None:
    async with serving(Server()) as running:
        reader, writer = await running.raw(head)
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 431 ")
        writer.close()
        assert (await running.http("GET", "/")).status == 404


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_invalid_http_gets_one_400(serving: Any, data: bytes) -> None:
    async with serving(Server()) as running:
        reader, writer = await running.raw(data)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1
        writer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"404"),
        (b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"200"),
        (b"GET /socket.io/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", b"400"),
        (UPGRADE.replace(b"EIO=4", b"EIO=3"), b"400"),
        (b"GET / HTTP/9.9\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n", b"431"),
    ],
    ids=["unknown path", "polling", "invalid polling", "invalid websocket", "invalid HTTP", "oversize head"],
)
async def test_no_response_lets_a_browser_guess_the_type_of_its_content(
    serving: Any, data: bytes, status: bytes
) -> None:
    async with serving(Server()) as running:
        reader, writer = await running.raw(data)
        head, _, _ = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
        assert head.split()[1] == status
        assert head.lower().count(b"x-content-type-options: nosniff") == 1
        writer.close()


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [((), ("127.0.0.1", False)), (("127.0.0.0/8",), ("203.0.113.7", True)), (("10.0.0.1",), ("127.0.0.1", False))],
)
async def test_forwarded_headers_are_used_on_both_transports_and_only_from_trusted_proxies(
    serving: Any, trusted: tuple[str, ...], expected: tuple[str, bool]
) -> None:
    server = Server()
    seen: list[tuple[str | None, bool]] = []

    @server.event
    def connect(sid: str, environ: dict[str, Any]) -> None:
        handshake = server.socket(sid).handshake
        assert environ["REMOTE_ADDR"] == handshake.address
        seen.append((handshake.address, handshake.secure))

    headers = {"x-forwarded-for": "198.51.100.1, 203.0.113.7", "x-forwarded-proto": "https"}
    async with serving(server, trusted_proxies=trusted) as running:
        websocket = await running.open(additional_headers=headers)
        await websocket.close()
        answer = await running.http("GET", "/socket.io/?EIO=4&transport=polling", headers=headers)
        sid = answer.body.split(b'"')[3].decode()
        await running.post(sid, b"40")
    assert seen == [expected, expected]


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"base_path": "/chat"}, {}),
        ({"trusted_proxies": ("127.0.0.1",)}, {"x-forwarded-prefix": "/chat"}),
        ({"trusted_proxies": ("127.0.0.1",), "base_path": "/other"}, {"x-forwarded-prefix": "/chat"}),
    ],
    ids=["setting", "header", "both"],
)
@pytest.mark.parametrize("path", ["/chat/socket.io/", "/chat/socket.io", "/%63hat/socket.io/", "/socket.io/"])
@pytest.mark.parametrize("alone", [True, False], ids=["gateway", "one port"])
async def test_both_transports_are_served_with_and_without_the_base_path(
    serving: Any, options: Any, headers: dict[str, str], path: str, alone: bool
) -> None:
    async def other(scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError(scope)

    server = Server()
    async with serving(server, None if alone else other, **options) as running:
        answer = await running.http("GET", f"{path}?EIO=4&transport=polling", headers=headers)
        assert (answer.status, answer.body[:1]) == (200, b"0")
        url = f"ws://127.0.0.1:{running.port}{path}?EIO=4&transport=websocket"
        async with connect(url, additional_headers=headers) as websocket:
            assert str(await websocket.recv()).startswith("0{")


async def test_a_prefix_of_an_untrusted_peer_leads_nowhere(serving: Any) -> None:
    headers = {"x-forwarded-prefix": "/chat"}
    async with serving(Server(), trusted_proxies=("10.0.0.1",)) as running:
        answer = await running.http("GET", "/chat/socket.io/?EIO=4&transport=polling", headers=headers)
        assert answer.status == 404
        with pytest.raises(InvalidStatus):
            await connect(
                f"ws://127.0.0.1:{running.port}/chat/socket.io/?EIO=4&transport=websocket", additional_headers=headers
            )


async def test_the_host_of_a_trusted_proxy_counts_for_allowed_hosts_and_origins(serving: Any) -> None:
    options = ServerOptions(allowed_hosts=("chat.example",))
    headers = {"x-forwarded-host": "chat.example", "x-forwarded-proto": "https", "origin": "https://chat.example"}
    for trusted, status in ((("127.0.0.1",), 200), (("10.0.0.1",), 403)):
        async with serving(Server(options), trusted_proxies=trusted) as running:
            answer = await running.http("GET", "/socket.io/?EIO=4&transport=polling", headers=headers)
            assert answer.status == status
            forged = await running.http(
                "GET", "/socket.io/?EIO=4&transport=polling", headers={**headers, "x-forwarded-host": "evil.example"}
            )
            assert forged.status == 403


async def test_an_upgraded_connection_keeps_no_http_protocol_object(serving: Any) -> None:
    async with serving(Server(ServerOptions())) as running:
        websocket = await running.open()
        (connection,) = running.server.engine.connections.values()
        assert type(connection.transport._transport.get_protocol()).__mro__[1].__name__ == "WebSocketProtocol"
        await websocket.close()
