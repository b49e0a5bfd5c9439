"""Worker processes that share one port (``--workers``), and the parent that restarts them.

- Each worker binds the port itself (``SO_REUSEPORT``), so that the kernel spreads connections evenly. Measured with
  1,000 simultaneous connections on two workers: 488 and 512. With one listening socket for both workers: 366 and 634.
  Connections in the accept queue of a killed worker are lost, and their clients connect again.
- The parent binds the port without listening. This reserves the port, and a port in use causes one error, not one per
  worker.
- Workers hold the read end of a pipe whose write end only the parent has. When the parent dies, the pipe closes, and
  the workers stop.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from roomcast.app.errors import AppError
from roomcast.observability.logs import add_log_facts, report_error
from roomcast.realtime import ServeError
from roomcast.realtime.serving.process import bind

logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
#: Exit code of a worker that could not start; the command uses the same code.
_EXIT_FAILED: Final = 1
#: Longest wait of the parent in seconds: a signal may arrive just before the wait begins.
_MAX_WAIT_S: Final = 1.0

WorkerMain = Callable[[int, Callable[[], None]], Coroutine[Any, Any, None]]
RunCoroutine = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Number of workers, and how they are restarted and stopped.

    Attributes:
        count: Number of workers.
        retry_min_s: Pause before a restart, doubled with each consecutive early exit.
        retry_max_s: Longest pause before a restart.
        early_s: An exit within this time after the start counts as early.
        give_up_after: Consecutive early exits, of any workers, after which the parent stops.
        stop_limit_s: Time that workers may take to stop before they are killed. Longer than their own time limits.
    """

    count: int
    retry_min_s: float = 0.1
    retry_max_s: float = 5.0
    early_s: float = 5.0
    give_up_after: int = 10
    stop_limit_s: float = 30.0


@dataclass(slots=True)
class _Worker:
    """One worker.

    Attributes:
        number: The number of the worker, from 0.
        pid: The process id; None: the worker is not running.
        started_at: Time of the last start, in monotonic seconds.
        start_at: Time of the next start, in monotonic seconds.
    """

    number: int
    pid: int | None = None
    started_at: float = 0.0
    start_at: float = 0.0


@dataclass(slots=True)
class _State:
    """The state of the parent.

    Attributes:
        ready: Numbers of the workers that have been ready at least once.
        early_exits: Consecutive early exits.
        stopping: The signal that stops the parent; None: none was received yet.
        forced: SIGINT was received while the parent was already stopping.
    """

    ready: set[int] = field(default_factory=set)
    early_exits: int = 0
    stopping: signal.Signals | None = None
    forced: bool = False


