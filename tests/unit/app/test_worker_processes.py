"""Worker processes: a real parent, and workers that only record their signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.ports import free_port

LIMIT_S = 20.0

#: Two workers; the second stops slowly, so that the parent has to wait and a second signal would reach it.
PROGRAM = """
import asyncio, os, signal, sys, time
from roomcast.app.worker_processes import WorkerOptions, WorkerProcesses

def write(line):
    os.write(1, line.encode() + b"\\n")

async def main(number, ready):
    loop, seen, stop = asyncio.get_running_loop(), [], asyncio.Event()
    def on_signal(number):
        seen.append(number.name)
        stop.set()
    for known in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(known, on_signal, known)
    ready()
    await stop.wait()
    await asyncio.sleep(number * 1.0)
    write(f"worker {number} saw {' '.join(seen)}")

def on_ready():
    used.append(time.process_time())
    write("ready")

used = []
WorkerProcesses(WorkerOptions(count=2), ("127.0.0.1",), int(sys.argv[1]), main, asyncio.run, on_ready).run()
write(f"parent used {time.process_time() - used[0]}")
"""


@contextmanager
def running(port: int) -> Iterator[subprocess.Popen[str]]:
    """The parent in a process group of its own, as a shell starts it."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port)], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "ready\n"
            yield parent
        finally:
            parent.kill()


def rest(parent: subprocess.Popen[str]) -> list[str]:
    """The output until the end."""
    output, _ = parent.communicate(timeout=LIMIT_S)
    return output.splitlines()


@pytest.mark.timeout(LIMIT_S * 2)
def test_ctrl_c_in_a_terminal_reaches_each_worker_once() -> None:
    with running(free_port()) as parent:
        os.killpg(parent.pid, signal.SIGINT)
        lines = rest(parent)
    assert lines[:2] == ["worker 0 saw SIGINT", "worker 1 saw SIGINT"]


@pytest.mark.timeout(LIMIT_S * 2)
def test_a_parent_that_waits_for_the_last_worker_does_not_busy_wait() -> None:
    with running(free_port()) as parent:
        parent.send_signal(signal.SIGTERM)
        lines = rest(parent)
    assert lines[:2] == ["worker 0 saw SIGTERM", "worker 1 saw SIGTERM"]
    # Out of the second that the parent waits.
    assert float(lines[2].split()[-1]) < 0.3
