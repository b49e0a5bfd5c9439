"""Runs what was planned: builds the parts bottom-up, serves, and ends them in the reverse order, each within a limit.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from roomcast.api.app import create_api
from roomcast.api.services import ApiServices
from roomcast.app.admission import LocalAdmission
from roomcast.app.errors import AppFailed
from roomcast.app.parts import Parts
from roomcast.app.plan import Plan
from roomcast.auth.tokens import TokenIssuer, TokenVerifier
from roomcast.chat.admission import Admissions
from roomcast.chat.ports import EventLog, Responder, SystemClock
from roomcast.chat.reading import ChatReader
from roomcast.chat.relay import Relay, RelayOptions
from roomcast.chat.writing import ChatOptions, ChatWriter
from roomcast.eventlog.memory import MemoryEventLog
from roomcast.gateway.admission_open import OpenAdmission
from roomcast.gateway.service import Gateway
from roomcast.observability.connections import ConnectionLog
from roomcast.realtime import ServeError, Site, loop_factory, serve
from roomcast.realtime.proxies import ASGIApp
from roomcast.responders.demo import DemoResponder
from roomcast.store.database import DatabaseOptions, sqlite_url
from roomcast.store.errors import StoreError
from roomcast.store.opening import Store, open_store
from roomcast.worker.service import Worker

logger = logging.getLogger(__name__)

#: For parts that are cancelled, and for the relay's last work: with the drain this is less than 5 s.
STOP_LIMIT_S: Final = 0.75

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
        log = MemoryEventLog()
        core = await process.enter(_core(plan, log, process.parts))
        gateway = Gateway(log, LocalAdmission(core.admissions), plan.gateway, observer=ConnectionLog())
        process.stack.push_async_callback(gateway.close)
        process.parts.start("gateway's sweeper", gateway.run())
        if plan.one_port:
            await process.serve([(gateway.asgi(core.api), plan.api_port)])
        else:
            await process.serve([(core.api, plan.api_port), (gateway.asgi(), plan.gateway_port)])


async def run_api(plan: Plan, on_ready: OnReady) -> None:
    """The API, the page and the worker; see `run_up`."""
    async with _process(plan, on_ready) as process:
        core = await process.enter(_core(plan, MemoryEventLog(), process.parts))
        await process.serve([(core.api, plan.api_port)])


async def run_gateway(plan: Plan, on_ready: OnReady) -> None:
    """The gateway alone; see `run_up`."""
    async with _process(plan, on_ready) as process:
        logger.warning("Redis not configured - single instance mode")
        log = MemoryEventLog()
        gateway = _follow(plan, log, process) if plan.api_url else _stand_alone(plan, log)
        process.stack.push_async_callback(gateway.close)
        process.parts.start("gateway's sweeper", gateway.run())
        await process.serve([(gateway.asgi(), plan.gateway_port)])


def _stand_alone(plan: Plan, log: EventLog) -> Gateway:
    return Gateway(log, OpenAdmission(log), plan.gateway, observer=ConnectionLog())


def _follow(plan: Plan, log: EventLog, process: _Process) -> Gateway:
    from roomcast.gateway.api_client import ApiClient, ApiClientOptions
    from roomcast.gateway.following import ApiFollower

    issuer = None if plan.auth is None else TokenIssuer(plan.auth)
    api = ApiClient(ApiClientOptions(url=plan.api_url or ""), issuer)
    process.stack.push_async_callback(api.close)
    follower = ApiFollower(api, log, lambda: gateway.feeds.chat_ids)
    gateway = Gateway(log, follower, plan.gateway, observer=ConnectionLog())
    process.parts.start("API's follower", follower.run())
    return gateway


@asynccontextmanager
async def _core(plan: Plan, log: EventLog, parts: Parts) -> AsyncIterator[_Core]:
    """Store, relay, worker and API, started; at the end stopped, what was accepted by then committed."""
    if plan.database is None:
        raise ValueError("a plan without a database has no core")
    async with open_store(DatabaseOptions(url=sqlite_url(plan.database))) as store:
        relay = Relay(store.chats, log, RelayOptions(stop_limit_s=STOP_LIMIT_S))
        await relay.start()
        parts.start("relay", relay.supervise())
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
