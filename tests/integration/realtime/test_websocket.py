"""The websocket protocol class against misbehaving clients, over raw connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket as stdlib_socket
import struct
from typing import Any

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from roomcast.realtime import EncodedEvent, Server, ServerOptions

UPGRADE = (
    "GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n{more}\r\n"
)
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, mask: bytes = b"\x01\x02\x03\x04") -> bytes:
    length = len(payload)
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65536:
        size = b"\xfe" + struct.pack("!H", length)
    else:
        size = b"\xff" + struct.pack("!Q", length)
    masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return bytes([(0x80 if fin else 0) | opcode]) + size + mask + masked


async def raw_websocket(running: Any, more: str = "") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await running.raw(UPGRADE.format(path=WEBSOCKET, more=more).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    return reader, writer


def echo_server(**options: Any) -> Server:
    server = Server(ServerOptions(**options))

    @server.on("echo")
    def echo(sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    return server


async def still_serves(running: Any) -> None:
    websocket = await running.open()
    await websocket.send('420["echo",1]')
    assert await asyncio.wait_for(websocket.recv(), 5) == "430[1]"
    await websocket.close()


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 20])
async def test_frames_are_read_for_any_segmentation(until: Any, serving: Any, cut: int) -> None:
    async with serving(echo_server()) as running:
        reader, writer = await raw_websocket(running)
        long = "x" * 300
        data = frame(b"40") + frame(b'420["echo",1]') + frame(b'421["echo","%b"]' % long.encode()) + frame(b"", 9)
        data += frame(b'422["ec', fin=False) + frame(b'ho"', 0, fin=False) + frame(b",3]", 0)
        for start in range(0, len(data), cut):
            writer.write(data[start : start + cut])
            await asyncio.sleep(0)
        await asyncio.wait_for(reader.readuntil(b"430[1]"), 5)
        rest = await asyncio.wait_for(reader.readuntil(b"432[3]"), 5)
        assert b'431["' + long.encode() + b'"]' in rest
        assert b"\x8a\x00" in rest
        writer.close()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (frame(b"x", 3), 1002),  # reserved opcode
        (frame(b"\xff\xfe"), 1007),
        (frame(b"x" * 126, 9), 1002),  # control frame too long
        (frame(b"x", 0), 1002),  # continues nothing
        (b"\xc1\x80\x00\x00\x00\x00", 1002),  # reserved bit: deflate was not negotiated
        (b"\x81\xff" + struct.pack("!Q", 1 << 40) + b"\x00" * 4, 1009),
        (frame(b"x" * 900, fin=False) + frame(b"x" * 900, 0), 1009),
        (frame(b"abc"), 1002),
        (frame(b"4abc"), 1002),
        (frame(b'42["x"]'), 1002),  # before CONNECT
        (frame(b'451-["x",{"_placeholder":true,"num":0}]'), 1002),  # binary header before CONNECT
        (frame(b"\x00", 2), 1002),  # binary without a header
        (frame(b"40") + frame(b'459999999999-["x"]'), 1002),
        (frame(b"40") + frame(b'451-["x",{"_placeholder":true,"num":-1}]'), 1002),
        (frame(b"40") + frame(b'42["disconnect"]'), 1002),
        (frame(b"40") + frame(b"42" + b"[" * 400), 1002),
        (frame(b"40") + frame(b"42{}"), 1002),
        (frame(b"40") + frame(b'42abc["x"]'), 1002),
        (frame(b"2"), 1002),  # only the server pings
    ],
)
async def test_a_malformed_websocket_is_closed_and_others_are_not_affected(
    until: Any, serving: Any, data: bytes, code: int
) -> None:
    async with serving(echo_server(max_payload_bytes=1000)) as running:
        other = await running.open()
        reader, writer = await raw_websocket(running)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 5)
        assert struct.pack("!H", code) in answer
        writer.close()
        await other.send('420["echo",2]')
        assert await asyncio.wait_for(other.recv(), 5) == "430[2]"
        assert running.server.connections == 1
        await other.close()


@pytest.mark.parametrize("count", [11, 600, 10**9])
async def test_a_binary_flood_is_closed_at_its_header(until: Any, serving: Any, recording: Any, count: int) -> None:
    async with serving(Server(observer=recording)) as running:
        websocket = await running.open()
        with contextlib.suppress(ConnectionClosed):
            await websocket.send(f'45{count}-["x",{{"_placeholder":true,"num":0}}]')
            for _ in range(20):
                await websocket.send(b"x" * 900_000)
        await asyncio.wait_for(websocket.wait_closed(), 5)
        assert websocket.close_code == 1002
        assert len(recording.of("peer_malformed")) == 1


async def test_one_byte_fragments_are_bounded_and_complete(until: Any, serving: Any) -> None:
    async with serving(echo_server()) as running:
        reader, writer = await raw_websocket(running)
        text = b'420["echo","' + b"y" * 5000 + b'"]'
        fragments = [frame(text[:1], fin=False)]
        fragments += [frame(text[i : i + 1], 0, fin=False) for i in range(1, len(text) - 1)]
        fragments.append(frame(text[-1:], 0))
        writer.write(frame(b"40") + b"".join(fragments))
        await asyncio.wait_for(reader.readuntil(b'430["' + b"y" * 5000 + b'"]'), 10)
        writer.close()


@pytest.mark.parametrize(
    ("headers", "options", "status"),
    [
        ({"origin": "https://evil.example"}, {}, 403),
        ({"origin": "null"}, {}, 403),
        ({"origin": "http://127.0.0.1.evil.example"}, {}, 403),
        ({"origin": "http://127.0.0.1:1"}, {}, 403),
        ({"origin": "http://127.0.0.1"}, {}, 200),
        ({"origin": "https://127.0.0.1"}, {}, 200),  # a proxy may have terminated TLS
        ({}, {}, 200),
        ({"origin": "https://chat.example"}, {"cors_allowed_origins": ("https://chat.example",)}, 200),
        ({"origin": "http://chat.example"}, {"cors_allowed_origins": ("https://chat.example",)}, 403),
        ({"origin": "https://chat.example:444"}, {"cors_allowed_origins": ("https://chat.example",)}, 403),
        ({"origin": "https://chat.example.evil"}, {"cors_allowed_origins": ("https://chat.example",)}, 403),
        ({"origin": "https://any.example"}, {"cors_allowed_origins": ("*",)}, 200),
        ({}, {"allowed_hosts": ("localhost",)}, 403),
        ({}, {"allowed_hosts": ("127.0.0.1",)}, 200),
    ],
)
async def test_origin_and_host_decide_before_the_handshake_on_both_transports(
    until: Any, serving: Any, headers: dict[str, str], options: dict[str, Any], status: int
) -> None:
    async with serving(Server(ServerOptions(**options))) as running:
        answer = await running.http("GET", "/socket.io/?EIO=4&transport=polling", headers=headers)
        assert answer.status == status
        if status == 403:
            assert json.loads(answer.body) == {"code": 4, "message": "Forbidden"}
        more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reader, writer = await running.raw(UPGRADE.format(path=WEBSOCKET, more=more).encode())
        line = await asyncio.wait_for(reader.readline(), 5)
        assert line.startswith(b"HTTP/1.1 101" if status == 200 else b"HTTP/1.1 403")
        writer.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/elsewhere", 404),
        ("/socket.io/?transport=websocket", 400),
        ("/socket.io/?EIO=abc&transport=websocket", 400),
        ("/socket.io/?EIO=4", 400),
        ("/socket.io/?EIO=4&transport=polling", 400),
        ("/socket.io/?EIO=4&transport=websocket&sid=unknown", 400),
    ],
)
async def test_a_bad_handshake_is_refused_before_it_is_a_websocket(
    until: Any, serving: Any, path: str, status: int
) -> None:
    async with serving(Server()) as running:
        reader, writer = await running.raw(UPGRADE.format(path=path, more="").encode())
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 %d " % status)
        writer.close()


async def test_whitespace_at_the_ends_of_header_values_is_no_part_of_them(until: Any, serving: Any) -> None:
    head = re.sub(": ([^\r]*)", r":\t \1 \t", UPGRADE.format(path=WEBSOCKET, more="origin: http://127.0.0.1\r\n"))
    async with serving(Server()) as running:
        reader, writer = await running.raw(head.encode())
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 101 ")
        writer.close()


async def test_a_websocket_on_a_session_that_has_one_is_accepted_and_closed(until: Any, serving: Any) -> None:
    async with serving(Server()) as running:
        await running.open()
        (connection,) = running.server.engine.connections.values()
        async with running.websocket(f"EIO=4&transport=websocket&sid={connection.sid}") as second:
            await asyncio.wait_for(second.wait_closed(), 5)
        assert running.server.connections == 1


async def test_the_full_server_answers_503_to_handshakes_and_serves_everything_else(until: Any, serving: Any) -> None:
    async with serving(echo_server(max_connections=1)) as running:
        websocket = await running.open()
        with pytest.raises(InvalidStatus) as refused:
            await running.websocket()
        assert refused.value.response.status_code == 503
        assert refused.value.response.headers["retry-after"] == "5"
        answer = await running.http("GET", "/socket.io/?EIO=4&transport=polling")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert (await running.http("GET", "/health")).status == 404
        await websocket.close()
        await until(lambda: not running.server.connections)
        await still_serves(running)


@pytest.mark.parametrize(
    "begun",
    [frame(b"42" + b"x" * 210_000)[:-1], frame(b"42" + b"x" * 210_000, fin=False), frame(b"x" * 210_000, 2)[:-1]],
)
async def test_unfinished_messages_of_all_websockets_share_a_budget_and_the_oldest_is_closed(
    until: Any, serving: Any, recording: Any, begun: bytes
) -> None:
    server = Server(ServerOptions(unfinished_limit_bytes=1_000_000), observer=recording)
    async with serving(server) as running:
        clients = [await raw_websocket(running) for _ in range(6)]
        for reader, writer in clients:
            writer.write(frame(b"40") + begun)
            await reader.readuntil(b"sid")
            await until(lambda: server.engine.unfinished.size_bytes > 0)
        await until(lambda: len(recording.of("connection_closed")) == 2)
        for reader, _ in clients[:2]:
            assert struct.pack("!H", 1008) in await asyncio.wait_for(reader.read(), 5)
        assert [fault for _, fault, _ in recording.of("peer_malformed")] == ["unfinished"] * 2
        assert 0 < server.engine.unfinished.size_bytes <= 1_000_000
        for _, writer in clients:
            writer.transport.abort()
        await until(lambda: server.engine.unfinished.size_bytes == 0)


async def test_a_websocket_message_must_be_finished_in_time(until: Any, serving: Any, recording: Any) -> None:
    server = Server(ServerOptions(unfinished_timeout_s=0.3, ping_interval_s=5, ping_timeout_s=5), observer=recording)
    async with serving(server) as running:
        reader, writer = await raw_websocket(running)
        writer.write(frame(b"40") + frame(b"42" + b"x" * 10_000)[:-1])
        assert struct.pack("!H", 1008) in await asyncio.wait_for(reader.read(), 5)
        ((_, fault, detail),) = recording.of("peer_malformed")
        assert (fault, detail) == ("unfinished", "a message or packet is incomplete after 0.3 s")
        writer.close()


async def test_a_client_far_above_its_rate_is_read_later_and_not_closed_for_a_late_pong(serving: Any) -> None:
    server = Server(ServerOptions(ping_interval_s=0.3, ping_timeout_s=0.3, max_packets_per_s=200))
    server.on("count", lambda _sid, number: number)
    async with serving(server) as running:
        websocket = await running.open()
        for number in range(600):  # the pong is read 2 s later
            await websocket.send(f'42{number}["count",{number}]')
        acked = pings = 0
        while acked < 600:
            text = await asyncio.wait_for(websocket.recv(), 5)
            if text == "2":
                pings += 1
                await websocket.send("3")
            else:
                assert text == f"43{acked}[{acked}]"
                acked += 1
        assert pings > 2
        await websocket.close()


async def test_a_client_without_a_namespace_is_closed_after_its_handshake_and_after_its_last_disconnect(
    until: Any, serving: Any, recording: Any
) -> None:
    options = ServerOptions(connect_timeout_s=0.1, ping_interval_s=5, ping_timeout_s=5)
    async with serving(Server(options, observer=recording)) as running:
        websocket = await running.open()
        async with running.websocket() as silent:
            await silent.wait_closed()  # later than the limit of the first one, which has a namespace
        await websocket.send("41")
        await websocket.wait_closed()
    assert [reason.value for _, reason in recording.of("connection_closed")] == ["connect timeout"] * 2


async def test_a_stalled_reader_is_closed_at_one_mebibyte_and_others_continue(
    until: Any, serving: Any, recording: Any
) -> None:
    server = Server(observer=recording)

    @server.event
    def connect(sid: str, environ: dict[str, Any]) -> None:
        server.socket(sid).join("r")

    async with serving(server) as running:
        stalled = stdlib_socket.socket()
        stalled.setsockopt(stdlib_socket.SOL_SOCKET, stdlib_socket.SO_RCVBUF, 4096)
        stalled.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(stalled, ("127.0.0.1", running.port))
        await loop.sock_sendall(stalled, UPGRADE.format(path=WEBSOCKET, more="").encode())
        await loop.sock_recv(stalled, 4096)
        await loop.sock_sendall(stalled, frame(b"40"))
        healthy = await running.open()
        await until(lambda: len(server.sockets("r")) == 2)
        before = psutil.Process(os.getpid()).memory_info().rss
        event = EncodedEvent.from_args("big", "z" * 65536)
        for _ in range(2000):  # 125 MiB
            server.broadcast("r", event)
            assert len(await asyncio.wait_for(healthy.recv(), 5)) > 65536
        assert psutil.Process(os.getpid()).memory_info().rss - before < 20 * 2**20
        ((_, waiting),) = recording.of("peer_slow")
        assert waiting <= 2**20 + 2 * 65600
        assert len(server.sockets("r")) == 1
        stalled.close()
        await healthy.close()


async def test_volatile_events_are_dropped_for_a_client_with_a_write_backlog(
    until: Any, serving: Any, recording: Any
) -> None:
    server = Server(observer=recording)
    async with serving(server) as running:
        reader, writer = await raw_websocket(running)
        writer.write(frame(b"40"))
        await until(server.sockets)
        event = EncodedEvent.from_args("big", "z" * 65536)
        for _ in range(1000):
            server.broadcast(None, event, volatile=True)
            await asyncio.sleep(0)
        assert recording.of("peer_slow") == []
        assert server.connections == 1
        server.broadcast(None, EncodedEvent.from_args("end"))
        received, tail = 0, b""
        while b'42["end"]' not in tail:
            data = await asyncio.wait_for(reader.read(2**20), 10)
            assert data
            received += len(data)
            tail = (tail + data)[-100:]
        assert received < 1000 * 65536
        writer.close()


async def test_pongs_to_a_client_that_does_not_read_do_not_accumulate(until: Any, serving: Any) -> None:
    async with serving(echo_server(max_packets_per_s=1e9)) as running:
        reader, writer = await raw_websocket(running)
        writer.write(frame(b"40"))
        await reader.readuntil(b"40{")
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # a stream's transport
        ping = frame(b"p" * 125, 9) * 1000
        for _ in range(60):
            writer.write(ping)
            await writer.drain()
        (protocol,) = [c.transport for c in running.server.engine.connections.values()]
        assert protocol._transport.get_write_buffer_size() < 2**20
        assert not reader.at_eof()
        writer.close()
        await still_serves(running)


async def test_a_full_inbox_pauses_reading(until: Any, serving: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=4, inbox_limit=4))
    gate = asyncio.Event()
    started: list[int] = []

    @server.on("work")
    async def work(sid: str, number: int) -> None:
        started.append(number)
        await gate.wait()

    async with serving(server) as running:
        websocket = await running.open()
        for number in range(100):
            await websocket.send(f'42["work",{number}]')
        (connection,) = running.server.engine.connections.values()
        await until(lambda: connection.input_waits and len(started) >= 4)
        assert started == [0, 1, 2, 3]
        gate.set()
        await until(lambda: len(started) == 100)
        assert started == list(range(100))
        await websocket.close()


async def test_an_acknowledgement_does_not_wait_for_the_handler_that_awaits_it(until: Any, serving: Any) -> None:
    server = Server(ServerOptions(handler_concurrency=1))

    @server.on("ask")
    async def ask(sid: str, number: int) -> Any:
        return await server.call("question", number, to=sid, timeout=5)

    async with serving(server) as running:
        websocket = await running.open()
        await websocket.send('420["ask",5]')
        await websocket.send('421["ask",6]')
        assert await websocket.recv() == '420["question",5]'
        await websocket.send('430["five"]')
        assert await websocket.recv() == '430["five"]'
        assert await websocket.recv() == '421["question",6]'
        await websocket.send('431["six"]')
        assert await websocket.recv() == '431["six"]'
        await websocket.close()


async def test_a_failing_handler_is_reported_and_closes_no_connection(
    until: Any, serving: Any, recording: Any, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(observer=recording)

    @server.on("bad")
    def bad(sid: str) -> None:
        raise LookupError("on purpose")

    @server.on("bad-later")
    async def bad_later(sid: str) -> None:
        await asyncio.sleep(0)
        raise LookupError("on purpose, too")

    @server.on("bad-answer")
    def bad_answer(sid: str) -> object:
        return object()

    @server.on("good")
    def good(sid: str) -> str:
        return "good"

    async with serving(server) as running:
        websocket = await running.open()
        for event in ("bad", "bad-later", "bad-answer", "unknown", "good"):
            await websocket.send(f'420["{event}"]')
        assert await websocket.recv() == '430["good"]'
        assert {call[1] for call in recording.of("handler_failed")} == {"bad", "bad-later", "bad-answer"}
        assert [(e, handled) for _, e, handled in recording.of("event_received")][3] == ("unknown", False)
        assert caplog.text.count("on purpose") >= 2
        await websocket.close()


async def test_ten_thousand_pongs_and_refused_connects_leave_no_task_behind(until: Any, serving: Any) -> None:
    server = Server(ServerOptions(max_packets_per_s=1e9))

    @server.on("connect", namespace="/closed")
    def connect(sid: str, environ: dict[str, Any]) -> bool:
        return False

    async with serving(server) as running:
        reader, writer = await raw_websocket(running)
        tasks = len(asyncio.all_tasks())
        writer.write(frame(b"40") + frame(b"3") * 10_000 + frame(b"40/closed,") * 1000 + frame(b"3"))
        for _ in range(1000):
            await asyncio.wait_for(reader.readuntil(b"44/closed"), 5)
        assert len(asyncio.all_tasks()) <= tasks
        assert not server.engine.hub("/closed").sockets
        writer.close()
