"""Readiness: whether a load balancer should send clients to this process. Liveness is separate.

- A process is not ready before it serves and while it drains.
- A setting that no waiting can mend, such as a wrong password, keeps a process unready if the service has never worked
  since the start of the process: a rolling update stops before it replaces the processes that work. Later, for example
  after the password was changed, such a process is treated as in an outage.
- A process that has not reached Redis since its start is not ready, for any cause: a host name may be wrong. Once Redis
  has answered, silence is an outage.
- An outage of a service (Redis, the database) affects every process. If all of them became unready, a partial outage
  would become a full one. Therefore a process stays ready and reports ``degraded``, for `OUTAGE_LIMIT_S` at least, and
  for any time if the service is not required, or does a part of its work.
- While a required listener receives nothing although Redis works, the process is not ready: its clients would miss
  events. This includes the time until it first receives. A listener that is not required can make the process
  ``degraded`` only.

Layer: observability.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from roomcast.backoff import jittered
from roomcast.observability.http import HttpResponse, json_response

logger = logging.getLogger(__name__)

#: Seconds between two samples of the listeners and of Redis, and for which the result of another check is used.
SAMPLE_S: Final = 1.0
#: Longest wait of ``/ready`` for a check, in seconds. A probe of Kubernetes fails after 1 s without an answer.
CHECK_LIMIT_S: Final = 0.5
#: Seconds that a required listener may receive nothing while Redis works. Listeners report silence up to 5 s late.
SILENCE_LIMIT_S: Final = 3.0
#: Seconds that a required service may be unavailable. Each process uses a random value between 1 and 1.5 times this.
OUTAGE_LIMIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a service does not work.

    Attributes:
        cause: A few words for the answer of ``/ready``, which is public: no address, no name.
        partial: Whether the process does most of its work all the same, so that it stays ready for any time.
        lasting: Whether waiting cannot mend it: a setting is wrong, and ``cause`` names it.
        detail: More for the log.
    """

    cause: str
    partial: bool = False
    lasting: bool = False
    detail: str = ""


Probe = Callable[[], bool]
#: Uses a service as the process does; must not raise. None: it works.
Check = Callable[[], Awaitable[Problem | None]]


class _Service:
    """A service that the process uses, and the outcome of the latest check."""

    def __init__(self, name: str, check: Check, *, required: bool, worked: bool = False) -> None:
        self.name = name
        self.required = required
        self.problem: Problem | None = None
        self.failing_since: float | None = None
        self.worked = worked
        self._check = check
        self._checked_at: float | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def checked(self) -> bool:
        """Whether a check was completed since the start."""
        return self._checked_at is not None

    async def refresh(self, limit_s: float | None = None) -> None:
        """Check, unless a result is recent. Concurrent callers share one check, and wait for ``limit_s`` at most."""
        if self._running is None or self._running.done():
            if self._checked_at is not None and asyncio.get_running_loop().time() - self._checked_at < SAMPLE_S:
                return
            self._running = asyncio.create_task(self._run_check(), name=f"readiness-{self.name}")
        running = self._running
        # The first check has its own time limit only: before it, nothing is known about the settings.
        await asyncio.wait({running}, timeout=limit_s if self.checked else None)
        if not running.done():
            self._record(Problem("no answer in time"))

    async def stop(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})

    async def _run_check(self) -> None:
        try:
            problem = await self._check()
        except Exception:
            logger.exception("a readiness check failed", extra={"service": self.name})
            problem = Problem("the check failed")
        self._checked_at = asyncio.get_running_loop().time()
        self._record(problem)

    def _record(self, problem: Problem | None) -> None:
        before, self.problem = self.problem, problem
        if problem is None:
            self.failing_since = None
            self.worked = True
            if before is not None:
                logger.info("%s works again", self.name)
            return
        if self.failing_since is None:
            self.failing_since = asyncio.get_running_loop().time()
        if before is None or before.cause != problem.cause:
            level = logging.ERROR if problem.lasting else logging.WARNING
            logger.log(level, "%s: %s", self.name, problem.cause, extra={"detail": problem.detail or None})


