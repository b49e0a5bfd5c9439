"""The official JavaScript client observes the same of both servers."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import socketio as peer

from roomcast.realtime.compat import socketio as ours
from support.python_socketio.world import World, world_of

pytestmark = pytest.mark.node

HERE = Path(__file__).parent
CLIENT = HERE.parents[2] / "web/node_modules/socket.io-client/build/esm-debug/index.js"


def example(world: World) -> None:
    sio = world.server(ping_interval=0.5, ping_timeout=1)

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        if auth == {"token": "bad"}:
            raise world.lib.exceptions.ConnectionRefusedError("no", {"why": "bad"})
        await sio.enter_room(sid, "all")

    sio.on("echo", lambda sid, *args: args[1])

    @sio.event
    async def ask(sid: str) -> Any:
        return list(await sio.call("question", 1, to=sid, timeout=5))

    @sio.event
    async def join(sid: str, room: str) -> None:
        await sio.enter_room(sid, room)
        for number in range(3):
            await sio.emit("number", (number, b"\x01"), room=[room, "all"])

    @sio.event
    async def leave(sid: str) -> None:
        await sio.emit("bye", to=sid)
        await sio.disconnect(sid)

    class Chat(world.lib.AsyncNamespace):  # type: ignore[misc,name-defined]
        def on_say(self, sid: str, text: str) -> list[str]:
            return [self.namespace, text]

    sio.register_namespace(Chat("/chat"))


async def observe(lib: ModuleType) -> Any:
    node = shutil.which("node")
    assert node is not None, "the marker `node` requires it"
    async with world_of(lib) as world:
        example(world)
        command = (node, str(HERE / "observe.mjs"), str(CLIENT), await world.host())
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), 30)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, err.decode()
        return json.loads(out)


async def test_the_javascript_client_sees_no_difference() -> None:
    assert await observe(ours) == await observe(peer)
