"""The start and the end of every command: a signal at any time, and output in any encoding and to any stream."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from support.ports import free_port
from support.processes import ROOMCAST, clean_environment

SECRET = "a secret of more than thirty-two bytes"
#: Runs a command as process 1 of a PID namespace, as a container does.
NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
COMMANDS = [["up"], ["api"], ["gateway"], ["gateway", "--workers", "2"], ["migrate"]]
#: Redis at a port that refuses connections: the commands start without it.
ENVIRONMENT = {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": "1", "ROOMCAST_SECRET": SECRET, "API_URL": "http://127.0.0.1:1"}


def environment(directory: Path, **more: str) -> dict[str, str]:
    ports = {"API_PORT": str(free_port()), "PORT": str(free_port())}
    return clean_environment({**ENVIRONMENT, **ports, "ROOMCAST_DATA": str(directory), **more})


@pytest.fixture(scope="module")
def _namespaces() -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not create PID namespaces")


def handles_sigterm(process: psutil.Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) & 1 << (signal.SIGTERM - 1))


@pytest.mark.usefixtures("_namespaces")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_process_1_handles_sigterm_before_the_imports_that_take_long(tmp_path, command) -> None:
    outer = subprocess.Popen(
        [*NAMESPACE, str(ROOMCAST), *command],
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        parent = psutil.Process(outer.pid)
        while not (children := parent.children()):
            time.sleep(0.001)  # no event says when another process forks
        while not handles_sigterm(children[0]):
            time.sleep(0.001)  # nor when it installs a handler
        children[0].send_signal(signal.SIGTERM)
        # The code of the end before the servers run: the handler that drains them, with code 0, comes much later.
        assert (outer.wait(10), outer.stderr.read()) == (143, "")
    finally:
        outer.kill()
        outer.wait()
        outer.stderr.close()


def test_the_first_code_of_a_process_imports_no_package() -> None:
    loaded = "{name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names - {'__main__'}"
    code = f"import sys, roomcast.cli; print({loaded})"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "{'roomcast'}"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_every_output_can_be_written_in_every_encoding(tmp_path, encoding) -> None:
    directory = tmp_path / "資料 ✓"
    env = environment(directory, PYTHONIOENCODING=encoding, PYTHONUTF8="1")
    for args in (["migrate"], ["--help"], ["nonsense ✓"]):
        done = subprocess.run([ROOMCAST, *args], env=env, capture_output=True, check=False)
        assert b"Traceback" not in done.stderr, done.stderr
        assert done.returncode == (2 if "nonsense ✓" in args else 0)
    assert (directory / "roomcast.db").exists()


def test_the_help_for_a_reader_that_ends_early_prints_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        done = subprocess.run(
            [ROOMCAST, "--help"], env=clean_environment(), stdout=stdout, stderr=subprocess.PIPE, check=False
        )
    assert done.stderr == b""


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["migrate"], ["token", "ada"]], ids=" ".join)
def test_output_that_cannot_be_written_is_one_line_and_code_1(tmp_path, args) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [ROOMCAST, *args], env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("roomcast: cannot write")
