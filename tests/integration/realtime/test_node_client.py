"""The official JavaScript client under Node, in every order of transports."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from roomcast.realtime import Server, ServerOptions

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "web/node_modules/socket.io-client/build/esm-debug/index.js"


def example(transports: tuple[str, ...] = ("polling", "websocket")) -> Server:
    server = Server(ServerOptions(transports=transports))  # type: ignore[arg-type]  # names are str

    @server.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> bool:
        await server.emit("welcome", auth, to=sid)
        return auth == {"token": "t"}

    @server.on("echo-one")
    def echo_one(sid: str, value: Any) -> Any:
        return value

    @server.on("ask-me")
    async def ask_me(sid: str) -> Any:
        return list(await server.call("question", ("a", b"\x00"), to=sid, timeout=5))

    @server.on("join")
    async def join(sid: str, room: str) -> None:
        await server.enter_room(sid, room)

    @server.on("say")
    async def say(sid: str, room: str, data: Any) -> None:
        await server.emit("said", data, room=room)

    @server.on("count")
    async def count(sid: str, numbers: int) -> None:
        for number in range(numbers):
            await server.emit("number", number, room="r")
            if number % 7 == 0:
                await asyncio.sleep(0.001)

    return server


async def run_node(url: str, transports: str) -> dict[str, Any]:
    node = shutil.which("node")
    assert node is not None, "the marker `node` requires it"
    process = await asyncio.create_subprocess_exec(
        node,
        str(HERE / "js/client.mjs"),
        str(CLIENT),
        url,
        transports,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()
    return dict(json.loads(out))


@pytest.mark.parametrize("plain", [False, True], ids=["fast path", "plain ASGI"])
@pytest.mark.parametrize(
    ("transports", "first", "last"),
    [
        ("websocket", "websocket", "websocket"),
        ("polling", "polling", "polling"),
        ("polling,websocket", "polling", "websocket"),
        ("websocket,polling", "websocket", "websocket"),
    ],
)
async def test_the_official_client_connects_joins_acknowledges_and_sends_binary_in_order(
    serving: Any, transports: str, first: str, last: str, plain: bool
) -> None:
    async with serving(example(), plain=plain) as running:
        seen = await run_node(running.url, transports)
    assert seen["transports"][1] == last
    if first == last:
        assert seen["transports"][0] == first
    assert seen["echo"] == {"text": "ü", "bytes": [0, 255]}
    assert seen["asked"] == ["a", [0], "answered"]
    assert seen["said"] == [1, 2, 3]
    assert seen["inOrder"] is True


async def test_the_official_client_falls_back_from_websocket_to_polling(serving: Any) -> None:
    async with serving(example(transports=("polling",))) as running:
        seen = await run_node(running.url, "websocket,polling")
    assert seen["transports"] == ["polling", "polling"]
    assert seen["inOrder"] is True
