"""Real `roomcast` processes on free ports.

    with Roomcast.up(tmp_path / "data") as server:
        httpx.get(f"{server.api_url}/health")
        server.kill()       # SIGKILL
        server.start()      # the same ports, the same data

The process inherits only PATH, HOME and TMPDIR; a test passes other variables as ``env``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from support.ports import free_port
from support.prestarted import PrestartedProcess, is_equal_to_a_new_interpreter

#: `scripts/image-test` runs tests with the `roomcast` of an image.
ROOMCAST = Path(os.environ.get("IMAGE_TEST_COMMAND") or Path(sys.executable).with_name("roomcast"))
#: Last line of the start-up output, as text and with LOG_FORMAT=json, printed once every address accepts connections.
READY = "Press Ctrl-C to stop."
READY_JSON = '"event": "ready"'
START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0


def clean_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a test's process, without the developer's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONWARNINGS": "error::ResourceWarning", **(env or {})}


def run_roomcast(
    *args: str, env: Mapping[str, str] | None = None, cwd: Path | None = None, timeout_s: float = 20.0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    process = popen([str(ROOMCAST), *args], clean_environment(env), cwd)
    with ThreadPoolExecutor(2) as pool:
        # The end of the process ends the reading.
        output, errors = (pool.submit(_text, stream) for stream in (process.stdout, process.stderr))
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, code, output.result(), errors.result())


def _text(stream: IO[str] | None) -> str:
    if stream is None:
        return ""
    with stream:
        return stream.read()


def popen(
    command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None, *, forked: bool = True
) -> subprocess.Popen[str] | PrestartedProcess:
    """Start a command with text pipes and without standard input; `roomcast` without the time of its imports."""
    ours = command[0] == str(ROOMCAST) and ROOMCAST.parent == Path(sys.executable).parent
    if forked and ours and is_equal_to_a_new_interpreter(env, clean_environment()):
        return PrestartedProcess(command, env, cwd)
    return subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


class Roomcast:
    """One `roomcast` service process. As a context manager it is killed at the end of the block.

    Attributes:
        args: Its command line.
        env: Additions to its environment.
        api_port: None if it has no API.
        gateway_port: None if it has no gateway; the API's port with ``--one-port``.
        open_files: Its limit of open files; None: that of the tests.
        forked: Whether a process that has imported the modules already may become it.
        command: The `roomcast` that runs.
        internal_port: The configured port of its internal address; None if there is none.
    """

    def __init__(
        self,
        args: Sequence[str],
        *,
        api_port: int | None,
        gateway_port: int | None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.args = list(args)
        self.env = dict(env or {})
        self.internal_port = self.env.get("ROOMCAST_INTERNAL_PORT")
        self.api_port = api_port
        self.gateway_port = gateway_port
        self.open_files: int | None = None
        self.forked = True
        self.command = ROOMCAST
        self._process: subprocess.Popen[str] | PrestartedProcess | None = None
        self._lines: list[str] = []
        self._ready = False
        # Set when it is ready, or when its output has ended.
        self._decided = threading.Event()
        self._readers: list[threading.Thread] = []

    @classmethod
    def up(
        cls,
        data: Path,
        *args: str,
        one_port: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Self:
        """`roomcast up` on free ports; not started yet."""
        api_port = free_port()
        gateway_port = api_port if one_port else free_port()
        command = ["up", "--data", str(data), "--api-port", str(api_port)]
        command += ["--one-port"] if one_port else ["--gateway-port", str(gateway_port)]
        return cls([*command, *args], api_port=api_port, gateway_port=gateway_port, env=env)

    @classmethod
    def api(cls, data: Path | None, *args: str, env: Mapping[str, str] | None = None) -> Self:
        """`roomcast api` on free ports; not started yet. ``data`` None: the environment has a ``DATABASE_URL``."""
        port = free_port()
        command = ["api", "--api-port", str(port), *args, *([] if data is None else ["--data", str(data)])]
        env = {"ROOMCAST_INTERNAL_PORT": str(free_port()), **(env or {})}
        return cls(command, api_port=port, gateway_port=None, env=env)

    @classmethod
    def gateway(cls, *args: str, env: Mapping[str, str] | None = None) -> Self:
        """`roomcast gateway` on a free port; not started yet."""
        port = free_port()
        return cls(["gateway", *args], api_port=None, gateway_port=port, env={"PORT": str(port), **(env or {})})

    @classmethod
    def worker(cls, *, env: Mapping[str, str]) -> Self:
        """`roomcast worker`; not started yet. The environment has a ``DATABASE_URL``."""
        env = {"ROOMCAST_INTERNAL_PORT": str(free_port()), **env}
        return cls(["worker"], api_port=None, gateway_port=None, env=env)

    def pause(self) -> None:
        """SIGSTOP: it does nothing until `resume`."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._running().send_signal(signal.SIGCONT)

    @property
    def api_url(self) -> str:
        """Base URL of the API and the page."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def internal_url(self) -> str:
        """Base URL of the internal address, which is the ``API_URL`` of gateways."""
        return f"http://127.0.0.1:{self.internal_port}"

    @property
    def gateway_url(self) -> str:
        """Base URL of the gateway."""
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def pid(self) -> int:
        """Id of the running process."""
        return self._running().pid

    @property
    def output(self) -> str:
        """Its output so far, both streams."""
        return "".join(self._lines)

    def start(self) -> float:
        """Start it and wait until it is ready; the seconds that took."""
        began = time.monotonic()
        self._lines.clear()
        self._ready = False
        self._decided.clear()
        limited = [] if self.open_files is None else ["sh", "-c", 'ulimit -n "$0" && exec "$@"', str(self.open_files)]
        command = [*limited, str(self.command), *self.args]
        self._process = popen(command, clean_environment(self.env), forked=self.forked)
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self._process.stdout, self._process.stderr)
        ]
        for reader in self._readers:
            reader.start()
        self._decided.wait(START_LIMIT_S)
        if not self._ready:
            self.kill()
            raise RuntimeError(f"roomcast {' '.join(self.args)} did not start:\n{self.output}")
        return time.monotonic() - began

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, float]:
        """Send a signal and wait for the end; the exit code and the seconds that took."""
        process = self._running()
        began = time.monotonic()
        process.send_signal(number)
        try:
            code = process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"roomcast did not end within {STOP_LIMIT_S} s:\n{self.output}") from None
        took = time.monotonic() - began
        self._finish()
        return code, took

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._finish()

    def wait(self, limit_s: float = STOP_LIMIT_S) -> int:
        """Wait until it ends; its exit code."""
        code = self._running().wait(limit_s)
        self._finish()
        return code

    def __enter__(self) -> Self:
        if self._process is None:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self._process is not None:
            sys.stderr.write(f"--- output of roomcast {' '.join(self.args)}\n{self.output}")
        self.kill()

    def _running(self) -> subprocess.Popen[str] | PrestartedProcess:
        if self._process is None:
            raise RuntimeError("the process does not run: call start()")
        return self._process

    def _read(self, stream: IO[str] | None) -> None:
        if stream is None:
            return
        with stream:
            for line in stream:
                self._lines.append(line)
                if READY in line or READY_JSON in line:
                    self._ready = True
                    self._decided.set()
        # The end of the output is the end of the process, which `start` reports at once.
        self._decided.set()

    def _finish(self) -> None:
        for reader in self._readers:
            reader.join(STOP_LIMIT_S)
        self._readers = []
        self._process = None
