"""Starts the processes of a benchmark: free ports, one core each, stopped with the run."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import sysconfig
from contextlib import ExitStack
from pathlib import Path
from typing import IO

#: The server under test has a core of its own; load generator and receivers use the other.
SERVER_CPU, CLIENT_CPU = 0, 1


def machine() -> str:
    """Processor, cores, system, version of the servers' Python, and whether it was built with optimisation."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [text.partition(":")[2].strip() for text in lines if text.startswith("model name")]
    processor = names[0] if names else platform.processor()
    # As scripts/python decides it: distributions optimise, and some of them keep the flag to themselves.
    flags = sysconfig.get_config_var("CONFIG_ARGS") or ""
    optimised = "--enable-optimizations" in flags or sys.base_prefix == "/usr"
    build = "an optimised build" if optimised else "built without optimisation"
    return f"{processor}, {os.cpu_count()} cores, {platform.platform()}; Python {platform.python_version()}, {build}"


def free_port() -> int:
    """A port that no process listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def node_binary() -> str:
    """Path of Node. The ``node`` on the PATH may be a wrapper, which would be pinned and stopped in its place."""
    asked = subprocess.run(["node", "-p", "process.execPath"], capture_output=True, text=True, check=True)
    return asked.stdout.strip()


def spawn(
    command: list[str], stack: ExitStack, cpu: int | None = None, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process, with all its threads on one core unless ``cpu`` is None; the stack stops it."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})  # inherited by the process
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )
    if cpu is not None:
        os.sched_setaffinity(0, {CLIENT_CPU})

    def stop() -> None:
        process.terminate()
        process.wait(10)

    stack.callback(stop)
    return process


def next_line(stream: IO[str] | None) -> str:
    """The next line of a process that is not empty.

    Raises:
        RuntimeError: the process has ended.
    """
    while text := "" if stream is None else stream.readline():
        if text.strip():
            return text.strip()
    raise RuntimeError("a process ended")


def wait_for(process: subprocess.Popen[str], mark: str) -> None:
    """Read the output of a process up to a line that contains ``mark``."""
    while mark not in next_line(process.stdout):
        pass
