"""The msgpack parser and permessage-deflate, with official clients and hostile ones."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from roomcast.realtime import (
    ConnectionRefusedError,  # noqa: A004 - python-socketio's name
    Server,
    ServerOptions,
    Socket,
)

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "web/node_modules/socket.io-client/build/esm-debug/index.js"
PACKAGES = HERE.parent / "adapters/node/node_modules"


def example(options: ServerOptions) -> Server:
    server = Server(options)

    @server.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await server.emit("welcome", auth, to=sid)

    server.on("echo", lambda sid, *args: args)

    @server.on("ask")
    async def ask(sid: str) -> Any:
        return await server.call("question", b"\x01", to=sid)

    @server.on("all")
    async def everyone(sid: str, value: Any) -> None:
        await server.emit("news", value)

    @server.on("leave")
    async def leave(sid: str) -> None:
        await server.disconnect(sid)

    def refuse(socket: Socket) -> None:
        raise ConnectionRefusedError("no", {"code": 7})

    server.on("any", lambda sid: None, "/closed")
    server.use(refuse, "/closed")
    return server


@pytest.mark.node
@pytest.mark.parametrize(("plain", "threshold"), [(False, 100), (True, None)], ids=["fast path", "plain ASGI"])
async def test_the_official_client_with_the_msgpack_parser_sees_the_same_as_on_nodes_server(
    serving: Any, plain: bool, threshold: int | None
) -> None:
    node = shutil.which("node")
    assert node is not None
    assert (PACKAGES / "socket.io-msgpack-parser").exists(), "run: make .make/node-peers"
    server = example(ServerOptions(parser="msgpack", per_message_deflate_threshold_bytes=threshold))
    async with serving(server, plain=plain) as running:
        process = await asyncio.create_subprocess_exec(
            node,
            str(HERE / "js/encodings.mjs"),
            str(CLIENT),
            str(PACKAGES),
            running.url,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    seen = json.loads(out)
    assert seen["other"] == seen["node"]
    assert seen["node"][0] == seen["node"][1] == seen["node"][2]
    if not plain:
        assert seen["extensions"] == "permessage-deflate"


def compressing(running: Any, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{running.port}/socket.io/?EIO=4&transport=websocket", ping_interval=None, **options)


async def entered(websocket: ClientConnection) -> None:
    await websocket.recv()
    await websocket.send("40")
    while not str(await websocket.recv()).startswith("42"):
        pass


async def test_messages_are_compressed_in_both_directions_and_arrive_in_order(serving: Any) -> None:
    server = example(ServerOptions(per_message_deflate_threshold_bytes=1024))
    async with serving(server) as running, compressing(running) as first, running.websocket() as second:
        assert [extension.name for extension in first.protocol.extensions] == ["permessage-deflate"]
        for websocket in (first, second):  # one with compression, one without
            await entered(websocket)
        for size in (10, 2_000, 60_000, 300_000):
            await first.send(f'42["all","{"x" * size}"]')
        for websocket in (first, second):
            sizes = [len(str(await websocket.recv())) for _ in range(4)]
            assert sizes == [size + len('42["news",""]') for size in (10, 2_000, 60_000, 300_000)]
        fragments = ['42["all","', "y" * 3_000, '"]']
        await first.send(fragments)
        assert str(await second.recv()) == '42["news","' + "y" * 3_000 + '"]'


@pytest.mark.parametrize("fragments", [1, 3])
async def test_a_bomb_is_refused_at_the_limit_of_a_message(serving: Any, fragments: int) -> None:
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = block.compress(bytes(1_000_000)) + block.flush(zlib.Z_FULL_FLUSH)
    bomb = zeros * 1_000  # of 1 GB
    assert len(bomb) < 1_100_000
    server = example(ServerOptions(per_message_deflate_threshold_bytes=1024, max_payload_bytes=1_200_000))
    async with serving(server) as running, compressing(running) as websocket:
        await entered(websocket)
        before = resource.getrusage(resource.RUSAGE_SELF)
        size = len(bomb) // fragments
        for number in range(fragments):
            part = bomb[number * size :] if number == fragments - 1 else bomb[number * size : (number + 1) * size]
            opcode = (0x80 if number == fragments - 1 else 0) | (0x42 if number == 0 else 0)  # FIN; RSV1 and binary
            websocket.transport.write(bytes((opcode, 0xFF)) + len(part).to_bytes(8, "big") + bytes(4) + part)
        await websocket.wait_closed()
        after = resource.getrusage(resource.RUSAGE_SELF)
    assert websocket.close_code == 1009
    assert after.ru_maxrss - before.ru_maxrss < 60_000  # KiB; the messages are of this process, too
    assert after.ru_utime - before.ru_utime < 1.0


async def test_the_time_of_inflating_counts_for_the_client(serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[float] = []
    server = example(ServerOptions(per_message_deflate_threshold_bytes=1024))
    async with serving(server) as running, compressing(running) as websocket:
        await entered(websocket)
        (connection,) = server.engine.connections.values()
        spend_time = type(connection).spend_time

        def record(self: Any, took_s: float) -> None:
            spent.append(took_s)
            spend_time(self, took_s)

        monkeypatch.setattr(type(connection), "spend_time", record)
        await websocket.send('420["echo","%s"]' % ("x" * 900_000))
        await websocket.recv()
    assert sum(spent) > 0


async def test_compression_is_off_by_default(serving: Any) -> None:
    async with serving(Server()) as running, compressing(running) as websocket:
        assert websocket.protocol.extensions == []
