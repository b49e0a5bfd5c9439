"""`roomcast` processes that are forked from one which has imported the modules, a second of CPU time for each start.

What a process does from `main` on is the same. `tests/integration/up/test_start.py` starts new interpreters.

As a script it is the process that forks: ``prestarted.py DESCRIPTOR``. From the socket it reads one message for each
start: arguments, environment and directory as JSON, with three descriptors: standard output, standard error, and a pipe
to which it writes the id of the new process, and later its exit code.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, TextIO

#: What the services import at their start.
MODULES: Final = (
    "alembic.command",
    "alembic.config",
    "roomcast.app.backend",
    "roomcast.app.composition",
    "roomcast.app.config",
    "roomcast.app.redis_services",
    "roomcast.cli.commands",
    "roomcast.gateway.api.admission",
    "roomcast.gateway.api.client",
    "roomcast.gateway.api.open_admission",
    "roomcast.observability.logs",
    "roomcast.responders.demo",
    "uvloop",
)
_MESSAGE_BYTES: Final = 1 << 20
_MOST_DESCRIPTORS: Final = 1 << 12


class PrestartedProcess:
    """A process with the methods of `subprocess.Popen` that the tests use, and text on both streams.

    Attributes:
        pid: Its id.
        stdout: Its standard output.
        stderr: Its standard error.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path | None = None) -> None:
        reading, writing = zip(*(os.pipe() for _ in range(3)), strict=True)
        self.args = list(command)
        self.stdout, self.stderr, self._status = (os.fdopen(end, encoding="utf-8") for end in reading)
        self._code: int | None = None
        message = {"argv": self.args, "env": dict(env), "cwd": os.fspath(cwd or Path.cwd())}
        socket.send_fds(_forking_process(), [json.dumps(message).encode()], writing)
        for end in writing:
            os.close(end)
        self.pid = int(self._status.readline())

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; the exit code, or minus the number of the signal.

        Raises:
            subprocess.TimeoutExpired: it did not end within ``timeout`` seconds.
        """
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _ended(self, limit_s: float | None) -> int | None:
        if self._code is None and select.select([self._status], [], [], limit_s)[0]:
            with self._status:
                self._code = os.waitstatus_to_exitcode(int(self._status.readline()))
        return self._code


def is_equal_to_a_new_interpreter(env: Mapping[str, str], usual: Mapping[str, str]) -> bool:
    """Whether a forked process behaves like a new one: no variable changes the interpreter itself."""
    changed = {name for name in env.keys() | usual.keys() if env.get(name) != usual.get(name)} - {"PYTHONPATH"}
    own = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "OPENSSL_", "SSL_")
    return sys.platform == "linux" and not any(name.startswith(own) for name in changed)


@functools.cache
def _forking_process() -> socket.socket:
    """Start the process that forks; it ends with this one."""
    import roomcast
    from support.processes import clean_environment

    # The tests may be those of a mutant, whose source is a copy.
    source = str(Path(roomcast.__file__).parents[1])
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, __file__, str(its.fileno())],
        env=clean_environment({"PYTHONPATH": source}),
        pass_fds=[its.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    its.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def _fork_on_request(control: socket.socket) -> None:
    """Serve until the other end is closed. Returns in each new process."""
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running: dict[int, int] = {}
    while True:
        ready = select.select([control, wake], [], [])[0]
        if wake in ready:
            wake.recv(1024)
            _report_ended(running)
        if control not in ready:
            continue
        message, ends, _, _ = socket.recv_fds(control, _MESSAGE_BYTES, 3)
        if not message:
            os._exit(0)
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for each in (control, wake, woken):
                each.detach()
            _become(json.loads(message), ends)
            return
        os.write(ends[2], b"%d\n" % child)
        running[child] = ends.pop()
        for end in ends:
            os.close(end)


def _report_ended(running: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            status = running.pop(ended[0])
            with contextlib.suppress(BrokenPipeError):  # the test did not wait for its end
                os.write(status, b"%d\n" % ended[1])
            os.close(status)


def _become(request: dict[str, object], ends: Sequence[int]) -> None:
    """Give this process the arguments, environment, directory and streams of the request."""
    os.dup2(ends[0], 1)
    os.dup2(ends[1], 2)
    os.closerange(3, _MOST_DESCRIPTORS)
    # The streams of before keep what they know of the files of before, such as whether they can seek.
    sys.stdout = _stream(1, sys.stdout, by_line=False)
    sys.stderr = _stream(2, sys.stderr, by_line=True)
    env, cwd = request["env"], request["cwd"]
    assert isinstance(env, dict)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(str(cwd))
    sys.argv = list(request["argv"])  # type: ignore[call-overload] # a list of strings
    path = env.get("PYTHONPATH")
    sys.path[:0] = [str(Path(sys.argv[0]).parent), *(path.split(os.pathsep) if path else ())]
    time.tzset()


def _stream(descriptor: int, before: TextIO, *, by_line: bool) -> TextIO:
    raw = io.FileIO(descriptor, "w", closefd=False)
    return io.TextIOWrapper(io.BufferedWriter(raw), before.encoding, before.errors, line_buffering=by_line)


if __name__ == "__main__":
    del sys.path[0]  # this directory, which a new interpreter does not have there
    for module in MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    _fork_on_request(socket.socket(fileno=int(sys.argv[1])))
    from roomcast.cli import main

    sys.exit(main())
