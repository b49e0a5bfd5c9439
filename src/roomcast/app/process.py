"""The parts of every process: background tasks, readiness, metrics, internal address, shared services, sites.

Layer: app.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from roomcast.app.config import ProcessConfig
from roomcast.app.errors import AppError
from roomcast.app.internal_site import InternalSite
from roomcast.app.metrics import (
    build_families,
    directory_families,
    limit_families,
    log_families,
    readiness_families,
    redis_families,
    shared_limit_families,
)
from roomcast.app.tasks import BackgroundTasks
from roomcast.auth.ended_sessions import EndedSessions
from roomcast.chat.ports import EventLog, PresenceBoard, RateLimiter, Tracer, TurnStreams
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.eventlog.memory_streams import MemoryTurnStreams
from roomcast.limits.memory import MemoryRateLimiter
from roomcast.observability.http import HttpResponse, Route
from roomcast.observability.metrics import LoopLag, Metrics
from roomcast.observability.readiness import Problem, Readiness
from roomcast.realtime import AddressInUse, AddressUnavailable, Site, serve
from roomcast.realtime.transports.application import Application
from roomcast.realtime.transports.proxies import ASGIApp

if TYPE_CHECKING:
    from roomcast.app.redis_services import RedisServices
    from roomcast.eventlog.redis import RedisEventLog
    from roomcast.observability.tracing import OtelTracer
    from roomcast.realtime.forwarding.redis_directory import RedisDirectory

logger = logging.getLogger(__name__)

#: Seconds that cancelled tasks may take to end, and again each step of the relay's stop. The drain and these limits
#: add up to less than 5 s.
STOP_LIMIT_S: Final = 0.75

# Objects that the garbage collector leaves alone until it looks for cycles among them; Python waits for 700. Each may
# keep a body of up to 1 MB alive.
_YOUNG_OBJECTS: Final = 3_000

# Redis stores nothing, but events are published (``eventlog/redis/lua/writing.lua``).
_STILL_PUBLISHING: Final = frozenset({"OOM", "NOREPLICAS", "MISCONF"})

OnReady = Callable[[], None]


class Process:
    """The parts of a process that do not depend on the services that it runs.

    Attributes:
        config: The configuration of the process.
        tracer: Records spans; None: tracing is off.
        stack: The resources to close when the process ends, the newest first.
        tasks: The background tasks.
        readiness: Answers ``/ready`` and ``/live``.
        metrics: Answers ``/metrics``.
        routes: Handlers by path on the public addresses. They need no authentication.
        internal: The internal site; None: not configured.
        ended: The access tokens that were ended before their expiry; None: authentication is off.
    """

    def __init__(
        self, config: ProcessConfig, on_ready: OnReady, stack: AsyncExitStack, tracer: Tracer | None = None
    ) -> None:
        self.config = config
        self.tracer = tracer
        self.stack = stack
        self._on_ready = on_ready
        self._stop = asyncio.Event()
        self._on_drain: list[Callable[[], None]] = []
        self.tasks = BackgroundTasks(self._stop, STOP_LIMIT_S)
        self.readiness = Readiness()
        self.metrics = Metrics()
        lag = LoopLag()
        self.metrics.add(build_families)
        self.metrics.add(lag.families)
        self.metrics.add(lambda: readiness_families(self.readiness))
        self.routes: dict[str, Route] = {"/live": self.readiness.live, "/ready": self.readiness.ready}
        self.internal: InternalSite | None = None
        self.ended = None if config.settings.auth is None else EndedSessions()
        if config.internal is not None:
            routes = {**self.routes, "/metrics": self._scrape}
            self.internal = InternalSite(config.internal, config.settings.redis, routes)
        self.tasks.start("event loop monitor", lag.run())
        self.tasks.start("readiness", self.readiness.run())

    async def _scrape(self) -> HttpResponse:
        await self.readiness.refresh()
        return self.metrics.response()

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Register a callback, which is called when the shutdown begins, before anything is closed."""
        self._on_drain.append(callback)

    def _drain(self) -> None:
        self.readiness.drain()
        for callback in self._on_drain:
            callback()

    async def serve(self, apps: Sequence[tuple[ASGIApp, int | None]]) -> None:
        """Serve each application on its port until a signal, or until a background task ends without being stopped.

        Raises:
            ServeError: an address cannot be used.
            AppError: the internal address cannot be used.
            TaskFailed: a background task ended without being stopped.
        """
        shared = self.config.workers > 1
        sites = [Site(app, host, port or 0, shared=shared) for app, port in apps for host in self.config.listen.bind]
        if self.internal is not None:
            sites.append(self.internal.site)

        def ready(addresses: Sequence[Sequence[tuple[str, int]]]) -> None:
            if self.internal is not None:
                self.internal.bound(addresses[-1][0][1])
            _settle_collector()
            self.readiness.serving()
            self._on_ready()

        options = replace(self.config.serve, on_ready=ready, on_unready=self._drain)
        try:
            reason = await serve(sites, options, stop=self._stop)
        except (AddressInUse, AddressUnavailable) as error:
            if self.internal is None or error.port != self.internal.site.port:
                raise
            names = "ROOMCAST_INTERNAL_HOST and ROOMCAST_INTERNAL_PORT"
            raise AppError(f"{error}; {names} set the internal address") from error
        self.tasks.check()
        logger.info("stopping", extra={"signal": None if reason is None else reason.name})

    def serve_gateways(self, api: ASGIApp) -> None:
        """Serve the API for gateways on the internal address, if there is one."""
        if self.internal is not None:
            self.internal.serve(api)

    def accept_forwarded(self, application: Application, shared: SharedServices) -> None:
        """Let the other gateways forward requests to the sessions of this gateway."""
        if self.internal is not None and shared.directory is not None:
            self.internal.accept_forwarded(application, shared.directory)


