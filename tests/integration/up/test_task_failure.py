"""Background tasks that fail end the process with one line; responders that do not end do not keep it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from support.ports import free_port
from support.processes import STOP_LIMIT_S, Roomcast, clean_environment, run_roomcast
from support.waiting import until

BREAK = """
import asyncio
from roomcast.{module} import {owner}

async def fail(self):
    await asyncio.sleep(0.5)
    raise RuntimeError("out of luck")

{owner}.{method} = fail
from roomcast.cli import main
main()
"""


@pytest.mark.parametrize(
    ("task", "module", "owner", "method"),
    [
        ("worker", "worker.service", "Worker", "run"),
        ("relay", "chat.delivery.relay", "Relay", "_sweep_forever"),
        ("gateway feeds", "gateway.delivery.feeds", "Feeds", "run"),
    ],
)
def test_a_background_task_that_fails_ends_the_process(tmp_path, task, module, owner, method) -> None:
    code = BREAK.format(module=module, owner=owner, method=method)
    ports = ["--api-port", str(free_port()), "--gateway-port", str(free_port())]
    done = subprocess.run(
        [sys.executable, "-c", code, "up", "--data", str(tmp_path), *ports],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"roomcast: the {task} failed")
    assert "out of luck" in last


STUBBORN = """
import asyncio, time

async def ignores(prompt):
    yield "one"
    while True:
        try:
            await asyncio.sleep(60)
        except BaseException:
            pass

async def blocks(prompt):
    yield "one"
    await asyncio.to_thread(time.sleep, 60)
"""


@pytest.mark.parametrize("function", ["ignores", "blocks"])
async def test_a_responder_that_does_not_end_does_not_keep_the_process(tmp_path: Path, function: str) -> None:
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    environment = {"PYTHONPATH": os.fspath(tmp_path), "ROOMCAST_DRAIN_S": "0.5"}
    with Roomcast.up(tmp_path / "data", "--responder", f"stubborn:{function}", env=environment) as server:
        async with httpx.AsyncClient(base_url=server.api_url) as http:
            body = {"chatId": "c1", "role": "USER", "content": "hello"}
            turn = (await http.post("/api/chat/messages", json=body)).raise_for_status().json()["turn"]

            async def has_begun() -> bool:
                found = (await http.get("/api/chats/c1/messages")).json()["messages"]
                return any(message["id"] == turn["id"] and message["content"] == "one" for message in found)

            await until(has_begun)
        code, took_s = await asyncio.to_thread(server.stop)
        output = server.output
    assert code == 0
    assert took_s < STOP_LIMIT_S
    assert "the process ends without it" in output


def test_a_responder_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    ports = ["--api-port", str(free_port()), "--gateway-port", str(free_port())]
    done = run_roomcast("up", "--data", str(tmp_path), *ports, "--responder", "no_such_module:answer")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("roomcast: the responder 'no_such_module:answer'")
