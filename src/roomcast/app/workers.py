"""Several gateway processes on one port: a parent that keeps them running, and no more.

Each worker binds the port itself (``SO_REUSEPORT``), so that the kernel spreads connections evenly; measured with 1,000
connections at once on two workers: 488 and 512, against 366 and 634 where both accept from one socket. What lies in the
queue of a worker that is killed is lost with it, and its clients connect again.

The parent holds the port without listening, so that nobody else takes it and a port in use is one clear error. Workers
hold one end of a pipe: when the parent is gone, however it went, they end.

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

from roomcast.app.errors import AppFailed
from roomcast.observability.logs import label_logs
from roomcast.realtime import ServeError
from roomcast.realtime.serving.process import bind

logger = logging.getLogger(__name__)

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
#: Exit code of a worker that could not start, as of the command itself.
_FAILED: Final = 1
#: A signal can come just before the parent begins to wait for one.
_LONGEST_WAIT_S: Final = 1.0

Main = Callable[[int, Callable[[], None]], Coroutine[Any, Any, None]]
RunWorker = Callable[[Coroutine[Any, Any, None]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkersOptions:
    """How workers are kept running.

    Attributes:
        count: How many.
        retry_min_s: Pause before a worker that died is started again, doubled with each that dies early.
        retry_max_s: Longest such pause.
        early_s: A worker that dies within this time of its start died early.
        give_up_after: Early deaths in a row, of any workers, after which the parent gives up.
        stop_limit_s: How long workers may take to end, beyond which they are killed. Above their own limits.
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
        number: From 0.
        pid: Of its process; None: none runs.
        started_at: Monotonic seconds.
        start_at: When to start it again.
    """

    number: int
    pid: int | None = None
    started_at: float = 0.0
    start_at: float = 0.0


@dataclass(slots=True)
class _State:
    """What the parent knows.

    Attributes:
        ready: Workers that have served at least once.
        early_deaths: In a row.
        stopping: The signal that ends it all, once it came.
        forced: It came a second time.
    """

    ready: set[int] = field(default_factory=set)
    early_deaths: int = 0
    stopping: signal.Signals | None = None
    forced: bool = False


class Workers:
    """The parent of the workers. Make it before anything that has threads or a loop: it forks.

    Args:
        options: How many, and how they are kept.
        hosts: The addresses that they share.
        port: Their port.
        main: Makes the main coroutine of worker number n; the callback says that it serves.
        run_worker: Runs that to its end in a loop of its own; raises `AppFailed`.
        on_ready: Called once every worker serves.
    """

    def __init__(
        self,
        options: WorkersOptions,
        hosts: Sequence[str],
        port: int,
        main: Main,
        run_worker: RunWorker,
        on_ready: Callable[[], None],
    ) -> None:
        self._options = options
        self._hosts = hosts
        self._port = port
        self._main = main
        self._run_worker = run_worker
        self._on_ready = on_ready
        self._workers = [_Worker(number) for number in range(options.count)]
        self._state = _State()
        self._lifeline = os.pipe()
        self._news = os.pipe()

    def run(self) -> None:
        """Keep the workers running until a signal; then have them end.

        Raises:
            AppFailed: the port cannot be had, or workers cannot be started.
        """
        held = self._hold_port()
        os.set_blocking(self._news[0], False)
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        # Only to interrupt the wait below.
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
                self._read_news()
                if self._state.early_deaths >= self._options.give_up_after:
                    raise AppFailed("the workers cannot be kept running: each ends soon after its start (see the log)")
        finally:
            self._stop(wake_r)
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in (*self._lifeline, *self._news, wake_r, wake_w):
                os.close(descriptor)
            for listener in held:
                listener.close()

    # -- parent -------------------------------------------------------------------------------------------------------

    def _hold_port(self) -> list[socket.socket]:
        try:
            # First alone: others that share their ports would be let in beside us, and get half of our clients.
            for listener in [listener for host in self._hosts for listener in bind(host, self._port)]:
                listener.close()
            return [listener for host in self._hosts for listener in bind(host, self._port, shared=True)]
        except ServeError as error:
            raise AppFailed(str(error)) from error

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
        """Until a start is due, in seconds."""
        due = min((worker.start_at for worker in self._workers if worker.pid is None), default=float("inf"))
        return due - time.monotonic()

    def _wait(self, wake_r: int, limit_s: float) -> None:
        """Until a signal, or news of a worker."""
        select.select([wake_r, self._news[0]], [], [], max(0.0, min(limit_s, _LONGEST_WAIT_S)))
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
            self._state.early_deaths = self._state.early_deaths + 1 if early else 0
            if self._state.stopping is not None:
                continue
            if code == _FAILED and worker.number not in self._state.ready:
                # It said why. The others would say the same.
                raise AppFailed(f"worker {worker.number} could not start")
            doublings = max(self._state.early_deaths - 1, 0)
            pause_s = min(self._options.retry_min_s * 2**doublings, self._options.retry_max_s)
            worker.start_at = now + pause_s
            facts = {"worker": worker.number, "exit_code": code, "again_in_s": round(pause_s, 1)}
            logger.error("a worker ended by itself and is started again", extra=facts)

    def _read_news(self) -> None:
        ready = self._state.ready
        before = len(ready)
        ready.update(_drain(self._news[0]))
        if before < len(self._workers) == len(ready):
            self._on_ready()

    def _stop(self, wake_r: int) -> None:
        """End every worker: ask, ask again if the user does, and kill what is left."""
        number = self._state.stopping or signal.SIGTERM
        self._signal_all(number)
        forced = False
        deadline = time.monotonic() + self._options.stop_limit_s
        while any(worker.pid is not None for worker in self._workers) and time.monotonic() < deadline:
            self._wait(wake_r, deadline - time.monotonic())
            self._reap_silently()
            _drain(self._news[0])
            if self._state.forced and not forced:
                forced = True
                self._signal_all(signal.SIGINT)
        self._signal_all(signal.SIGKILL)
        for worker in self._workers:
            if worker.pid is not None:
                os.waitpid(worker.pid, 0)
                worker.pid = None

    def _reap_silently(self) -> None:
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
        # A signal that comes before the worker has left the parent's handlers behind waits until it has.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, handled)
        try:
            pid = os.fork()
            if not pid:
                self._work(number, handled, before)
            return pid
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _work(self, number: int, handled: Iterable[signal.Signals], mask: Iterable[int]) -> NoReturn:
        """Be a worker, to the end of this process."""
        code = _FAILED
        try:
            # Ctrl-C goes to everybody in the terminal's group; a worker that also had it from the parent would take
            # that for the second one, which means "at once".
            os.setpgid(0, 0)
            # What belongs to the parent.
            signal.set_wakeup_fd(-1)
            for known in handled:
                signal.signal(known, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(self._lifeline[1])
            os.close(self._news[0])
            label_logs(worker=number)
            self._run_worker(self._worker_main(number))
            code = 0
        except AppFailed as error:
            sys.stderr.write(f"roomcast: worker {number}: {error}\n")
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        except BaseException:
            logger.exception("a worker failed")
        finally:
            # Nothing of the parent's is to be cleaned up here, whatever becomes of the last words.
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(code)

    async def _worker_main(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        # Readable when the last other end is closed, and that is the parent's.
        loop.add_reader(self._lifeline[0], self._orphaned)
        await self._main(number, lambda: _tell(self._news[1], number))
        loop.remove_reader(self._lifeline[0])

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._lifeline[0])
        logger.error("the parent of the workers is gone: ending")
        os.kill(os.getpid(), signal.SIGTERM)


def _tell(descriptor: int, number: int) -> None:
    os.write(descriptor, bytes([number]))


def _drain(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except BlockingIOError:
        return b""
