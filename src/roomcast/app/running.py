"""Runs what was planned: builds the parts bottom-up, serves, and ends them in the reverse order, each within a limit.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from roomcast.api.app import create_api
from roomcast.api.services import ApiServices
from roomcast.app.admission import LocalAdmission
from roomcast.app.errors import AppFailed
from roomcast.app.migrating import database_options
from roomcast.app.parts import Parts
from roomcast.app.plan import Plan
from roomcast.auth.tokens import TokenIssuer, TokenVerifier
from roomcast.chat.admission import Admissions
from roomcast.chat.ports import EventLog, Responder, SystemClock
from roomcast.chat.reading import ChatReader
from roomcast.chat.relay import Relay, RelayOptions
from roomcast.chat.writing import ChatOptions, ChatWriter
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.gateway.admission_http import HttpAdmission
from roomcast.gateway.admission_open import OpenAdmission
from roomcast.gateway.ports import ChatAdmission
from roomcast.gateway.service import Gateway
from roomcast.observability.connections import ConnectionLog
from roomcast.realtime import ServeError, Site, loop_factory, serve
from roomcast.realtime.proxies import ASGIApp
from roomcast.responders.demo import DemoResponder
from roomcast.store.errors import StoreError
from roomcast.store.opening import Store, open_store
from roomcast.worker.service import Worker

if TYPE_CHECKING:
    from roomcast.app.cluster import Cluster
    from roomcast.gateway.api_client import ApiClient

logger = logging.getLogger(__name__)

#: For parts that are cancelled, and for the relay's last work: with the drain this is less than 5 s.
STOP_LIMIT_S: Final = 0.75
#: How long a committed message waits for another replica's relay, if its own died before it was published.
SHARED_SWEEP_S: Final = 2.0

OnReady = Callable[[], None]


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a process's main coroutine to its end.

    Raises:
        AppFailed: it could not start, or a part died; the text is for a person.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(main)
    except (StoreError, ServeError) as error:
        raise AppFailed(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Core:
    """What has a database: the use cases and what runs behind them."""

    api: ASGIApp
    admissions: Admissions


async def run_up(plan: Plan, on_ready: OnReady) -> None:
    """Everything in one process, until a signal.

    Args:
        plan: What to start.
        on_ready: Called once every address answers.

    Raises:
        StoreError: the data cannot be used.
        ServeError: an address cannot be used.
        PartDied: a part ended by itself.
    """
    async with _process(plan, on_ready) as process:
        shared = await _shared(plan, process)
        core = await process.enter(_core(plan, shared, process.parts))
        gateway = _gateway(plan, shared, LocalAdmission(core.admissions), process)
        if plan.one_port:
            await process.serve([(gateway.asgi(core.api), plan.api_port)])
        else:
            await process.serve([(core.api, plan.api_port), (gateway.asgi(), plan.gateway_port)])


async def run_api(plan: Plan, on_ready: OnReady) -> None:
    """The API, the page and the worker; see `run_up`."""
    async with _process(plan, on_ready) as process:
        core = await process.enter(_core(plan, await _shared(plan, process), process.parts))
        await process.serve([(core.api, plan.api_port)])


async def run_gateway(plan: Plan, on_ready: OnReady) -> None:
    """The gateway alone; see `run_up`."""
    async with _process(plan, on_ready) as process:
        shared = await _shared(plan, process)
        if shared.cluster is None:
            logger.warning("Redis not configured - single instance mode")
        if plan.api_url is None:
            gateway = _gateway(plan, shared, OpenAdmission(shared.log), process)
        elif shared.cluster is None:
            gateway = _follow(plan, shared, process)
        else:
            gateway = _gateway(plan, shared, HttpAdmission(_api_client(plan, process)), process)
        await process.serve([(gateway.asgi(), plan.gateway_port)])


@dataclass(frozen=True, slots=True)
class _Shared:
    """The log, and what else a process shares with others.

    Attributes:
        log: In Redis, or in this process alone.
        cluster: The way to the others; None: there are none.
        on_reconnect: Adds a callback for when the log's live feed was away and is back.
    """

    log: EventLog
    cluster: Cluster | None
    on_reconnect: Callable[[Callable[[], None]], None]


async def _shared(plan: Plan, process: _Process) -> _Shared:
    if plan.redis is None:
        return _Shared(MemoryEventLog(), None, lambda _callback: None)
    from roomcast.app.cluster import Cluster

    cluster = Cluster(plan.redis)
    log = await process.stack.enter_async_context(cluster.log())
    return _Shared(log, cluster, log.on_reconnect)


def _gateway(plan: Plan, shared: _Shared, admission: ChatAdmission, process: _Process) -> Gateway:
    """A gateway with its background work; its feeds end with the process."""
    cluster = shared.cluster
    adapter = None if cluster is None else cluster.adapter()
    gateway = Gateway(shared.log, admission, plan.gateway, observer=ConnectionLog(), adapter=adapter)
    process.stack.push_async_callback(gateway.close)
    process.parts.start("gateway's sweeper", gateway.run())
    shared.on_reconnect(gateway.feeds.sweep_soon)
    if cluster is not None and plan.guide_ingress:
        process.parts.start("guide's ingress", cluster.ingress(gateway.server).run())
    return gateway


def _api_client(plan: Plan, process: _Process) -> ApiClient:
    from roomcast.gateway.api_client import ApiClient, ApiClientOptions

    issuer = None if plan.auth is None else TokenIssuer(plan.auth)
    api = ApiClient(ApiClientOptions(url=plan.api_url or ""), issuer)
    process.stack.push_async_callback(api.close)
    return api


def _follow(plan: Plan, shared: _Shared, process: _Process) -> Gateway:
    from roomcast.gateway.following import ApiFollower

    follower = ApiFollower(_api_client(plan, process), shared.log, lambda: gateway.feeds.chat_ids)
    gateway = _gateway(plan, shared, follower, process)
    process.parts.start("API's follower", follower.run())
    return gateway


@asynccontextmanager
async def _core(plan: Plan, shared: _Shared, parts: Parts) -> AsyncIterator[_Core]:
    """Store, relay, worker and API, started; at the end stopped, what was accepted by then committed."""
    # A relay that shares its database looks for what another one left: it may have died between commit and publish.
    sweep_every_s = None if shared.cluster is None else SHARED_SWEEP_S
    async with open_store(database_options(plan.database, plan.database_url)) as store:
        relay = Relay(store.chats, shared.log, RelayOptions(stop_limit_s=STOP_LIMIT_S, sweep_every_s=sweep_every_s))
        await relay.start()
        parts.start("relay", relay.supervise())
        shared.on_reconnect(relay.restore)
        try:
            yield _build_core(plan, store, relay, parts)
        finally:
            await parts.stop()
            await relay.stop()


def _build_core(plan: Plan, store: Store, relay: Relay, parts: Parts) -> _Core:
    responders: dict[str, Responder] = {}
    if plan.responder == "demo":
        demo = DemoResponder()
        responders[demo.name] = demo

    # Writer and worker need each other: a message wakes the worker, an answer is written by the writer.
    def wake_worker() -> None:
        worker.wake()

    writer = ChatWriter(
        store.chats,
        relay,
        wake_worker=wake_worker,
        options=ChatOptions(default_responder=next(iter(responders), None)),
    )
    worker = Worker(store.turns, writer, responders, SystemClock())
    parts.start("worker", worker.run())
    admissions = Admissions(store.chats, relay)
    services = ApiServices(
        writer=writer,
        reader=ChatReader(store.chats),
        admissions=admissions,
        verifier=None if plan.auth is None else TokenVerifier(plan.auth),
    )
    return _Core(create_api(services, plan.api), admissions)


class _Process:
    """One process's parts, and the serving of its sites."""

    def __init__(self, plan: Plan, on_ready: OnReady, stack: AsyncExitStack) -> None:
        self.stack = stack
        self._stop = asyncio.Event()
        self.parts = Parts(self._stop, STOP_LIMIT_S)
        self._plan = plan
        self._on_ready = on_ready

    async def enter(self, core: Any) -> _Core:
        """Enter a context that ends with the process."""
        entered: _Core = await self.stack.enter_async_context(core)
        return entered

    async def serve(self, apps: Sequence[tuple[ASGIApp, int | None]]) -> None:
        """Serve each application on its port until a signal, or until a part dies."""
        sites = [Site(app, host, port or 0) for app, port in apps for host in self._plan.where.bind]
        options = replace(self._plan.serve, on_ready=lambda _addresses: self._on_ready())
        reason = await serve(sites, options, stop=self._stop)
        self.parts.check()
        logger.info("stopping", extra={"signal": None if reason is None else reason.name})


@asynccontextmanager
async def _process(plan: Plan, on_ready: OnReady) -> AsyncIterator[_Process]:
    async with AsyncExitStack() as stack:
        process = _Process(plan, on_ready, stack)
        stack.push_async_callback(process.parts.stop)
        yield process
