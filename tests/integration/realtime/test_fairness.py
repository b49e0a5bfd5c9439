"""Clients that send as fast as they can do not hold up the others."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from integration.realtime.flood_process import KINDS
from roomcast.realtime import Server
from support.stopwatch import Stopwatch

FLOOD_S = 2.0
# Without turns of reading, one read of such a client takes longer on its own.
LIMIT_S = 1.0


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.mark.parametrize("kind", KINDS)
async def test_a_users_event_and_a_probe_are_answered_while_three_clients_flood_the_server(
    serving: Any, kind: str
) -> None:
    server = Server()
    server.on("echo", lambda _sid, *args: args)
    async with serving(server, app) as running:
        user = await running.open()
        script = str(Path(__file__).with_name("flood_process.py"))
        flood = await asyncio.create_subprocess_exec(sys.executable, script, str(running.port), kind, str(FLOOD_S))
        ended = asyncio.ensure_future(flood.wait())
        while not ended.done():
            watch = Stopwatch()
            await user.send('420["echo",1]')
            assert await user.recv() == "430[1]"
            assert (await running.http("GET", "/health")).status == 200
            assert watch.elapsed_s < LIMIT_S
            await asyncio.sleep(0.02)
        assert await ended == 0
        await user.close()