class Readiness:
    """Answers ``/ready`` and ``/live``."""

    def __init__(self) -> None:
        self._listeners: dict[str, Probe] = {}
        self._optional: set[str] = set()
        self._redis: _Service | None = None
        self._services: list[_Service] = []
        # Random, so that the processes do not become unready simultaneously.
        self._outage_limit_s = jittered(OUTAGE_LIMIT_S, 1.0, 1.5)
        self._serving = False
        self._draining = False
        # Loop time at which each silent listener stopped receiving; -inf for one that has never received.
        self._silent_since: dict[str, float] = {}
        self._received: set[str] = set()

    def watch_redis(self, check: Check, *, required: bool = True) -> None:
        """Add the check of Redis, which runs once a second. While Redis does not work, no listener counts as silent."""
        self._redis = _Service("redis", check, required=required)

    def watch(self, name: str, check: Check, *, required: bool = True, worked: bool = False) -> None:
        """Add the check of another service. It runs when ``/ready`` is requested, at most once a second.

        Args:
            name: Appears in the answer of ``/ready``.
            check: See `Check`.
            required: Whether an outage makes the process unready after a while.
            worked: Whether the process has used the service already, so that its settings are right.
        """
        self._services.append(_Service(name, check, required=required, worked=worked))

    def add(self, name: str, receives: Probe, *, required: bool = True) -> None:
        """Add a listener.

        Args:
            name: Appears in the answer of ``/ready``.
            receives: Returns whether a recent probe proved that the listener receives messages.
            required: Whether the process is unready while the listener receives nothing.
        """
        self._listeners[name] = receives
        if not required:
            self._optional.add(name)

    def serving(self) -> None:
        """Record that every address accepts connections."""
        self._serving = True

    def drain(self) -> None:
        """Record that the shutdown has begun."""
        self._draining = True

    async def run(self) -> None:
        """Sample the listeners and Redis until cancelled."""
        try:
            while True:
                await self._sample()
                await asyncio.sleep(SAMPLE_S)
        finally:
            for service in self._services:
                await service.stop()

    async def _sample(self) -> None:
        now = asyncio.get_running_loop().time()
        silent = [name for name, receives in self._listeners.items() if not receives()]
        self._received |= self._listeners.keys() - set(silent)
        if self._redis is not None:
            await self._redis.refresh()
            if self._redis.problem is not None:
                self._silent_since.clear()
                return
        since = {name: now if name in self._received else float("-inf") for name in silent}
        self._silent_since = since | {name: at for name, at in self._silent_since.items() if name in since}

    @property
    def _watched(self) -> list[_Service]:
        return self._services if self._redis is None else [self._redis, *self._services]

    @property
    def _problems(self) -> list[tuple[_Service, Problem]]:
        return [(service, service.problem) for service in self._watched if service.problem is not None]

    @property
    def reasons(self) -> list[str]:
        """The reasons why the process is not ready; empty if it is ready."""
        now = asyncio.get_running_loop().time()
        checked = all(service.checked for service in self._watched)
        reasons = [] if self._serving and checked else ["starting"]
        if self._draining:
            reasons.append("draining")
        reasons += [
            f"not receiving: {name}"
            for name, since in self._silent_since.items()
            if now - since >= SILENCE_LIMIT_S and name not in self._optional
        ]
        for service, problem in self._problems:
            late = service.failing_since is not None and now - service.failing_since >= self._outage_limit_s
            absent = problem.lasting or (service is self._redis and not problem.partial)
            if (absent and not service.worked) or (service.required and late and not problem.partial):
                reasons.append(f"{service.name}: {problem.cause}")
        return reasons

    async def refresh(self) -> None:
        """Check what has no recent result, within `CHECK_LIMIT_S`."""
        await asyncio.gather(*(service.refresh(CHECK_LIMIT_S) for service in self._services))
        if self._listeners.keys() - self._received or (self._redis is not None and not self._redis.checked):
            await self._sample()

    def services_up(self) -> dict[str, bool]:
        """Whether each service and each listener works, by its name in the answer of ``/ready``."""
        services = {service.name: service.checked and service.problem is None for service in self._watched}
        return services | {name: receives() for name, receives in self._listeners.items()}

    async def ready(self) -> HttpResponse:
        """The response to ``GET /ready``: 200, or 503 with the reasons."""
        await self.refresh()
        reasons = self.reasons
        if reasons:
            return json_response(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "reasons": reasons})
        causes = {service.name: problem.cause for service, problem in self._problems}
        if self._silent_since.keys() - self._optional:
            causes.setdefault("redis", "events do not arrive")
        for name in self._silent_since.keys() & self._optional:
            causes[name] = "events do not arrive"
        body = {"status": "ready", "degraded": list(causes), **({"causes": causes} if causes else {})}
        return json_response(HTTPStatus.OK, body)

    def live(self) -> HttpResponse:
        """The response to ``GET /live``, which proves that the event loop runs."""
        return json_response(HTTPStatus.OK, {"status": "alive"})