class WorkerProcesses:
    """The parent process. It forks: create it before any thread or event loop starts.

    Args:
        options: Number of workers, restarts, limits.
        hosts: Addresses that every worker binds.
        port: Port that every worker binds.
        worker_main: Creates the main coroutine of a worker from the worker's number and a callback. The coroutine calls
            the callback when the worker is ready.
        run_coroutine: Runs the main coroutine in a new event loop; raises `AppError`.
        on_ready: Called once every worker is ready.
    """

    def __init__(
        self,
        options: WorkerOptions,
        hosts: Sequence[str],
        port: int,
        worker_main: WorkerMain,
        run_coroutine: RunCoroutine,
        on_ready: Callable[[], None],
    ) -> None:
        self._options = options
        self._hosts = hosts
        self._port = port
        self._make_main = worker_main
        self._run_coroutine = run_coroutine
        self._on_ready = on_ready
        self._workers = [_Worker(number) for number in range(options.count)]
        self._state = _State()
        # Read end and write end. Only the parent keeps the write end of the parent pipe.
        self._parent_pipe = os.pipe()
        self._ready_pipe = os.pipe()

    def run(self) -> None:
        """Start the workers, restart workers that exit, and stop all workers on a signal.

        Raises:
            AppError: the port cannot be bound, or the workers keep failing.
        """
        reserved = self._reserve_port()
        os.set_blocking(self._ready_pipe[0], False)
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        # The handler does nothing, but with it the signal interrupts the wait below.
        before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        wake_r, wake_w = os.pipe()
        os.set_blocking(wake_r, False)
        os.set_blocking(wake_w, False)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        try:
            while self._state.stopping is None:
                self._start_due()
                self._wait(wake_r, self._next_start_s())
                self._reap()
                self._read_ready()
                if self._state.early_exits >= self._options.give_up_after:
                    raise AppError("the workers keep failing soon after their start; see the log for the cause")
        finally:
            self._stop(wake_r)
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in (*self._parent_pipe, *self._ready_pipe, wake_r, wake_w):
                os.close(descriptor)
            for listener in reserved:
                listener.close()

    # -- parent -------------------------------------------------------------------------------------------------------

    def _reserve_port(self) -> list[socket.socket]:
        try:
            # First bind without SO_REUSEPORT: another program sharing the port would receive half of the connections.
            for listener in [listener for host in self._hosts for listener in bind(host, self._port)]:
                listener.close()
            return [listener for host in self._hosts for listener in bind(host, self._port, shared=True)]
        except ServeError as error:
            raise AppError(str(error)) from error

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._state.stopping is not None and number == signal.SIGINT:
            self._state.forced = True
        elif self._state.stopping is None:
            self._state.stopping = signal.Signals(number)

    def _start_due(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if worker.pid is None and now >= worker.start_at:
                worker.started_at = now
                worker.pid = self._fork(worker.number)

    def _next_start_s(self) -> float:
        """Seconds until the next start of a worker."""
        due = min((worker.start_at for worker in self._workers if worker.pid is None), default=float("inf"))
        return due - time.monotonic()

    def _wait(self, wake_r: int, limit_s: float) -> None:
        """Wait until a signal arrives or a worker is ready, for ``limit_s`` at most."""
        select.select([wake_r, self._ready_pipe[0]], [], [], max(0.0, min(limit_s, _MAX_WAIT_S)))
        _drain(wake_r)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid is None:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            code = os.waitstatus_to_exitcode(status)
            worker.pid = None
            now = time.monotonic()
            early = now - worker.started_at < self._options.early_s
            self._state.early_exits = self._state.early_exits + 1 if early else 0
            if self._state.stopping is not None:
                continue
            if code == _EXIT_FAILED and worker.number not in self._state.ready:
                # The worker has printed the cause, which affects the other workers, too.
                raise AppError(f"worker {worker.number} could not start; its error is printed above")
            doublings = max(self._state.early_exits - 1, 0)
            pause_s = min(self._options.retry_min_s * 2**doublings, self._options.retry_max_s)
            worker.start_at = now + pause_s
            facts = {"worker": worker.number, "exit_code": code, "restart_in_s": round(pause_s, 1)}
            logger.error("a worker exited and is restarted", extra=facts)

    def _read_ready(self) -> None:
        ready = self._state.ready
        before = len(ready)
        ready.update(_drain(self._ready_pipe[0]))
        if before < len(self._workers) == len(ready):
            self._on_ready()

    def _stop(self, wake_r: int) -> None:
        """Stop every worker: forward the signal and a later SIGINT, and kill remaining workers at the time limit."""
        number = self._state.stopping or signal.SIGTERM
        self._signal_all(number)
        forced = False
        deadline = time.monotonic() + self._options.stop_limit_s
        while any(worker.pid is not None for worker in self._workers) and time.monotonic() < deadline:
            self._wait(wake_r, deadline - time.monotonic())
            self._reap_stopped()
            _drain(self._ready_pipe[0])
            if self._state.forced and not forced:
                forced = True
                self._signal_all(signal.SIGINT)
        self._signal_all(signal.SIGKILL)
        for worker in self._workers:
            if worker.pid is not None:
                os.waitpid(worker.pid, 0)
                worker.pid = None

    def _reap_stopped(self) -> None:
        for worker in self._workers:
            if worker.pid is not None and os.waitpid(worker.pid, os.WNOHANG)[0]:
                worker.pid = None

    def _signal_all(self, number: signal.Signals) -> None:
        for worker in self._workers:
            if worker.pid is not None:
                os.kill(worker.pid, number)

    # -- worker -------------------------------------------------------------------------------------------------------

    def _fork(self, number: int) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        handled = (*_SIGNALS, signal.SIGCHLD)
        # Signals are blocked until the worker has replaced the parent's handlers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        try:
            pid = os.fork()
            if not pid:
                self._run_worker(number, handled, before)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _run_worker(self, number: int, handled: Iterable[signal.Signals], mask: Iterable[int]) -> NoReturn:
        """Run one worker in the forked process, then exit."""
        code = _EXIT_FAILED
        try:
            # A terminal sends Ctrl-C to its whole process group. A worker in that group would receive SIGINT from the
            # terminal and from the parent, and the second SIGINT means an immediate stop.
            os.setpgid(0, 0)
            # Remove the signal handling that the parent installed.
            signal.set_wakeup_fd(-1)
            for inherited in handled:
                signal.signal(inherited, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(self._parent_pipe[1])
            os.close(self._ready_pipe[0])
            add_log_facts(worker=number)
            self._run_coroutine(self._main(number))
            code = 0
        except AppError as error:
            report_error(f"worker {number}: {error}")
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        except BaseException:
            logger.exception("a worker failed")
        finally:
            # `os._exit`: the cleanup handlers of the parent must not run here.
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    async def _main(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        # The read end becomes readable when the parent's write end is closed.
        loop.add_reader(self._parent_pipe[0], self._on_parent_exit)
        await self._make_main(number, lambda: _write_number(self._ready_pipe[1], number))
        loop.remove_reader(self._parent_pipe[0])

    def _on_parent_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._parent_pipe[0])
        logger.error("the parent process exited, so this worker stops")
        os.kill(os.getpid(), signal.SIGTERM)


def _write_number(descriptor: int, number: int) -> None:
    os.write(descriptor, bytes([number]))


def _drain(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except BlockingIOError:
        return b""
