"""Each example, run in a process of its own, answers the official Python client."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import socketio

EXAMPLES = Path(__file__).parents[2] / "examples"


async def test_the_echo_server_acknowledges_an_event_with_its_argument() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(EXAMPLES / "echo.py"), "0", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        address = line.removeprefix("listening on ").strip()
        async with socketio.AsyncSimpleClient() as client:
            await client.connect(address)
            assert await client.call("echo", {"hello": "world"}) == {"hello": "world"}
    finally:
        process.terminate()
        assert await process.wait() == 0
