"""One process: its parts, what it tells of itself, what it shares with other processes, and the serving of its sites.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from roomcast.app.internal import InternalSite
from roomcast.app.metrics import build_families, directory_families, log_families
from roomcast.app.parts import Parts
from roomcast.app.plan import Plan
from roomcast.chat.ports import EventLog, PresenceBoard
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.observability.http import Route
from roomcast.observability.metrics import LoopLag, Metrics
from roomcast.observability.readiness import Readiness
from roomcast.realtime import Site, serve
from roomcast.realtime.transports.application import Application
from roomcast.realtime.transports.proxies import ASGIApp

if TYPE_CHECKING:
    from roomcast.app.cluster import Cluster
    from roomcast.realtime.forwarding.redis_directory import RedisDirectory

logger = logging.getLogger(__name__)

#: For parts that are cancelled, and for the relay's last work: with the drain this is less than 5 s.
STOP_LIMIT_S: Final = 0.75

OnReady = Callable[[], None]


class Process:
    """One process's parts, and the serving of its sites."""

    def __init__(self, plan: Plan, on_ready: OnReady, stack: AsyncExitStack) -> None:
        self.stack = stack
        self._stop = asyncio.Event()
        self.parts = Parts(self._stop, STOP_LIMIT_S)
        self._plan = plan
        self._on_ready = on_ready
        self.readiness = Readiness()
        self.metrics = Metrics()
        lag = LoopLag()
        self.metrics.add(build_families)
        self.metrics.add(lag.families)
        #: What is told at the public addresses, too: nothing of it is secret.
        self.routes: dict[str, Route] = {"/live": self.readiness.live, "/ready": self.readiness.ready}
        self.internal: InternalSite | None = None
        if plan.internal is not None:
            self.internal = InternalSite(plan.internal, {**self.routes, "/metrics": self.metrics.answer})
        self.parts.start("sampler of the loop's lag", lag.run())
        self.parts.start("readiness", self.readiness.run())

    def admit_nodes(self, application: Application, shared: Shared) -> None:
        """Let the other gateways reach this one's sessions, if there are any."""
        if self.internal is not None and shared.cluster is not None and shared.directory is not None:
            self.internal.admit_nodes(application, shared.cluster, shared.directory)

    async def serve(self, apps: Sequence[tuple[ASGIApp, int | None]]) -> None:
        """Serve each application on its port until a signal, or until a part dies."""
        shared = self._plan.workers > 1
        sites = [Site(app, host, port or 0, shared=shared) for app, port in apps for host in self._plan.where.bind]
        if self.internal is not None:
            sites.append(self.internal.site)

        def ready(addresses: Sequence[Sequence[tuple[str, int]]]) -> None:
            if self.internal is not None:
                self.internal.bound(addresses[-1][0][1])
            self.readiness.serving()
            self._on_ready()

        options = replace(self._plan.serve, on_ready=ready, on_unready=self.readiness.drain)
        reason = await serve(sites, options, stop=self._stop)
        self.parts.check()
        logger.info("stopping", extra={"signal": None if reason is None else reason.name})


@asynccontextmanager
async def running_process(plan: Plan, on_ready: OnReady) -> AsyncIterator[Process]:
    """A process that ends what was started in it, in the reverse order."""
    async with AsyncExitStack() as stack:
        process = Process(plan, on_ready, stack)
        stack.push_async_callback(process.parts.stop)
        yield process


@dataclass(frozen=True, slots=True)
class Shared:
    """The log, and what else a process shares with others.

    Attributes:
        log: In Redis, or in this process alone.
        cluster: The way to the others; None: there are none.
        directory: Where the other gateways are; None: there are none.
        board: Where they note who is in which chat; None: there are none.
        on_reconnect: Adds a callback for when the log's live feed was away and is back.
    """

    log: EventLog
    cluster: Cluster | None
    directory: RedisDirectory | None
    board: PresenceBoard | None
    on_reconnect: Callable[[Callable[[], None]], None]


async def shared_parts(plan: Plan, process: Process) -> Shared:
    """Reach the others, if there are any."""
    if plan.redis is None:
        return Shared(MemoryEventLog(), None, None, None, lambda _callback: None)
    from roomcast.app.cluster import Cluster

    cluster = Cluster(plan.redis)
    if process.internal is not None:
        process.internal.face(cluster)
    log = await process.stack.enter_async_context(cluster.log())
    process.metrics.add(lambda: log_families(log.counters))
    process.readiness.watch_redis(log.reachable)
    process.readiness.add("event log", lambda: log.healthy)
    if plan.internal is None or plan.gateway_port is None:
        return Shared(log, cluster, None, None, log.on_reconnect)
    directory, board = await process.stack.enter_async_context(cluster.neighbours())
    process.metrics.add(lambda: directory_families(directory))
    process.parts.start("directory of gateways", directory.run())
    log.on_reconnect(directory.renew_soon)
    return Shared(log, cluster, directory, board, log.on_reconnect)