def _settle_collector() -> None:
    """Leave what the start has created, modules above all, out of all further runs of the garbage collector.

    A full run over it stops the process for 50 to 100 ms. What requests create is freed without the collector as a
    rule, so that it may run less often.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


@asynccontextmanager
async def running_process(config: ProcessConfig, on_ready: OnReady) -> AsyncIterator[Process]:
    """Start a process. On exit the resources in its ``stack`` are closed.

    Args:
        config: The configuration of the process.
        on_ready: Called once every address accepts connections.
    """
    async with AsyncExitStack() as stack:
        tracer = _build_tracer(config)
        if tracer is not None:
            stack.push_async_callback(tracer.close)
        process = Process(config, on_ready, stack, tracer)
        stack.push_async_callback(process.tasks.stop)
        yield process


def _build_tracer(config: ProcessConfig) -> OtelTracer | None:
    if not config.settings.tracing:
        return None
    try:
        # The SDK reads variables at its import, too.
        from roomcast.observability.tracing import OtelTracer

        return OtelTracer(config.service)
    except ModuleNotFoundError as error:
        logger.warning("nothing is traced: install roomcast[otel], or unset OTEL_EXPORTER_OTLP_ENDPOINT (%s)", error)
        return None
    except (ValueError, RuntimeError) as error:
        raise AppError(f"a variable OTEL_… is invalid: {error}") from error


@dataclass(frozen=True, slots=True)
class SharedServices:
    """The services that a process shares with other processes. Without Redis there is only a log, in memory.

    Attributes:
        log: The event log.
        streams: The chunks of the answers that are being written.
        limiter: Limits what users and addresses do.
        redis: Builds further services; None: Redis is not configured.
        directory: The directory of gateways; None: Redis is not configured, or the process has no gateway.
        board: The presence board; None in the same cases as ``directory``.
        on_reconnect: Registers a callback, which is called each time the live feed of the log has reconnected.
    """

    log: EventLog
    streams: TurnStreams
    limiter: RateLimiter
    redis: RedisServices | None
    directory: RedisDirectory | None
    board: PresenceBoard | None
    on_reconnect: Callable[[Callable[[], None]], None]


async def connect_shared(process: Process) -> SharedServices:
    """Build the shared services of a process. They connect in the background and are closed with the process."""
    config = process.config
    if config.settings.redis is None:
        memory = MemoryEventLog()
        local = MemoryRateLimiter(config.settings.rate_limits.rates)
        process.metrics.add(lambda: limit_families(local))
        return SharedServices(memory, MemoryTurnStreams(memory), local, None, None, None, lambda _callback: None)
    from roomcast.app.redis_services import RedisServices

    redis = await process.stack.enter_async_context(RedisServices(config.settings.redis))
    log = await process.stack.enter_async_context(redis.event_log())
    process.metrics.add(lambda: log_families(log))
    process.metrics.add(lambda: redis_families(redis.durations))
    limiter = redis.rate_limiter(config.settings.rate_limits.rates)
    process.metrics.add(lambda: limit_families(limiter))
    process.metrics.add(lambda: shared_limit_families(limiter))
    process.tasks.start("rate limits", limiter.run())
    # Without a gateway the process has no clients that could miss events: messages are stored, and published later.
    required = config.gateway_port is not None
    process.readiness.watch_redis(lambda: _check_log(log), required=required)
    process.readiness.add("event log", lambda: log.receives, required=required)
    if config.internal is None or config.gateway_port is None:
        return SharedServices(log, redis.turn_streams(), limiter, redis, None, None, log.on_reconnect)
    directory, board = await process.stack.enter_async_context(redis.node_services())
    process.metrics.add(lambda: directory_families(directory))
    process.tasks.start("gateway directory", directory.run())
    log.on_reconnect(directory.renew_soon)
    return SharedServices(log, redis.turn_streams(), limiter, redis, directory, board, log.on_reconnect)


async def _check_log(log: RedisEventLog) -> Problem | None:
    error = await log.check()
    if error is None:
        return None
    return Problem(
        error.advice or error.code or "no answer",
        partial=error.code in _STILL_PUBLISHING,
        lasting=error.advice is not None,
        detail=str(error),
    )
