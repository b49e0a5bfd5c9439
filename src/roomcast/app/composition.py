"""The composition of every command: `roomcast up`, `api`, `worker` and `gateway`. Start reading here.

`run_process` builds its services, dependencies first, serves until a signal, and closes the services in reverse order.
Modules that only some processes need are imported inside the functions: a gateway alone imports no database driver and
no web framework.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from roomcast.app.config import ProcessConfig
from roomcast.app.errors import AppError
from roomcast.app.metrics import adapter_families, connection_families, gateway_families, ingress_families
from roomcast.app.parts.sessions import follow_ended_sessions, read_from
from roomcast.app.process import OnReady, Process, SharedServices, connect_shared, running_process
from roomcast.auth.tokens import TokenIssuer
from roomcast.gateway.announcing import RoomAnnouncer
from roomcast.gateway.ingress import CHANNEL, Ingress
from roomcast.gateway.ports import ApiRefused, ApiUnavailable, ChatAdmission
from roomcast.gateway.service import Gateway
from roomcast.observability.connections import ConnectionLog
from roomcast.observability.http import PlainApp
from roomcast.observability.logs import log_loop_error
from roomcast.observability.readiness import Problem
from roomcast.realtime import ServeError, loop_factory
from roomcast.realtime.transports.proxies import ASGIApp
from roomcast.store.errors import StoreError

if TYPE_CHECKING:
    from roomcast.app.backend import Backend
    from roomcast.gateway.api.admission import HttpAdmission

logger = logging.getLogger(__name__)

#: Worker processes are killed this many seconds after their own time limits for stopping.
_KILL_AFTER_S: Final = 5.0
#: How long tasks and threads may take to end after the services have stopped.
_CLOSE_LIMIT_S: Final = 3.0


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run one of the coroutines below to its end.

    Raises:
        AppError: the process could not start, or a background task failed.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.get_loop().set_exception_handler(log_loop_error)
            runner.run(main)
            _exit_soon()
    except (StoreError, ServeError) as error:
        raise AppError(str(error)) from error


def _exit_soon() -> None:
    """End the process `_CLOSE_LIMIT_S` from now, if it has not ended by itself.

    Python waits for every task and every thread, and a team's responder may ignore its cancellation or block a thread.
    """

    def exit_now() -> None:
        logger.warning("a task or a thread, for example of a responder, does not end: the process ends without it")
        os._exit(0)

    timer = threading.Timer(_CLOSE_LIMIT_S, exit_now)
    timer.daemon = True
    timer.start()


async def run_process(config: ProcessConfig, on_ready: OnReady) -> None:
    """Serve what the configuration has: API, worker, gateway, or several of them. The only path of every start.

    Args:
        config: See `roomcast.app.config`.
        on_ready: Called once every address accepts connections.

    Raises:
        StoreError: the database cannot be used.
        ServeError: an address cannot be used.
        TaskFailed: a background task ended without being stopped.
    """
    async with running_process(config, on_ready) as process:
        shared = await connect_shared(process)
        _warn_of_limits(config, shared)
        backend = None
        if config.database is not None:
            from roomcast.app.backend import running_backend

            backend = await process.stack.enter_async_context(running_backend(process, shared))
        gateway = None
        if config.gateway_port is not None:
            admission = _build_admission(process, shared) if backend is None else backend.local_admission()
            gateway = build_gateway(process, shared, admission)
        if backend is not None:
            if gateway is not None:
                backend.announce_through(RoomAnnouncer(gateway.server))
            elif shared.redis is not None:
                backend.announce_through(RoomAnnouncer(shared.redis.emitter()))
        await process.serve(_sites(process, shared, backend, gateway))


def _sites(
    process: Process, shared: SharedServices, backend: Backend | None, gateway: Gateway | None
) -> list[tuple[ASGIApp, int | None]]:
    """The applications of a process and their ports. With one port, the gateway serves the API too."""
    config = process.config
    api = None
    if backend is not None and backend.api is not None and backend.internal_api is not None:
        process.serve_gateways(backend.internal_api)
        api = PlainApp(process.routes, backend.api)
    sites: list[tuple[ASGIApp, int | None]] = []
    if api is not None and not config.one_port:
        sites.append((api, config.api_port))
    if gateway is not None:
        application = gateway.asgi(api if config.one_port else None, process.routes)
        process.accept_forwarded(application, shared)
        sites.append((application, config.gateway_port))
    return sites


def _warn_of_limits(config: ProcessConfig, shared: SharedServices) -> None:
    """Log what a process cannot do in its configuration."""
    with_api, with_gateway = config.api_port is not None, config.gateway_port is not None
    if shared.redis is None and with_gateway and not with_api:
        # The text before the colon is the guide's.
        logger.warning("Redis not configured - single instance mode: chat events need REDIS_HOST or REDIS_URL")
    if config.settings.api_url is None and with_gateway and not with_api:
        logger.warning(
            "API_URL is not set: every client may join every chat, and only events that are still in the log are"
            " replayed; set it to the internal address of an API, which knows the members and the history"
        )
    if shared.redis is None and not with_gateway and not with_api:
        logger.warning(
            "without Redis no client sees an answer while it grows, and other processes learn of it late:"
            " set REDIS_HOST or REDIS_URL"
        )


def run_gateway_workers(config: ProcessConfig, on_ready: OnReady) -> None:
    """Serve several gateways on one port, each in a process of its own.

    Raises:
        AppError: the port cannot be bound, or the workers keep failing.
    """
    from roomcast.app.worker_processes import WorkerOptions, WorkerProcesses

    serve = config.serve
    stop_limit_s = serve.unready_s + serve.drain_limit_s + serve.shutdown_limit_s + _KILL_AFTER_S
    WorkerProcesses(
        WorkerOptions(count=config.workers, stop_limit_s=stop_limit_s),
        config.listen.bind,
        config.gateway_port or 0,
        lambda number, ready: run_process(config.for_worker(number), ready),
        run,
        on_ready,
    ).run()


def build_gateway(process: Process, shared: SharedServices, admission: ChatAdmission) -> Gateway:
    """Build a gateway, and start its background tasks. The process closes the gateway and stops the tasks at its end.

    Args:
        process: The process that the gateway runs in.
        shared: Log, directory and presence board.
        admission: Decides whether a user may follow a chat.
    """
    redis, metrics, readiness, tasks = shared.redis, process.metrics, process.readiness, process.tasks
    adapter = None if redis is None else redis.adapter()
    connections = ConnectionLog()
    gateway = Gateway(
        shared.log,
        admission,
        shared.streams,
        process.config.gateway,
        observer=connections,
        adapter=adapter,
        directory=shared.directory,
        nodes=shared.directory,
        board=shared.board,
        tracer=process.tracer,
        ended=process.ended,
        limiter=shared.limiter,
    )
    connections.user_of = gateway.user_of
    process.stack.push_async_callback(gateway.close)
    metrics.add(lambda: connection_families(connections))
    metrics.add(lambda: gateway_families(gateway))
    tasks.start("gateway feeds", gateway.run())
    tasks.start("presence", gateway.presence.run())
    shared.on_reconnect(gateway.sweep_soon)
    if adapter is not None:
        metrics.add(lambda: adapter_families(adapter.counters))
        readiness.add("other servers", lambda: adapter.healthy)
    if redis is not None and process.config.settings.guide_ingress:
        ingress = Ingress(gateway.server, gateway.feeds.memberships.remove)
        channel = redis.channel_listener(CHANNEL, ingress.emit)
        metrics.add(lambda: ingress_families(ingress.counters))
        # A failure of this channel affects every gateway, and no delivery guarantee depends on the channel.
        readiness.add("guide's ingress", channel.subscribed.is_set, required=False)
        tasks.start("guide's ingress", channel.run())
        shared.on_reconnect(channel.reconnect)
    return gateway


def _build_admission(process: Process, shared: SharedServices) -> ChatAdmission:
    """The admission of a gateway without a database: the API decides; without ``API_URL`` every join is admitted."""
    settings = process.config.settings
    if settings.api_url is None:
        from roomcast.gateway.api.open_admission import OpenAdmission

        return OpenAdmission(shared.log)
    from roomcast.gateway.api.admission import HttpAdmission
    from roomcast.gateway.api.client import ApiClient, ApiClientOptions

    issuer = None if settings.auth is None else TokenIssuer(settings.auth)
    client = ApiClient(ApiClientOptions(url=settings.api_url), issuer)
    process.stack.callback(client.close)
    admission = HttpAdmission(client)
    process.stack.push_async_callback(admission.close)
    if process.ended is not None:
        process.tasks.start("ended sessions", follow_ended_sessions(process.ended, read_from(client)))
    # An outage of the API affects every gateway, and events reach joined clients without it.
    process.readiness.watch("api", lambda: _check_api(admission), required=False)
    return admission


async def _check_api(admission: HttpAdmission) -> Problem | None:
    try:
        await admission.check()
    except ApiRefused as error:
        return Problem(str(error), lasting=True)
    except ApiUnavailable as error:
        return Problem("no answer", detail=str(error))
    return None
