"""A background task that fails ends the process with one line that names the task."""

from __future__ import annotations

import subprocess
import sys

import pytest

from support.ports import free_port
from support.processes import clean_environment

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
        ("relay", "chat.relay", "Relay", "_sweep_forever"),
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
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"roomcast: the {task} failed")
    assert "out of luck" in last
