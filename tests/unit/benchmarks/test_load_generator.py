"""The load generator checks each connection: a message that is missing, repeated or out of order fails its run."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from roomcast.realtime import ServeOptions, Server, ServerOptions, Site, serve
from support.ports import free_port
from support.programs import unavailable

LOAD = Path(__file__).parents[3] / "benchmarks/node/load.mjs"
CLIENTS = 3


class FaultyServer:
    """Sends the messages 0, 1 and 2 of a burst to all clients, but to the first one the given ones."""

    def __init__(self, first: tuple[int, ...]) -> None:
        self._first = first
        self._sids: list[str] = []
        self.server = Server(ServerOptions())
        self.server.on("join-chat")(self._join)
        self.server.on("blast")(self._blast)

    async def _join(self, sid: str, _chat: str) -> dict[str, bool]:
        self._sids.append(sid)
        return {"ok": True}

    async def _blast(self, _sid: str, order: dict[str, Any]) -> None:
        for sid in self._sids:
            for number in self._first if sid == self._sids[0] else range(order["perTick"]):
                message = {**order["message"], "n": order["message"]["n"] + number}
                await self.server.emit("new-msg", message, to=sid)


async def generate(server: Server) -> tuple[int, str]:
    """Run the generator: its exit code and its output."""
    node = shutil.which("node") or unavailable("no node found")
    port, ready = free_port(), asyncio.Event()
    options = ServeOptions(on_ready=lambda _: ready.set())
    serving = asyncio.create_task(serve([Site(server.asgi(), "127.0.0.1", port)], options))
    try:
        await ready.wait()
        job = {
            "mode": "fanout",
            "port": port,
            "clients": CLIENTS,
            "ticks": 1,
            "perTick": 3,
            "seconds": 0,
            "limitSeconds": 2,
        }
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(node, str(LOAD), json.dumps(job), stdout=pipe, stderr=pipe)
        output, errors = await process.communicate()
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    assert process.returncode is not None
    return process.returncode, (output + errors).decode()


async def test_a_run_whose_clients_have_all_messages_in_order_succeeds() -> None:
    code, output = await generate(FaultyServer((0, 1, 2)).server)
    assert code == 0, output
    assert json.loads(output)["wrong"] == 0


@pytest.mark.parametrize("first", [(0, 1), (0, 1, 1, 2), (0, 2, 1), (0, 1, 2, 2)])
async def test_a_missing_repeated_or_misplaced_message_of_one_client_fails_the_run(first: tuple[int, ...]) -> None:
    code, output = await generate(FaultyServer(first).server)
    assert code == 1, output
    assert "instead of" in output or "have not received" in output
