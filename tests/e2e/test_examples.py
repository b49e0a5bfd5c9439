"""Each example, run in a process of its own, answers clients."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import socketio

from support.clients import get, send
from support.commands import Command
from support.processes import Roomcast
from support.waiting import until

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


async def test_the_assistant_answers_in_a_chat_with_a_call_of_its_tool(tmp_path: Path) -> None:
    options = "--responder", "assistant:answer"
    with Roomcast.up(tmp_path, *options, env={"PYTHONPATH": str(EXAMPLES)}) as server:
        turn = (await send(server.api_url, "c", "hello there"))["turn"]

        async def answered() -> dict[str, Any] | None:
            page = await get(f"{server.api_url}/api/chats/c/messages")
            answer = next((each for each in page["messages"] if each["id"] == turn["id"]), None)
            return None if answer is None or answer["turn"]["status"] == "streaming" else answer

        answer = await until(answered)
    assert answer["turn"]["status"] == "complete"
    assert answer["content"].endswith("You said: hello there ")
    call = next(part for part in answer["parts"] if part["type"] == "dynamic-tool")
    assert (call["toolName"], call["state"], call["input"]) == ("clock", "output-available", {"offset_hours": 8})
    assert call["output"] in answer["content"]


async def test_the_bot_greets_in_a_chat(tmp_path: Path) -> None:
    bot = ("bot", "bot", "--user", "greeter", "--chat", "lobby")
    with Roomcast.up(tmp_path, "--responder", "none") as server:
        await send(server.api_url, "lobby", "hello")
        with Command(*bot, "--url", server.api_url, env={"PYTHONPATH": str(EXAMPLES)}) as command:
            await command.until_lines(1)
            await send(server.api_url, "lobby", "Hello, bot")

            async def greeted() -> list[dict[str, Any]] | None:
                messages = (await get(f"{server.api_url}/api/chats/lobby/messages"))["messages"]
                return messages if len(messages) == 3 else None

            greeting = (await until(greeted))[2]
            assert command.interrupt() == 0
    assert (greeting["userId"], greeting["content"]) == ("greeter", "Hello, None!")
